"""Global-local contrastive pretraining: the network that learns what belongs together before it sees a mask.

Liu et al., "Few-Shot Segmentation with Global and Local Contrastive Learning", section 4.1, on He et al., "Momentum
Contrast for Unsupervised Visual Representation Learning" (MoCo, v2).
"""

from .loss import info_nce
from .moco import GlobalLocalMoCo
from .pretraining import PretrainConfig, pretrain
from .queue import KeyQueue, queue_length

__all__ = ["GlobalLocalMoCo", "KeyQueue", "PretrainConfig", "info_nce", "pretrain", "queue_length"]
