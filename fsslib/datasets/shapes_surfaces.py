"""What ``shapes`` is painted with: photos, procedural noise, patterns, colours. None of it knows the classes."""

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from ..basics.errors import InputError
from .shapes_exact import cloud, smooth, stretch, wave

# Photos and textures in scikit-image's wheel that are free of rights, and PNG (decoders of JPEG differ in the last
# bit). No photo serves both splits.
PHOTOS = {"train": ("astronaut", "coffee", "brick", "gravel", "camera"),
          "val": ("chelsea", "ihc", "grass", "coins")}


@functools.cache
def photo(name):
    """uint8 (H,W,3): one of scikit-image's pictures, read from the installed package without importing it."""
    package = find_spec("skimage")
    if package is None:
        raise InputError("scikit-image", "no such package", "scikit-image, whose photos are part of the drawing",
                         "Run: pip install scikit-image")
    path = Path(package.submodule_search_locations[0]) / "data" / f"{name}.png"
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise InputError(path, "no readable image", "a photo of scikit-image's wheel",
                         "Install scikit-image again.") from error


def colour(draw):
    """Three floats 0..255: any hue, from pale to full, from dark to light."""
    hue, strength, light = 6 * draw.between(0, 1), draw.between(0.05, 0.8), draw.between(60, 240)
    full = [min(max(abs((hue + shift) % 6 - 3) - 1, 0), 1) for shift in (0, 4, 2)]
    return np.array([light * (1 - strength * (1 - value)) for value in full])


def apart(draw, other, distance):
    """A colour whose largest difference from ``other`` in any channel is at least ``distance`` (8 tries)."""
    for _ in range(8):
        found = colour(draw)
        if np.abs(found - other).max() >= distance:
            break
    return found


def mix(first, second, share):
    """Colours (or images) ``first`` where ``share`` (h, w) is 0, ``second`` where it is 1."""
    return first + (second - first) * share[..., None]


def photo_patch(draw, split, height, width):
    """float64 (height, width, 3) 0..255: a random crop, mirrored, turned, enlarged and recoloured."""
    picture = photo(draw.pick(PHOTOS[split]))
    if draw.chance(0.5):
        picture = picture[:, ::-1]
    if draw.chance(0.25):
        picture = picture.transpose(1, 0, 2)
    rows, columns = picture.shape[:2]
    step = min(draw.between(0.5, 1.5), (rows - 2) / height, (columns - 2) / width)      # source pixels per pixel
    top, left = draw.between(0, rows - 1 - step * height), draw.between(0, columns - 1 - step * width)
    y, x = int(top), int(left)
    crop = picture[y:y + int(step * height) + 3, x:x + int(step * width) + 3].astype(np.float64)
    patch = stretch(crop, (top - y) + step * np.arange(height), (left - x) + step * np.arange(width))
    if (picture[..., 0] == picture[..., 2]).all():                                      # grey: between two colours
        dark, light = colour(draw) * 0.3, colour(draw)
        return mix(dark, light * 0.4 + 150, patch[..., 0] / 255)
    order = draw.pick(((0, 1, 2), (0, 1, 2), (0, 1, 2), (2, 1, 0), (1, 0, 2)))
    return patch[..., order] * (0.75 + colour(draw) / 600)


def noise_patch(draw, height, width):
    """float64 (height, width, 3) 0..255: clouds, marble or camouflage between random colours."""
    field = cloud(height, width, draw.between(12, 60), draw.integer(0, 2 ** 31))
    colours = [colour(draw) * 0.6 + 50 for _ in range(3)]           # duller than the objects mostly are
    style = draw.integer(0, 2)
    if style == 0:
        return mix(mix(colours[0], colours[1], smooth(field * 2 - 0.5)), colours[2], smooth(field * 4 - 2.6))
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    if style == 1:
        slope, period = draw.between(-1, 1), draw.between(14, 40)
        veins = wave((rows * slope + columns) / period + field * draw.between(1, 4))
        return mix(colours[0], colours[1], smooth(veins * 0.5 + 0.5) * 0.8)
    patch = mix(colours[0], colours[1], smooth((field - 0.5) * 14 + 0.5))
    return mix(patch, colours[2], smooth((field - 0.64) * 14 + 0.5))


def pattern(draw, u, v, first, second):
    """float64 (h, w, 3): plain, shaded, striped, dotted or chequered in object coordinates ``u``, ``v``."""
    style, rate, soft = draw.integer(0, 5), draw.between(2.5, 5), draw.between(2, 8)
    lean = draw.between(-1, 1)
    across, along = u + lean * v, v - lean * u
    if style <= 1:
        return mix(first, second, np.zeros_like(u))
    if style == 2:
        return mix(first, second, smooth(along * 0.5 + 0.5))
    if style == 3:
        return mix(first, second, smooth(wave(across * rate * 0.6) * soft + 0.5))
    if style == 4:
        a, b = wave(across * rate * 0.6), wave(along * rate * 0.6)
        return mix(first, second, smooth((a * a + b * b - draw.between(0.4, 0.8)) * soft + 0.5))
    return mix(first, second, smooth(wave(across * rate * 0.5) * wave(along * rate * 0.5) * soft + 0.5))


def background(draw, split, height, width):
    """float64 (height, width, 3) 0..255: a photo, noise, or two of them that meet along a wavy line."""
    def one():
        if draw.chance(0.65):
            return photo_patch(draw, split, height, width)
        return noise_patch(draw, height, width)

    scene = one()
    if draw.chance(0.3):
        rows, columns = np.arange(height)[:, None] / height, np.arange(width)[None] / width
        slope, place = draw.between(-0.6, 0.6), draw.between(0.3, 0.7)
        line = rows - place + slope * (columns - 0.5) + 0.1 * wave(columns * draw.between(0.5, 2))
        scene = mix(scene, one(), smooth(line * 60 + 0.5))
    return scene


class Material:
    """The surface of one piece: colours, pattern or photo, bevel and gloss, drawn once and painted anywhere."""

    def __init__(self, draw, split):
        self.split, self.seed = split, draw.integer(0, 2 ** 31)
        self.kind = draw.pick(("pattern", "pattern", "pattern", "noise", "photo"))
        self.bevel = draw.between(0.06, 0.35)               # width of the rounded edge, in object units
        self.slope = draw.between(0.7, 1.8)
        self.gloss = draw.between(0, 110) if draw.chance(0.6) else 0.0

    def albedo(self, draw, u, v, below):
        """float64 (h, w, 3) 0..255; ``below`` is the mean colour of what the piece covers, to stand out from."""
        height, width = u.shape
        first = apart(draw, below, 70)
        if self.kind == "pattern":
            return pattern(draw, u, v, first, apart(draw, first, 50))
        if self.kind == "noise":
            field = cloud(height, width, draw.between(5, 25), self.seed)
            return mix(first, apart(draw, first, 50), smooth((field - 0.5) * draw.between(2, 10) + 0.5))
        return mix(first, photo_patch(draw, self.split, height, width), np.full(u.shape, draw.between(0.4, 0.8)))
