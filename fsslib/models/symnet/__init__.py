"""Sym-Net: support and query treated alike (Li, Sun, Xiao, Qi, Bhanu, 2024); its modules, each to be used alone.

Facts are those of the abstract and of the released code; the paper's tables were not at hand.
"""

from .apa import PrototypeAggregation, hybrid
from .regions import query_regions, region_means
from .spm import WINDOWS, self_activation_maps
from .tdc import TopDown, correlation
from .triplet import query_triplet, support_triplet

__all__ = ["PrototypeAggregation", "TopDown", "WINDOWS", "correlation", "hybrid", "query_regions", "query_triplet", "region_means",
           "self_activation_maps", "support_triplet"]
