"""Superpixels: the local patches of the prior extractor (QGNet, section 4.1, Algorithms 1 and 2).

scikit-image does the work (``methods.py``); ``slic.py`` and ``felzenszwalb.py`` are the same two algorithms written to be
read, ``cache.py`` keeps label maps, ``patches.py`` cuts patches out, ``statistics.py`` judges them.
"""

from .methods import METHODS, felzenszwalb_patches, resolve, segment, slic_patches

__all__ = ["METHODS", "felzenszwalb_patches", "resolve", "segment", "slic_patches"]
