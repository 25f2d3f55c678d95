"""Outlined photos as a data set of one's own: the layout that ``open_dataset("folder")`` reads."""

from pathlib import Path

from PIL import Image

from ..basics.errors import InputError
from ..basics.storage import atomic_path, writable_folder
from .photos import save_mask


def save_outlines(folder, outlined, classes):
    """Writes ``images/NAME.png``, ``masks/NAME.png`` and ``classes.txt`` below ``folder``; returns the number of photos.

    ``outlined``: list of (name, uint8 (H,W,3), uint8 (H,W) class numbers, 255 not told) · ``classes``: names, class n at n - 1. Photos that
    lie there already under other names stay; those of the same name are written anew. Other classes there raise InputError.
    """
    folder, listed = Path(folder), "".join(f"{name}\n" for name in classes)
    if not outlined:
        raise InputError("outlines", "none", "at least one", "Draw on a photo first.")
    writable_folder(folder, "Give another folder.")
    known = folder / "classes.txt"
    if known.exists() and known.read_text(encoding="utf-8").split("\n") != listed.split("\n"):
        raise InputError(known, "other classes", ", ".join(classes), "Give another folder, or the same classes in the same order.")
    with atomic_path(known) as part:
        part.write_text(listed, encoding="utf-8")
    for name, photo, mask in outlined:
        stem = Path(name).stem
        with atomic_path(folder / "images" / f"{stem}.png") as part:
            Image.fromarray(photo).save(part, "PNG")
        save_mask(folder / "masks" / f"{stem}.png", mask)
    return len(outlined)
