"""What ``shapes`` is painted with: the materials and colours of each class, and calm grounds.

A class has a family of surfaces as things have: keys are of metal, leaves green. Families are wide, and
in each fold two classes share theirs, wholly (gear and chain, fish and lollipop) or in part (key and ladder, comb and heart):
there the form must tell.
"""

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from ..basics.errors import InputError
from .shapes_exact import box_blur, cloud, smooth, stretch, wave

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


METALS = ((176, 180, 188), (208, 172, 88), (150, 154, 166))
WOODS = ((176, 124, 72), (138, 88, 50), (206, 164, 108))
SWEETS = ((226, 60, 92), (240, 120, 160), (200, 40, 50), (168, 70, 190))
BRIGHT = ((240, 150, 40), (60, 130, 210), (230, 80, 60), (80, 180, 170))

# class -> (kinds of surface, colours of the body, {part: its colours})
FAMILIES = {
    "star": (("plain", "speckled"), ((244, 200, 50), (246, 160, 40), (250, 226, 110)), {}),
    "key": (("metal",), METALS, {}),
    "mug": (("plain", "striped"), ((60, 110, 190), (70, 150, 180), (236, 232, 222)), {}),
    "ladder": (("metal", "wooden"), METALS[:1] + WOODS[:2], {}),
    "leaf": (("plain", "speckled"), ((88, 158, 60), (140, 180, 60), (70, 130, 50)), {}),
    "doughnut": (("speckled",), ((214, 160, 92), (186, 124, 66)),
        {"icing": SWEETS[:2] + ((250, 240, 226), (96, 56, 40))}),
    "tree": (("speckled",), ((44, 110, 60), (76, 140, 66), (30, 90, 80)), {"trunk": WOODS[:2]}),
    "anchor": (("metal",), ((60, 66, 84), (44, 74, 110)), {}),
    "comb": (("plain", "speckled"), SWEETS[2:] + SWEETS[:1], {}),
    "heart": (("plain",), SWEETS[:3], {}),
    "pear": (("speckled",), ((190, 200, 70), (224, 206, 90), (150, 176, 60)),
        {"stalk": WOODS[1:2], "leaf": ((70, 140, 60),)}),
    "fish": (("scaly", "striped"), BRIGHT, {"fin": BRIGHT[:1] + BRIGHT[2:3]}),
    "lollipop": (("plain",), BRIGHT,
        {"swirl": ((250, 244, 232), (250, 220, 110), (240, 130, 160)), "stick": ((240, 236, 224),)}),
    "hourglass": (("plain",), ((196, 216, 222), (216, 222, 206)),
        {"sand": ((222, 176, 96), (206, 120, 80)), "frame": WOODS}),
    "house": (("brick", "plain", "wooden"), ((196, 96, 70), (232, 214, 178), WOODS[0]),
        {"roof": ((130, 62, 50), (90, 80, 84), (70, 90, 120)),
         "door": ((80, 56, 44), (50, 90, 110))}),
    "carrot": (("plain",), ((238, 126, 40), (230, 100, 40), (246, 156, 60)),
        {"green": ((70, 150, 60), (110, 170, 60))}),
    "gear": (("metal",), METALS, {}),
    "chain": (("metal",), METALS, {}),
    "mushroom": (("plain", "speckled"), ((200, 50, 44), (190, 70, 50), (222, 120, 56)),
        {"stem": ((238, 228, 206),), "dots": ((250, 244, 232), (246, 226, 180))}),
    "banana": (("plain", "speckled"), ((246, 214, 70), (236, 196, 60), (200, 200, 80)),
        {"ends": ((110, 84, 50), (120, 130, 50))}),
}


def varied(draw, colours, spread=20):
    """Three floats 0..255: one of ``colours``, lighter or darker, and shifted in each channel."""
    light = draw.between(0.82, 1.12)
    return np.array([min(max(value * light + draw.between(-spread, spread), 6), 250) for value in draw.pick(colours)])


def mix(first, second, share):
    """Colours (or images) ``first`` where ``share`` (h, w) is 0, ``second`` where it is 1."""
    return first + (second - first) * share[..., None]


