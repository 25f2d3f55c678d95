"""What a person gives: a photo, and where the thing is in it, by an outline's inside, a scribble or a box."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..basics.errors import InputError
from ..datasets.formats import decode
from ..datasets.reading import read_image, read_numbers
from ..episodes.annotations import BACKGROUND, FOREGROUND, UNKNOWN

KINDS = ("mask", "scribble", "box")


def as_image(image):
    """A path, a PIL picture or an array -> uint8 (H,W,3); a grey array is one colour, float arrays hold 0..1."""
    if isinstance(image, (str, Path)):
        return read_image(image)
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype.kind == "f" and pixels.size and 0 <= pixels.min() and pixels.max() <= 1:
        pixels = np.round(pixels * 255).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, 2)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape:
        raise InputError("image", f"an array {pixels.dtype} {pixels.shape}", "uint8 (H,W,3), or float of 0..1",
                         "Give a path, a PIL picture or such an array.")
    return np.ascontiguousarray(pixels[..., :3])


def as_labels(annotation, kind, shape):
    """What ``annotation`` says of a photo of ``shape`` (H,W): uint8 (H,W), 1 the thing, 0 not, 255 not told.

    ``mask``: bool or numbers (H,W), or a picture's path: 1 and 0, 255 where it is not told; black and white is read as 0 and 1 ·
    ``scribble``: numbers (H,W), 1 on strokes over the thing, 0 on strokes over anything else, 255 elsewhere ·
    ``box``: (left, top, right, bottom) in pixels, the right and bottom ones outside.
    """
    if kind == "box":
        return _box(annotation, shape)
    if isinstance(annotation, (str, Path)):
        labels = _by_colour(annotation)
    else:
        labels = np.asarray(annotation)
    if labels.shape != tuple(shape):
        sideways = labels.shape == tuple(shape)[::-1]
        raise InputError(kind, f"{labels.shape}", f"{tuple(shape)}, the photo's height and width",
                         "It lies on its side: photos are turned as their EXIF tag says." if sideways
                         else "Draw it on the photo as it is, or scale both alike.")
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    values = np.unique(labels)
    if kind == "mask" and not (values == FOREGROUND).any() and set(values.tolist()) <= {0, 255}:
        labels = (labels == 255).astype(np.uint8)                       # an image editor's black and white
    elif odd := sorted(set(values.tolist()) - {BACKGROUND, FOREGROUND, UNKNOWN}):
        raise InputError(kind, f"the values {', '.join(map(str, odd[:5]))}", "1 on the thing, 0 off it, 255 where it is not told",
                         "Give the mask of one class: mask == its number.")
    if not (labels == FOREGROUND).any():
        raise InputError(kind, "no pixel of the thing", "at least one", "Mark the thing.")
    return labels.astype(np.uint8)


def _by_colour(path):
    """Integer (H,W): the numbers of a mask's file (``datasets.reading.read_numbers``), of a black and white palette its colours."""
    picture, _ = decode(path, "a mask")
    if picture.mode == "P":
        found = np.array(picture.convert("RGB"))
        if (found == found[..., :1]).all() and set(np.unique(found).tolist()) == {0, 255}:
            return found[..., 0]             # whichever of the two an editor numbered first
    return read_numbers(path, 1)


def widened(labels, radius):
    """uint8 (S,S) -> (S,S): lines grown by ``radius`` px each way over what is not told. A thinner line falls between the places of a
    feature map, and decoders that look its mask up there would see nothing of it."""
    near = [F.max_pool2d((labels == value)[None].float(), 2 * radius + 1, 1, radius)[0] > 0 for value in (BACKGROUND, FOREGROUND)]
    told = torch.where(near[1], FOREGROUND, torch.where(near[0], BACKGROUND, UNKNOWN)).to(labels.dtype)
    return torch.where(labels == UNKNOWN, told, labels)


def _box(box, shape):
    try:
        found = np.asarray(box, float)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.shape != (4,) or not np.isfinite(found).all():
        raise InputError("box", repr(box), "left, top, right, bottom in pixels", "Give four numbers.")
    left, top, right, bottom = np.round(found).astype(int)
    height, width = shape
    labels = np.zeros(shape, np.uint8)
    labels[max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)] = FOREGROUND
    if left >= right or top >= bottom or not labels.any():
        raise InputError("box", f"({left}, {top}, {right}, {bottom})", f"left before right, top before bottom, inside of {width} x {height} px",
                         "Give it as left, top, right, bottom.")
    return labels
