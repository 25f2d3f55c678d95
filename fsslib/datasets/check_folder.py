"""What is there of own images: every file read once, a line a class, and what looks odd."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from .check import Row, read_all
from .folder import Folder, some
from .formats import opened
from .reading import read_image

LARGE = 50_000_000        # px; a larger photo costs seconds and gigabytes to score at its own size
SMALL = 2048              # px that the protocols of PFENet's family ask of an object (episodes/protocols.py)


def check_folder(root):
    """Rows about the folder ``root``: images, files passed over, one row a class, then the doubts."""
    data, areas, looks = Folder(root), {}, []

    def read(i):
        sample = data[i]
        areas[i] = np.bincount(sample.mask.ravel(), minlength=256)[:len(data.class_names) + 1]
        looks.extend(_look(data.files[i], sample))

    rows = [Row("images with a mask", str(len(data)), "1 or more", "ok"),
            Row("images without a mask", str(len(data.unlabelled)), "any", "ok"),
            Row("other files", str(len(data.passed_over)), "0", "look" if data.passed_over else "ok",
                some(path.name for path in data.passed_over))]
    rows += read_all(range(len(data)), read) + read_all(data.unlabelled, read_image, "unlabelled images")
    table = np.stack([areas[i] for i in sorted(areas)]) if areas else np.zeros((0, len(data.class_names) + 1), int)
    names = [data.ids[i] for i in sorted(areas)]
    rows += [_class_row(c, name, table, names) for c, name in enumerate(data.class_names, 1)]
    if len(table) and not table[:, 0].any():
        looks.append(Row("no background", "no pixel is 0", "background is 0", "look", "Is it class 1 in these masks?"))
    return rows + looks + _copies(data)


def _class_row(c, name, table, ids):
    """Images, share of all labelled pixels, smallest object (its class's area in one image)."""
    column, what = table[:, c], f"class {c} ({name})"
    shown = np.flatnonzero(column)
    if not len(shown):
        return Row(what, "0 images", "2 or more", "look", "no mask shows it")
    smallest, large = shown[column[shown].argmin()], int((column >= SMALL).sum())
    note = f"smallest {column[smallest]} px in {ids[smallest]}"
    if large < len(shown):
        note += f"; {len(shown) - large} below {SMALL} px" + ("" if large > 1 else ", which --protocol hsnet takes, the default not")
    return Row(what, f"{len(shown)} images, {100 * column.sum() / max(table.sum(), 1):.2g} % of the pixels", "2 or more",
               "ok" if large > 1 else "look", note)


def _look(files, sample):
    """What an image and its mask let doubt."""
    photo, mask = map(Path, files)
    h, w = sample.mask.shape
    if h * w > LARGE:
        yield Row(photo.name, f"{h * w / 1e6:.0f} megapixels", "less", "look",
                  "slow to score: scale it and its mask down, the mask without smoothing")
    with opened(mask) as image:
        palette = image.getpalette() if image.mode == "P" else None
    colours = voc_colours()
    for c in np.unique(sample.mask).tolist():
        colour = tuple(palette[3 * c:3 * c + 3]) if palette and len(palette) >= 3 * c + 3 else None
        other = colours.get(colour, c)
        if 0 < c < 255 and 0 < other < 255 and other != c:
            yield Row(mask.name, f"number {c} in the colour of class {other}", "VOC's palette in its order", "look",
                      "did an editor make the palette anew?")
            return


def voc_colours():
    """{(r, g, b): class} of VOC's palette: the bits of a class number, three by three, from the highest bit down."""
    return {tuple(sum((c >> 3 * n + k & 1) << 7 - n for n in range(3)) for k in range(3)): c for c in range(1, 255)}


def _copies(data):
    """Photos with the same bytes: each other's support and query."""
    same = defaultdict(list)
    for path in [photo for photo, _ in data.files] + list(data.unlabelled):
        try:
            same[hashlib.sha256(Path(path).read_bytes()).digest()].append(Path(path).name)
        except OSError:                      # told above
            continue
    return [Row("copies", some(names), "each photo once", "look", "they would be each other's support and query")
            for names in same.values() if len(names) > 1]
