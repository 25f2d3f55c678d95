"""The patch cache: computed once, kept by content, distrusted when damaged, filled in parallel and resumed."""

import shutil
import sys

import numpy as np
import pytest
from conftest import Toy, draw_toy, read_only
from PIL import Image

from fsslib import cli, datasets
from fsslib.basics.errors import InputError
from fsslib.superpixels import cache as module
from fsslib.superpixels import segment
from fsslib.superpixels.cache import PatchCache, read_labels, write_labels

K = {"n_segments": 12}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    return Toy(draw_toy(tmp_path / "toy", count=8))


@pytest.fixture
def calls(monkeypatch):
    """How often an image was segmented."""
    made = []

    def counted(*arguments, **parameters):
        made.append(1)
        return segment(*arguments, **parameters)
    monkeypatch.setattr(module, "segment", counted)
    return made


def test_a_hit_is_what_was_computed(images, calls):
    cache = PatchCache(images, **K)
    first = cache[3]
    assert first.dtype == np.uint16 and np.array_equal(first, segment(images[3].image, **K))
    assert np.array_equal(PatchCache(images, **K)[3], first) and len(calls) == 1
    assert PatchCache(images, **K)[3].dtype == np.uint16
    assert len(cache) == 8
    with pytest.raises(IndexError):
        cache[8]


@pytest.mark.parametrize("count, mode", [(200, "P"), (255, "P"), (256, "I;16"), (70, "P"), (3072, "I;16")])
def test_as_many_bits_as_the_labels_need(tmp_path, count, mode):
    labels = (np.arange(48 * 64) % count).reshape(48, 64)
    write_labels(tmp_path / "a.png", labels, "tag")
    with Image.open(tmp_path / "a.png") as file:
        assert file.mode == mode and file.size == (64, 48)
    assert np.array_equal(read_labels(tmp_path / "a.png", "tag"), labels)


def test_many_patches_through_the_cache(images):
    cache = PatchCache(images, n_segments=600, compactness=1000)
    labels = cache[0]
    assert labels.max() > 300 and np.array_equal(cache[0], labels)
    assert Image.open(cache.path(0)).mode == "I;16"


def test_more_labels_than_16_bits_are_refused(tmp_path):
    with pytest.raises(InputError, match="found 65537 patches in one image, expected at most 65536"):
        write_labels(tmp_path / "a.png", np.arange(65537)[None], "tag")
    assert not list(tmp_path.iterdir())


def cut(path, tag):
    path.write_bytes(path.read_bytes()[:-60])


def flip(path, tag):
    content = bytearray(path.read_bytes())
    content[-40] ^= 8
    path.write_bytes(content)


def shrink(path, tag):
    with Image.open(path) as file:
        told, small = file.info["fsslib"], file.resize((10, 10))
    about = module.PngImagePlugin.PngInfo()
    about.add_text("fsslib", told)
    small.save(path, pnginfo=about)


@pytest.mark.parametrize("damage, words", [
    (cut, "damaged label map"),
    (flip, "damaged label map"),
    (shrink, "damaged label map"),
    (lambda path, tag: path.write_bytes(b""), "damaged label map"),
    (lambda path, tag: path.write_text("hello"), "damaged label map"),
    (lambda path, tag: Image.fromarray(np.zeros((48, 64), np.uint8)).save(path), "of another version"),
    (lambda path, tag: write_labels(path, np.zeros((48, 64), int), "other" + tag[5:]), "of another version"),
])
@pytest.mark.parametrize("how", ["read", "fill"])
def test_what_cannot_be_trusted_is_rebuilt_and_said(images, calls, capsys, damage, words, how):
    cache = PatchCache(images, **K)
    labels = cache[2]
    damage(cache.path(2), cache._tag(2))
    if how == "fill":
        assert cache.fill(workers=1, progress=False) == 8
    assert np.array_equal(cache[2], labels)
    told = capsys.readouterr().out
    assert told.count("segmenting the image again") == 1 and words in told and cache.path(2).name in told
    made = len(calls)
    assert np.array_equal(cache[2], labels) and len(calls) == made               # whole again


