"""Training: one loop for all episodic models, on base classes alone."""

from .config import TrainingConfig, check_config, learning_rate
from .loop import curve, fit
from .split import halves, split_validation

__all__ = ["TrainingConfig", "check_config", "curve", "fit", "halves", "learning_rate", "split_validation"]
