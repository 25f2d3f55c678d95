"""What several test files share: one cache for the whole run, and a data set of 24 small pictures."""

import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fsslib.datasets import SegmentationDataset

for number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:       # a shell's background job ignores Ctrl-C, and so would every test of it
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
torch.set_num_threads(1)                     # small tensors: more threads only wait for each other
NAMES = ("wide box", "tall box", "disc", "square")


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory):
    """One cache folder for all tests (drawing ``shapes`` takes half a minute), unless the environment names one."""
    if "FSSLIB_CACHE" in os.environ:
        yield os.environ["FSSLIB_CACHE"]
        return
    os.environ["FSSLIB_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield os.environ["FSSLIB_CACHE"]
    del os.environ["FSSLIB_CACHE"]


class Toy(SegmentationDataset):
    """Pictures of 48x64 px in a folder that ``draw_toy`` filled; the ids are the files' names."""
    name, class_names = "toy", NAMES

    def __init__(self, folder, split="train"):
        self.split = split
        images = sorted((folder / "images").iterdir())
        self.ids = tuple(path.stem for path in images)
        self.files = tuple((path, folder / "masks" / path.name) for path in images)


def toy_mask(classes, rng):
    """uint8 (48,64): one object of each class, a quarter of the width apart, with a border of 255."""
    mask, (y, x) = np.zeros((48, 64), np.uint8), np.indices((48, 64))
    for place, c in zip(rng.permutation(3), classes):
        cy, cx = rng.integers(14, 34), 11 + 21 * place
        dy, dx = np.abs(y - cy), np.abs(x - cx)

        def inside(grow):
            return {1: (dy <= 4 + grow) & (dx <= 8 + grow), 2: (dy <= 10 + grow) & (dx <= 3 + grow),
                    3: dy ** 2 + dx ** 2 <= (7 + grow) ** 2, 4: (dy <= 6 + grow) & (dx <= 6 + grow)}[c]
        mask[inside(1)], mask[inside(0)] = 255, c
    return mask


def draw_toy(folder, count=24, seed=0):
    """Writes ``count`` pictures, each with one to three of the four classes; every class has a hue of its own."""
    rng = np.random.default_rng(seed)
    hues = np.array([[60, 60, 60], [210, 40, 40], [40, 200, 60], [50, 60, 220], [220, 210, 40]])
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for at in range(count):
        classes = [1 + at % 4, *(1 + (at + 1 + k) % 4 for k in range(at % 3))]
        mask = toy_mask(classes, rng)
        image = hues[np.where(mask == 255, 0, mask)] + rng.integers(-20, 21, (48, 64, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"toy{at:02}.png")
        Image.fromarray(mask).save(folder / "masks" / f"toy{at:02}.png")
    return folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    return draw_toy(tmp_path_factory.mktemp("toy") / "data")


@pytest.fixture(scope="session")
def toy(toy_folder):
    """24 pictures, four classes, the area rule scaled so that one pixel is enough."""
    dataset = Toy(toy_folder)
    dataset.area_scale = 1 / 2048
    return dataset


@pytest.fixture
def tiny_panet():
    """PANet on the ``tiny`` backbone, the same random start in every test."""
    from fsslib.models import build_model
    torch.manual_seed(0)
    return build_model("panet", "tiny", None)


def call(monkeypatch, capsys, *arguments):
    """(exit code, stdout, stderr) of ``fsslib ARGUMENTS`` in this process."""
    from fsslib import cli
    monkeypatch.setattr(sys, "argv", ["fsslib", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    shown = capsys.readouterr()
    return end.value.code or 0, shown.out, shown.err


def read_only(monkeypatch, folder):
    """Says of every folder below ``folder`` that it takes no files, to root as well; returns a function that lists the files
    there with their times."""
    from fsslib.basics import storage
    plain = storage.tempfile.TemporaryFile

    def refuse(dir):
        if str(dir).startswith(str(folder)):
            raise OSError(30, "Read-only file system")
        return plain(dir=dir)
    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)
    return lambda: sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())


def own_images(root, count=4, names=("cup",), shape=(120, 160), box=(slice(20, 100), slice(20, 100)), classes=(1,)):
    """Own images in the layout of ``folder``: grey photos with one object each, of the ``classes`` in turn."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for k in range(count):
        mask = np.zeros(shape, np.uint8)
        mask[box] = classes[k % len(classes)]
        Image.fromarray(np.full((*shape, 3), 3 * k, np.uint8)).save(root / "images" / f"p{k:02}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{k:02}.png")
    (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root