def test_another_version_is_another_entry(images, calls, monkeypatch):
    PatchCache(images, **K)[0]
    monkeypatch.setattr(module, "VERSION", 2)
    PatchCache(images, **K)[0]
    monkeypatch.setattr(module.importlib.metadata, "version", lambda package: "99.0")
    PatchCache(images, **K)[0]
    assert len(calls) == 3


def test_settings_do_not_mix(images, calls):
    settings = (("slic", K), ("slic", {"n_segments": 40}), ("slic", K | {"compactness": 1000}), ("felzenszwalb", {}),
                ("felzenszwalb", {"min_size": 30}))
    for method, given in settings:
        assert np.array_equal(PatchCache(images, method, **given)[0], segment(images[0].image, method, **given))
    assert len(calls) == 5 == len({PatchCache(images, method, **given).folder for method, given in settings})
    PatchCache(images, "slic", compactness=10, **K)[0]                            # the default, as a whole number
    PatchCache(images, "slic", n_segments=np.int64(12), compactness=10.0)[0]
    assert len(calls) == 5


def test_the_key_is_the_content_not_the_path(images, calls, tmp_path):
    PatchCache(images, **K).fill(workers=1, progress=False)
    shutil.copytree(tmp_path / "toy", tmp_path / "moved")
    moved = Toy(tmp_path / "moved")
    cache = PatchCache(moved, **K)
    cache[5]
    assert len(calls) == 8
    old = cache.path(5)
    shutil.copy(images.files[6][0], moved.files[5][0])                            # another picture under the same name
    assert cache.path(5) == cache.path(6) != old
    assert np.array_equal(cache[5], cache[6]) and len(calls) == 8
    assert PatchCache(moved, n_segments=20).fill(workers=1, progress=False) == 7  # the same picture twice: once


def test_an_interrupted_fill_goes_on(images, monkeypatch):
    made = []

    def tired(*arguments, **parameters):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(1)
        return segment(*arguments, **parameters)
    monkeypatch.setattr(module, "segment", tired)
    cache = PatchCache(images, **K)
    with pytest.raises(KeyboardInterrupt):
        cache.fill(workers=1, progress=False)
    assert len(list(cache.folder.iterdir())) == 5                                 # whole ones only
    monkeypatch.setattr(module, "segment", segment)
    assert cache.fill(workers=1, progress=False) == 3
    assert cache.fill(workers=1, progress=False) == 0


def test_nothing_half_written_stays(images, monkeypatch):
    def broken(self, path, *arguments, **more):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(Image.Image, "save", broken)
    cache = PatchCache(images, **K)
    with pytest.raises(OSError, match="No space"):
        cache[0]
    assert not list(cache.folder.iterdir())


def test_two_processes_compute_the_same(images, capsys):
    cache = PatchCache(images, **K)
    cache[1]
    assert cache.fill(workers=2) == 7
    assert "slic patches" in capsys.readouterr().err                              # the progress bar
    assert all(np.array_equal(cache[i], segment(images[i].image, **K)) for i in range(8))
    assert {path.suffix for path in cache.folder.iterdir()} == {".png"}


def test_a_bad_image_in_a_process_is_named(images):
    images.files[4][0].write_bytes(b"no picture")
    cache = PatchCache(images, **K)
    with pytest.raises(InputError, match=images.files[4][0].name):
        cache.fill(workers=2, progress=False)
    images.files[4][0].unlink()
    with pytest.raises(InputError, match="no such file"):
        cache[4]


@pytest.mark.parametrize("arguments, words", [
    ({"method": "watershed"}, "found 'watershed'"),
    ({"scale": 3}, "found 'scale', expected one of n_segments, compactness"),
    ({"n_segments": 0}, "found 0"),
])
def test_a_bad_setting_is_refused_at_once(images, arguments, words):
    with pytest.raises(InputError, match=words):
        PatchCache(images, **arguments)