class Material:
    """The surface of one object: kind and colours of its class's family, bevel and gloss; drawn once."""

    def __init__(self, draw, name):
        kinds, body, parts = FAMILIES[name]
        self.kind, self.seed = draw.pick(kinds), draw.integer(0, 2 ** 31)
        self.body = varied(draw, body, 14 if self.kind == "metal" else 20)
        self.parts = {part: varied(draw, colours) for part, colours in parts.items()}
        self.other = varied(draw, body + ((240, 236, 226),))      # of stripes
        self.rate, self.lean, self.soft = draw.between(2.5, 4.5), draw.between(-0.6, 0.6), draw.between(2, 6)
        self.bevel = draw.between(0.14, 0.3)                # width of the rounded edge, in object units
        self.slope = draw.between(0.8, 1.5)
        self.gloss = {"metal": draw.between(60, 120), "wooden": 0.0, "brick": 0.0, "speckled": draw.between(0, 30)}.get(
            self.kind, draw.between(20, 80))

    def albedo(self, u, v, parts):
        """float64 (h, w, 3) 0..255 in object coordinates ``u``, ``v``; ``parts``: {name: cover (h, w) 0..1}."""
        across, along = u + self.lean * v, v - self.lean * u
        field = cloud(*u.shape, 9, self.seed)
        share = {"plain": lambda: 0.25 * smooth(along * 0.5 + 0.5),
                 "metal": lambda: 0.35 * smooth(wave(along * 0.7 + field * 0.4) * 1.5 + 0.5),
                 "speckled": lambda: 0.5 * smooth((field - 0.5) * 7 + 0.5),
                 "wooden": lambda: 0.5 * smooth(wave(across * self.rate + field * 1.6) * 0.8 + 0.5),
                 "striped": lambda: smooth(wave(across * self.rate * 0.6) * self.soft + 0.5),
                 "scaly": lambda: 0.5 * smooth(wave(u * self.rate) * wave(v * self.rate) * self.soft + 0.5),
                 "brick": lambda: 0.4 * smooth((wave(v * 4) - 0.75) * 8 + 0.5)}[self.kind]()
        second = self.other if self.kind == "striped" else self.body * (0.55 if self.kind != "plain" else 0.75)
        surface = mix(self.body, second, share)
        for name, cover in parts.items():
            surface = mix(surface, surface * 0.45 if name == "dark" else self.parts[name], cover)
        return surface


def photo_patch(draw, split, height, width):
    """float64 (height, width, 3) 0..255: a random crop of a photo, mirrored, turned, far out of focus."""
    picture = photo(draw.pick(PHOTOS[split]))
    if draw.chance(0.5):
        picture = picture[:, ::-1]
    if draw.chance(0.25):
        picture = picture.transpose(1, 0, 2)
    rows, columns = picture.shape[:2]
    step = min(draw.between(0.6, 1.2), (rows - 2) / height, (columns - 2) / width)      # source pixels per pixel
    top, left = draw.between(0, rows - 1 - step * height), draw.between(0, columns - 1 - step * width)
    y, x = int(top), int(left)
    crop = picture[y:y + int(step * height) + 3, x:x + int(step * width) + 3]
    radius = draw.integer(2, 5)
    crop = np.stack([blurred(crop[..., channel], radius) for channel in range(3)], -1)
    return stretch(crop, (top - y) + step * np.arange(height), (left - x) + step * np.arange(width))


def blurred(channel, radius):
    """float64 (h, w): two box blurs of uint8 (h, w), its border repeated."""
    pad = 4 * radius + 2
    wide = np.pad(channel.astype(np.int32) * 64, 2 * pad, mode="edge")
    for _ in range(2):
        framed = np.zeros_like(wide)
        inner = slice(2 * radius + 1, -2 * radius - 1)
        framed[inner, inner] = wide[inner, inner]
        wide = box_blur(framed, radius)
    return wide[2 * pad:-2 * pad, 2 * pad:-2 * pad] / 64.0


def background(draw, split, height, width):
    """float64 (height, width, 3) 0..255: a photo out of focus or clouds, pale or dim, so that objects stand out."""
    tone = draw.between(120, 222) if draw.chance(0.75) else draw.between(48, 84)
    tint = np.array([tone * draw.between(0.86, 1.1) for _ in range(3)])
    if draw.chance(0.7):
        scene = photo_patch(draw, split, height, width)
        grey = (scene[..., :1] + (scene[..., 1:2] + scene[..., 2:])) / 3
        scene = grey + (scene - grey) * draw.between(0.15, 0.5)
        contrast = draw.between(0.25, 0.5)
        level = float(np.floor(scene.astype(np.int64).sum() / scene.size))
        return np.minimum(np.maximum(tint + (scene - level) * contrast, 10), 246)
    field = cloud(height, width, draw.between(30, 80), draw.integer(0, 2 ** 31))
    return np.minimum(np.maximum(mix(tint * 0.85, tint * 1.1, field), 10), 246)
