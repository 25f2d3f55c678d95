"""Episodes: folds, protocols, the sampler, episodes as tensors, and what may happen to an image on the way."""

from .batches import EpisodeBatch, EpisodeOutput, EpisodeTensors, collate
from .folds import FOLDS, base_classes, novel_classes
from .protocols import PROTOCOLS, get_protocol
from .sampler import Episode, EpisodeList, EpisodeSampler

__all__ = ["FOLDS", "PROTOCOLS", "Episode", "EpisodeBatch", "EpisodeList", "EpisodeOutput", "EpisodeSampler", "EpisodeTensors",
           "base_classes", "collate", "get_protocol", "novel_classes"]