@pytest.mark.parametrize("method", ["slic", "felzenszwalb"])
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_tiny_images_among_others(images, tmp_path, method, workers):
    """A thumbnail has fewer pixels than patches are asked for: it gets fewer, and the others what they always got."""
    sizes = {"toy01": (8, 5), "toy02": (1, 1), "toy03": (1, 40), "toy04": (40, 1), "toy05": (2, 2)}       # width, height
    for name, size in sizes.items():
        Image.new("RGB", size, (200, 30, 60)).save(tmp_path / "toy" / "images" / f"{name}.png")
    cache = PatchCache(images, method)
    assert cache.fill(workers=workers, progress=False) == 8
    for at, name in enumerate(images.ids):
        labels, image = cache[at], images.image(at)
        assert labels.shape == image.shape[:2] and sorted(set(labels.ravel())) == list(range(labels.max() + 1))
        assert labels.max() < labels.size
        if name not in sizes:
            assert np.array_equal(labels, segment(image, method))


def test_what_goes_wrong_names_the_file(images, monkeypatch):
    def refuse(*_, **__):
        raise InputError("slic", "a", "b", "c.")
    monkeypatch.setattr(module, "segment", refuse)
    with pytest.raises(InputError, match=r"images/toy00.png, slic: found a"):
        PatchCache(images, **K).fill(workers=1, progress=False)


def test_a_prepared_cache_is_read_and_what_is_missing_told(images, monkeypatch, tmp_path):
    cache = PatchCache(images, **K)
    cache.fill(workers=1, progress=False)
    first = cache[0]
    state = read_only(monkeypatch, tmp_path / "cache")
    before = state()
    again = PatchCache(images, **K)
    assert again.fill(workers=1, progress=False) == 0 and np.array_equal(again[0], first)
    other = PatchCache(images, n_segments=9)
    for ask in (lambda: other[0], lambda: other.fill(workers=1, progress=False)):
        with pytest.raises(InputError, match="takes no files .Read-only file system.*Set FSSLIB_CACHE"):
            ask()
    assert state() == before


# The command

def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["fsslib", "data", "superpixels", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0, *capsys.readouterr()


def test_the_command_fills_and_resumes(images, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "open_dataset", lambda name, root, split: images)
    code, out, _ = call(monkeypatch, capsys, "--segments", 12, "--workers", 1)
    cache = PatchCache(images, **K)
    assert code == 0 and out == f"8 images segmented, 0 were there; {cache.folder}\n"
    cache.path(0).unlink()
    assert call(monkeypatch, capsys, "--segments", 12)[1].startswith("1 images segmented, 7 were there")
    code, out, _ = call(monkeypatch, capsys, "--method", "felzenszwalb", "--min-size", 50, "--scale", 80, "--sigma", 1)
    assert code == 0 and str(PatchCache(images, "felzenszwalb", min_size=50, scale=80, sigma=1).folder) in out


@pytest.mark.parametrize("arguments, words", [
    (("--segments", 0), "slic n_segments: found 0, expected a whole number of 1 or more"),
    (("--scale", 3), "slic parameter: found 'scale', expected one of n_segments, compactness"),
    (("--method", "felzenszwalb", "--compactness", 3), "found 'compactness'"),
    (("--compactness", "nan"), "found nan"),
    (("--workers", 0), "workers: found 0, expected 1 or more"),
    (("--method", "watershed"), "'watershed' is not one of"),
    (("--dataset", "imagenet"), "found 'imagenet'"),
])
def test_bad_input_is_one_sentence_and_exit_code_2(images, monkeypatch, capsys, arguments, words):
    real = datasets.open_dataset
    monkeypatch.setattr(datasets, "open_dataset",
                        lambda name, root, split: images if name == "shapes" else real(name, root, split))
    code, _, err = call(monkeypatch, capsys, *arguments)
    assert code == 2 and words in err and "Traceback" not in err
