"""A folder of photos, one after another: masks and what was found, kept photo by photo, so that a killed run goes on."""

import json
import time
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import atomic_path, writable_folder, write_json
from ..datasets.check_folder import voc_colours
from ..datasets.formats import SUFFIXES
from ..datasets.reading import read_image
from ..metrics import EMPTY

REASONS = {"absent": "the class is not seen in it", "small": f"what was found covers less than {100 * EMPTY:g} %"}


def photos_in(folder, leave_out=()):
    """The photos below ``folder``, by name, without the paths ``leave_out``; none, or two that share a name, raise InputError."""
    folder, leave_out = Path(folder), {Path(path).resolve() for path in leave_out}
    if not folder.is_dir():
        raise InputError(folder, "a file" if folder.exists() else "no such folder", "a folder of photos", "Correct the path.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    found = [path for path in found if path.resolve() not in leave_out]
    if not found:
        raise InputError(folder, "no photo to segment", f"files {', '.join(SUFFIXES[:5])} and the like", "Put the photos into it.")
    stems = {}
    for path in found:
        if path.stem in stems:
            raise InputError(path, f"a second photo of the name {path.stem}, beside {stems[path.stem].name}", "names that differ, since a mask is NAME.png",
                             "Rename one.")
        stems[path.stem] = path
    return found


def segment_photos(segmenter, photos, out, truth=None, drawn=None, progress=True):
    """Segments ``photos`` (paths); writes ``out/masks/NAME.png`` (class numbers) and ``out/predictions.json``, and returns its content.

    What an earlier call did with the same supports and model is not done again (``progress.jsonl`` remembers); a photo that cannot be
    read is told and does not stop the others · ``truth``: function path -> class numbers uint8 (H,W) or None; gives ``iou`` ·
    ``drawn``: function (path, image, mask) called for every new photo, to draw it.
    """
    out, job = writable_folder(out, "Give another --out."), segmenter.digest
    if not (out / "progress.jsonl").is_file() and any((out / "masks").glob("*")):
        raise InputError(out / "masks", "masks of another origin", "a folder that holds none", "Give another --out: they would be written over.")
    (out / "masks").mkdir(exist_ok=True)
    kept = _remembered(out / "progress.jsonl", job)
    for path in tqdm(photos, "photos", unit="photo", disable=not progress):
        started, file = time.perf_counter(), [path.name]
        try:
            stamp = path.stat()
            file += [stamp.st_size, stamp.st_mtime_ns]
            if kept.get(path.name, {}).get("of") == file and _mask(out, path).is_file():
                continue
            image = read_image(path)
            result = segmenter.segment(image)
        except (InputError, OSError) as error:
            tqdm.write(f"passed over: {error}")
            found = {"error": str(error)}
        else:
            save_mask(_mask(out, path), result.mask)
            if drawn:
                drawn(path, image, result.mask)
            known = truth(path) if truth else None
            found = {"height": image.shape[0], "width": image.shape[1], "seconds": round(time.perf_counter() - started, 3),
                     "classes": {name: _entry(result, name, n, known) for n, name in enumerate(result.classes, 1)}}
        kept[path.name] = {"of": file, **found}
        with open(out / "progress.jsonl", "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"job": job, "of": file, **found}) + "\n")
    rows = [{"file": path.name, **{key: value for key, value in kept[path.name].items() if key != "of"}} for path in photos]
    written = {"classes": list(segmenter.classes), "model": segmenter.about, "digest": job, "photos": rows}
    write_json(out / "predictions.json", written)
    return written


def _entry(result, name, n, truth):
    entry = {"score": round(result.scores[name], 4), "area": round(result.area[name], 6), "empty": not result.present[name]}
    if entry["empty"]:
        entry["reason"] = REASONS["absent" if result.scores[name] <= 0.5 else "small"]
    if truth is not None:
        marked, shown, valid = result.mask == n, truth == n, truth != 255
        union = ((marked | shown) & valid).sum()
        entry["iou"] = round(float((marked & shown & valid).sum() / union), 4) if union else None
    return entry


def _mask(out, path):
    return out / "masks" / f"{path.stem}.png"


def save_mask(path, mask):
    """A palette PNG: class numbers as values, VOC's colours to look at."""
    picture = Image.fromarray(mask)
    colours = {c: colour for colour, c in voc_colours().items()}
    picture.putpalette([part for c in range(256) for part in colours.get(c, (0, 0, 0))])
    with atomic_path(path) as part:
        picture.save(part, "PNG")


def _remembered(path, job):
    """dict file name -> its last line, where that is of a call with the same ``job``; the end of one that was killed is half a line."""
    if not path.is_file():
        return {}
    text, kept = path.read_text(encoding="utf-8"), {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            name, theirs = entry["of"][0], entry.pop("job")
        except (ValueError, TypeError, KeyError, IndexError):
            continue
        kept.pop(name, None)                                 # the mask that lies there is that of the last call
        if theirs == job and "error" not in entry:           # and an error may have been mended
            kept[name] = entry
    if not text.endswith("\n"):
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n")
    return kept
