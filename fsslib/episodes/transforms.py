"""Geometry: how an image and its mask become a network's input, and how logits go back to be scored."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..basics.errors import InputError

RESIZES = ("pad", "pad_down", "square")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def image_to_input(image, size, resize):
    """``image`` uint8 (H,W,3) -> float32 (3,size,size) in 0..1.

    ``"square"`` (PANet): both sides to ``size`` with PIL, bilinear with antialiasing.
    ``"pad"`` (PFENet's test_Resize): long side to ``size``, both floored to a multiple of 8, bilinear without
    antialiasing, black below and right. Unlike test_Resize, an image smaller than ``size`` is enlarged, so that every
    picture of a data set is seen at one scale (42 of VOC val's 1 449 images at 473 px).
    ``"pad_down"``: as test_Resize, to the letter: a smaller image keeps its size. ``to_truth`` is then, as PFENet's
    scoring, off for such an image: it takes the square for the picture.
    """
    if resize == "square":
        image = np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255
    h, w = padded_content(image.shape[:2], size, resize)
    image = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255       # (1, 3, H, W)
    image = F.interpolate(image, (h, w), mode="bilinear", align_corners=False)[0]
    return F.pad(image, (0, size - w, 0, size - h))


def mask_to_input(mask, size, resize):
    """``mask`` uint8 (H,W) -> uint8 (size,size), nearest, where ``image_to_input`` puts the image; padding 255."""
    if resize == "square":
        return torch.from_numpy(np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)))
    h, w = padded_content(mask.shape, size, resize)
    return F.pad(torch.from_numpy(nearest(mask, h, w)), (0, size - w, 0, size - h), value=255)


def nearest(mask, h, w):
    """(H,W) -> (h,w): row y of the result is row floor(y * (H / h)) in double precision, as OpenCV's, which the official
    code calls. Torch's ``nearest`` scales in single precision: on 244 of 290 VOC masks at 473 px it takes a neighbour."""
    rows, columns = (np.minimum(np.floor(np.arange(to) * (of / to)).astype(int), of - 1) for of, to in zip(mask.shape, (h, w)))
    return mask[rows[:, None], columns]


def padded_content(shape, size, resize="pad"):
    """(h, w) that an image of ``shape`` (H, W) fills in a padded square: 375x500 at 473 -> 352x472."""
    long_side = max(shape)
    if resize == "pad_down" and long_side <= size:
        return tuple(shape)
    h, w = (max(8, int(side * size / long_side) // 8 * 8) for side in shape)
    return h, w


def to_truth(logits, shape, resize):
    """Logits float (C,S,S) at input geometry -> (C,H,W) at an image's original ``shape`` (H, W), for scoring.

    ``"pad"``, ``"pad_down"``: resized to the long side, the image's corner cut out (align_corners=True, as PFENet scores: 472 px
    of content count as 473, a mismatch that is part of the reference). ``"square"``: resized to (H, W).
    """
    if resize == "square":
        return F.interpolate(logits[None], tuple(shape), mode="bilinear", align_corners=False)[0]
    long_side = max(shape)
    logits = F.interpolate(logits[None], (long_side, long_side), mode="bilinear", align_corners=True)[0]
    return logits[:, :shape[0], :shape[1]]


def check_geometry(size, resize):
    """Raises InputError for a size or way of resizing that cannot be used."""
    if resize not in RESIZES:
        raise InputError("resize", repr(resize), f"one of {', '.join(RESIZES)}", "Correct the name.")
    if not isinstance(size, int) or size < 32:
        raise InputError("size", repr(size), "a whole number of pixels from 32 up", "Use for example 225 or 417.")
