"""Your own classes on your own photos: learn from a few outlined ones, segment the rest, without training."""

from .segmenter import Segmenter, Result
from .supports import as_image, as_labels

__all__ = ["Result", "Segmenter", "as_image", "as_labels"]
