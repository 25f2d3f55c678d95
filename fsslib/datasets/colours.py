"""Masks as tools export them -> class numbers: one colour a class, or 0 and 255."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import atomic_path, writable_folder
from .class_names import IGNORE, check_names, is_no_class, read_classes
from .formats import SUFFIXES, decode

RARE = 0.002          # a colour without a name on a larger share of a mask is a forgotten class, not a smoothed edge
_LINE = re.compile(r"\s*(?P<name>[^:#]+?)\s*:\s*(?P<colour>\d+(?:\s*,\s*\d+){0,2})\s*(?::.*)?$")


def read_labelmap(path):
    """{(r, g, b): name} of a text file as CVAT writes it: ``name:r,g,b::`` a line, or ``name:grey``; ``#`` begins a comment."""
    try:
        lines = unicodedata.normalize("NFC", Path(path).read_text(encoding="utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"no readable text ({getattr(error, 'strerror', None) or 'not UTF-8'})",
                         "a line name:red,green,blue a class", "Correct the path, or save it as UTF-8.") from error
    colours = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        values = [int(value) for value in match["colour"].split(",")] if match else []
        if len(values) not in (1, 3) or max(values) > 255:
            raise InputError(f"{path}, line {number}", repr(line), "name:red,green,blue (0 to 255 each)",
                             "Write for example cup:128,0,0.")
        colour = tuple(values * 3 if len(values) == 1 else values)
        if colour in colours:
            raise InputError(f"{path}, line {number}", f"the colour {colour} of {colours[colour]!r} again", "each colour once",
                             "Correct one of the two.")
        colours[colour] = match["name"]
    if not [name for name in colours.values() if not is_no_class(name)]:
        raise InputError(path, "no class", "a line name:red,green,blue a class", "Write for example cup:128,0,0.")
    return colours


def convert_masks(folder, colours=None, out=None):
    """Writes the masks of ``folder`` with one class number a pixel into ``out`` (default: ``folder`` + "_numbers" beside it).

    ``colours``: a labelmap's path; None: 0 is the background and the one other grey value the one class. Classes are
    numbered as in ``classes.txt`` beside ``folder``, which is written in the labelmap's order where it is not there.
    Black without a line is background. Rare colours without a name, as smoothing leaves them on edges, become 255.
    Returns (out, {mask name: pixels that became 255}); a colour that is not rare raises InputError, and then nothing stands in ``out``.
    """
    folder = Path(folder).resolve()
    out = Path(out) if out else folder.with_name(f"{folder.name}_numbers")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()
             and not path.name.startswith(".")] if folder.is_dir() else []
    if not paths:
        raise InputError(folder, "no mask" if folder.is_dir() else "no such folder", "the folder of masks to convert",
                         "Give it: fsslib data masks my_photos/masks.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(out, "something there already", "a new or empty folder", "Give another --out; nothing is overwritten.")
    twice = next((path for path, other in zip(paths[1:], paths) if path.stem == other.stem), None)
    if twice:
        raise InputError(twice, f"a second mask called {twice.stem}", "one file a name", "Rename or remove one of the two.")
    listed = folder.parent / "classes.txt"
    named = read_labelmap(colours) if colours else {_one_value(paths): "object"}
    order = list(dict.fromkeys(name for name in named.values() if not is_no_class(name)))     # a name may have several colours
    check_names(colours or listed, order)
    if listed.is_file():
        order = _as_listed(order, read_classes(listed, ""), listed, colours)
    numbers = {colour: _number(name, order) for colour, name in {(0, 0, 0): "background", **named}.items()}
    converted = {path: _converted(path, numbers) for path in tqdm(paths, desc="masks", unit="mask", disable=None)}
    writable_folder(out, "Give another --out.")
    for path, (mask, _) in converted.items():
        with atomic_path(out / f"{path.stem}.png") as part:
            Image.fromarray(mask).save(part, "PNG")
    if not listed.exists():
        with atomic_path(listed) as part:
            part.write_text("\n".join(order) + "\n", encoding="utf-8")
    return out, {path.name: smoothed for path, (_, smoothed) in converted.items() if smoothed}


def _as_listed(names, order, listed, colours):
    """The order of classes.txt, if it knows every name; for one unnamed class, its one name."""
    if not colours:
        if len(order) > 1:
            raise InputError(listed, f"{len(order)} classes", "one, for masks of 0 and one other value",
                             "Say which it is: write labelmap.txt with a line such as "
                             f"{order[0]}:255 and give it with --colours labelmap.txt.")
        return names
    if unknown := [name for name in names if name not in order]:
        raise InputError(listed, f"no class {unknown[0]!r}", f"the classes of {Path(colours).name}",
                         "Add the name, or move the file away: it is then written anew.")
    return order


def _number(name, order):
    if is_no_class(name):
        return 0 if name.strip("_ ").lower() in ("background", "bg") else IGNORE
    return order.index(name) + 1


def _pixels(path):
    """uint8 (H,W,3): a mask's colours as a viewer shows them."""
    image, _ = decode(path, "a mask")
    if image.mode in ("RGBA", "LA", "PA"):                       # what cannot be seen is background
        image = Image.composite(image.convert("RGB"), Image.new("RGB", image.size), image.getchannel("A").point(lambda a: 255 * (a > 127)))
    if image.mode in ("I;16", "I"):
        return np.repeat((np.asarray(image) // 257).astype(np.uint8)[..., None], 3, 2)
    return np.array(image.convert("RGB"))


def _one_value(paths):
    """The one grey value besides 0 of all masks, as a colour; smoothed edges, rare in each mask, do not count."""
    seen = Counter()
    for path in paths:
        colours, counts = _counted(_pixels(path))
        seen.update({tuple(colour): count for colour, count in zip(colours.tolist(), counts) if count > RARE * counts.sum()})
    seen.pop((0, 0, 0), None)
    if len(seen) != 1:
        lines = "\n".join(f"  ?:{','.join(map(str, colour))}" for colour, _ in seen.most_common(20))
        raise InputError(paths[0].parent, f"{len(seen)} colours besides black", "one, or a file that names them",
                         f"Write labelmap.txt with a name in place of each ? and give it with --colours labelmap.txt:\n{lines}")
    return next(iter(seen))


def _counted(pixels):
    """(colours (n,3), counts (n,)) of uint8 (H,W,3)."""
    code = pixels.astype(np.int64) @ (65536, 256, 1)
    codes, counts = np.unique(code, return_counts=True)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1), counts


def _converted(path, numbers):
    """(uint8 (H,W) class numbers, how many pixels became 255 for a colour without a name)."""
    pixels = _pixels(path)
    mask, known = np.full(pixels.shape[:2], IGNORE, np.uint8), np.zeros(pixels.shape[:2], bool)
    for colour, number in numbers.items():
        here = (pixels == colour).all(-1)
        mask[here], known = number, known | here
    if not known.all():
        colours, counts = _counted(pixels[~known][None])
        most = counts.argmax()
        if counts[most] > RARE * mask.size:
            raise InputError(path, f"the colour {','.join(map(str, colours[most]))} on {counts[most]} px, without a name",
                             "colours of the labelmap", "Add a line for it to the labelmap: name:red,green,blue.")
    return mask, int((~known).sum())
