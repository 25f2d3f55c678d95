"""``fsslib bench superpixels``: segmenting against reading what was segmented, measured and printed."""

import copy
import tempfile
import time
from pathlib import Path

from ..basics.errors import InputError
from ..basics.machine import hardware
from ..datasets import open_dataset
from ..datasets.reading import read_image
from ..superpixels import METHODS, segment
from ..superpixels.cache import PatchCache


def superpixels(dataset, root, count):
    """A text table: ms an image to compute and to read, their ratio, images/s of filling with 1 and 2 workers."""
    if count < 1:
        raise InputError("--images", count, "1 or more", "Give a larger number.")
    images = copy.copy(open_dataset(dataset, root, "val"))
    step = max(1, len(images) // count)                              # spread over the list
    images.ids, images.files = images.ids[::step][:count], images.files[::step][:count]
    lines = [f"{dataset}, {len(images)} images; {hardware()}; a cache of its own, deleted afterwards", "",
             f"{'':14}{'compute':>12}{'read':>12}{'ratio':>8}{'1 worker':>16}{'2 workers':>16}"]
    for method in METHODS:
        pictures = [read_image(file) for file, _ in images.files]
        computing = min(_seconds(lambda: [segment(p, method) for p in pictures]) for _ in range(2)) / len(images)
        filling = []
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                cache = PatchCache(images, method)
                cache.folder = Path(folder)
                filling.append(len(images) / _seconds(lambda: cache.fill(workers, progress=False)))
                reading = min(_seconds(lambda: [cache[i] for i in range(len(images))]) for _ in range(9)) / len(images)
        lines.append(f"{method:14}{1000 * computing:9.1f} ms{1000 * reading:9.2f} ms{computing / reading:7.0f}x"
                     + "".join(f"{rate:9.1f} image/s" for rate in filling))
    return "\n".join([*lines, "", "workers: with the start of their processes, about two seconds"])


def _seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
