"""Region maps: how much each place of a query looks like the object asked for, before any training (eq. 8-12)."""

from .maps import cosine_max_map, guided_region_map, normalised, prior_region_map
from .scores import THRESHOLDS, RegionScores

__all__ = ["THRESHOLDS", "RegionScores", "cosine_max_map", "guided_region_map", "normalised", "prior_region_map"]
