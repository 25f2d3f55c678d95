"""``shapes``: the embedded data set. Drawn once into the cache, without a download, the same on every machine.

Twenty classes of things, each with its form, parts and materials: 640 training and 320 validation images of 184 to 216
pixels a side, each with two to four things of like size on a calm ground, so that only a support tells which is meant.
"""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import cache_dir, read_json, sha256_file, user_path, writable_folder, write_json
from .base import SegmentationDataset
from .shapes_forms import CLASSES
from .shapes_scene import draw_scene
from .shapes_surfaces import PHOTOS, photo

COUNTS = {"train": 640, "val": 320}
DIGESTS = {                                 # sha256 of the drawn pixels, see digest_of
    "train": "a53aa8166c817ec7e198424cd6ddddac7cafdcfd5ded89dba7a4b08bd4a06122",
    "val": "ccba1a823b02a5db099991ea1e4b9b8feb377cd6df1e583a7471ebab38a89e13",
}
STAMP = "stamp.json"                        # written last: what was drawn, and the sha256 of every file


class Shapes(SegmentationDataset):
    """The embedded data set; the first use of a split draws it (train about half a minute on two cores).

    ``root``: folder that holds or receives ``shapes-v2``; by default the cache folder. Class ``c`` (1..20) is in
    fold ``(c - 1) // 5``. Image: uint8 (H,W,3); mask: uint8 (H,W), 0 background, 255 a band of two
    pixels on each outline. Raises InputError if this machine draws other pixels than the published ones.
    """
    name = "shapes"
    area_scale = 0.213         # pictures of about 40 000 px; VOC photos have 187 500
    class_names = tuple(form.__name__ for form in CLASSES)

    def __init__(self, root=None, split="train"):
        if split not in COUNTS:
            raise InputError("split", repr(split), "'train' or 'val'", "Correct the split.")
        self.split = split
        parent = user_path(root) if root else cache_dir()
        self.folder = parent / "shapes-v2" / split
        self.ids = tuple(f"{split}-{index:04d}" for index in range(COUNTS[split]))
        self.files = tuple(tuple(self.folder / name for name in file_names(id)) for id in self.ids)
        self._stamp = whole(self.folder, split) or generate(self.folder, split)

    @functools.cached_property
    def areas(self):
        """int64 (N, C+1): pixels of each class in each image, column 0 the background; void not counted."""
        return np.array(self._stamp["areas"], np.int64)

    @property
    def digest(self):
        """sha256 (hex) of the decoded pixels: unlike PNG files they do not depend on the machine's zlib."""
        return self._stamp["digest"]


def file_names(id):
    """Names of the image and the mask of ``id``."""
    return f"{id}.png", f"{id}-mask.png"


def whole(folder, split):
    """The stamp of a complete, undamaged folder of this version, else None. Reads every byte (about 0.1 s)."""
    try:
        stamp = read_json(folder / STAMP)
        if stamp["digest"] == DIGESTS[split] and len(stamp["areas"]) == COUNTS[split] \
                and all(sha256_file(folder / name) == digest for name, digest in stamp["files"].items()):
            return stamp
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        pass
    return None


def generate(folder, split):
    """Draws ``split`` beside ``folder`` on all cores, checks it, and gives it the name; returns its stamp."""
    parent = writable_folder(folder.parent, "Set FSSLIB_CACHE, or give a root, where files may be written.")
    if folder.exists():
        tqdm.write(f"{folder}: damaged or of another version, drawing it again")
    for old in parent.glob(".*.part"):      # of a process that was killed
        if time.time() - old.stat().st_mtime > 3600:
            shutil.rmtree(old, ignore_errors=True)
    part = parent / f".{split}.{os.getpid()}.{time.monotonic_ns()}.part"
    part.mkdir()
    try:
        stamp = draw_all(part, split)
        if stamp["digest"] != DIGESTS[split]:
            raise InputError(f"shapes {split}", f"pixels with sha256 {stamp['digest']}", DIGESTS[split],
                             "Install scikit-image and numpy afresh (the former's photos are part of the drawing); "
                             "if that does not help, please report this machine and their versions.")
        write_json(part / STAMP, stamp)
        if folder.exists() and not whole(folder, split):
            aside = part.with_name(part.name.replace(".part", ".old.part"))
            os.replace(folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
        try:
            os.replace(part, folder)
        except OSError:                     # another process was first
            if not whole(folder, split):
                raise
        return stamp
    finally:
        shutil.rmtree(part, ignore_errors=True)


def draw_all(part, split):
    """Draws every image of ``split`` into ``part`` with one process a core; returns the stamp.

    Plain processes that report through a pipe: they need no guard in the caller's script, fork no threads, and end
    when the caller is killed, because the pipe breaks.
    """
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
    for name in PHOTOS[split]:              # told here, not in a process, if scikit-image is missing
        photo(name)
    package = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(package),
                                                                             os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-c", "from fsslib.datasets.shapes import _draw_share; _draw_share()", str(part), split]
    processes, reports = [], {}
    try:
        for worker in range(workers):
            processes.append(subprocess.Popen([*command, str(worker), str(workers)], stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE, text=True, errors="replace", env=environment,
                                              start_new_session=True))
        with tqdm(total=COUNTS[split], desc=f"drawing shapes {split}", unit="image") as progress:
            for index in range(COUNTS[split]):          # image i comes from process i modulo workers, in order
                line = processes[index % workers].stdout.readline()
                if not line:
                    last = processes[index % workers].stderr.read().strip().splitlines()[-1:]
                    raise InputError(part, f"a drawing process that ended early ({''.join(last) or 'killed'})",
                                     "every image drawn", "Free disk space or memory and try again.")
                reports[index] = json.loads(line)
                progress.update()
    finally:
        for process in processes:
            process.terminate()
            process.communicate()
    rows = [reports[index] for index in range(COUNTS[split])]
    return {"digest": digest_of(row["pixels"] for row in rows), "areas": [row["areas"] for row in rows],
            "files": {name: digest for row in rows for name, digest in row["files"].items()}}


def _draw_share():
    """A drawing process: images worker, worker + workers, ... of a split, one line of JSON each."""
    folder, split, worker, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    try:
        for index in range(worker, COUNTS[split], workers):
            print(json.dumps(draw_files(folder, split, index)), flush=True)
    except BrokenPipeError:                 # the caller was killed
        os._exit(1)


def draw_files(folder, split, index):
    """Writes one image and its mask as PNG; returns sha256 of pixels and files, and the class areas."""
    image, mask = draw_scene(split, index)
    names = file_names(f"{split}-{index:04d}")
    for name, pixels in zip(names, (image, mask)):
        Image.fromarray(pixels).save(folder / name, compress_level=1)
    areas = np.bincount(mask.ravel(), minlength=256)[:len(CLASSES) + 1]
    return {"pixels": pixel_digest(image, mask), "areas": areas.tolist(),
            "files": {name: sha256_file(folder / name) for name in names}}


def pixel_digest(image, mask):
    """sha256 (hex) of one image's and its mask's sizes and pixels."""
    return hashlib.sha256(str(image.shape).encode() + image.tobytes() + mask.tobytes()).hexdigest()


def digest_of(pixel_digests):
    """sha256 (hex) of a whole split from its images' digests in order."""
    return hashlib.sha256("".join(pixel_digests).encode()).hexdigest()
