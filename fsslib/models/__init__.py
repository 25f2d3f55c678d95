"""Models: backbones, their feature bank, and every system behind one signature, ``model(EpisodeBatch) -> EpisodeOutput``."""

from .backbones import build_backbone
from .bank import FeatureBank, ModelBank
from .build import MODELS, architecture, build_model, model_class

__all__ = ["FeatureBank", "MODELS", "ModelBank", "architecture", "build_backbone", "build_model", "model_class"]
