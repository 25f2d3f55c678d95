"""Masks as tools export them -> class numbers, against masks drawn by hand; every printed cure is run."""

import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from fsslib.basics.errors import InputError
from fsslib.cli import cli
from fsslib.datasets import open_dataset
from fsslib.datasets.colours import convert_masks, read_labelmap
from PIL import Image

IDS = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [2, 2, 0, 0]], np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:128,0,0::\nbowl:0,128,0::\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    """Two photos, masks in CVAT's colours, its labelmap, no classes.txt."""
    root = tmp_path / "my photos"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for k in range(2):
        Image.new("RGB", (400, 300)).save(root / "images" / f"p{k}.jpg")
        Image.fromarray(COLOURS[large(k)]).save(root / "masks" / f"p{k}.png")
    (root / "labelmap.txt").write_text(CVAT)
    return root


def large(k=0):
    return np.kron(np.roll(IDS, k, 1), np.ones((100, 100), np.uint8))


def test_cvats_colours(root):
    before = (root / "masks" / "p0.png").read_bytes()
    out, smoothed = convert_masks(root / "masks", root / "labelmap.txt")
    assert out == root / "masks_numbers" and not smoothed
    assert (root / "classes.txt").read_text() == "cup\nbowl\n"
    assert (root / "masks" / "p0.png").read_bytes() == before
    (root / "masks").rename(root / "masks_colours")
    out.rename(root / "masks")
    data = open_dataset("folder", root)
    assert data.class_names == ("cup", "bowl") and (data.mask(0) == large()).all() and (data.mask(1) == large(1)).all()


def test_numbers_follow_a_list_that_is_there(root):
    (root / "classes.txt").write_text("bowl\nplate\ncup\n")
    out, _ = convert_masks(root / "masks", root / "labelmap.txt", root / "new")
    assert (np.asarray(Image.open(out / "p0.png")) == np.array([0, 3, 1])[large()]).all()
    (root / "classes.txt").write_text("plate\ncup\n")
    with pytest.raises(InputError, match="no class 'bowl'"):
        convert_masks(root / "masks", root / "labelmap.txt", root / "other")
    assert not (root / "other").exists()


def test_smoothed_edges_are_ignored_and_a_forgotten_colour_is_not(root):
    image = np.asarray(Image.open(root / "masks" / "p0.png")).copy()
    image[50, 90:110] = np.arange(20)[:, None] * (6, 0, 0) + (1, 0, 0)
    Image.fromarray(image).save(root / "masks" / "p0.png")
    out, smoothed = convert_masks(root / "masks", root / "labelmap.txt")
    found = np.asarray(Image.open(out / "p0.png"))
    assert smoothed == {"p0.png": 20} and (found[50, 90:110] == 255).all()
    assert (np.delete(found, 50, 0) == np.delete(large(), 50, 0)).all()
    image[:30, :30] = 9, 9, 200
    Image.fromarray(image).save(root / "masks" / "p0.png")
    with pytest.raises(InputError, match="the colour 9,9,200 on 900 px, without a name"):
        convert_masks(root / "masks", root / "labelmap.txt", root / "third")
    assert not (root / "third").exists()


@pytest.mark.parametrize("text, found", [("", "no class"), ("cup 128 0 0\n", "'cup 128 0 0'"), ("cup:1,2\n", "'cup:1,2'"),
                                         ("cup:1,2,300\n", "300"), ("a:1,2,3\nb:1,2,3\n", "line 2: found the colour (1, 2, 3) of 'a'"),
                                         ("background:0,0,0\n", "no class")])
def test_a_labelmap_that_is_none(tmp_path, text, found):
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(InputError, match=re.escape(found)):
        read_labelmap(tmp_path / "labelmap.txt")


def test_one_number_is_grey_and_void_is_255(root):
    (root / "labelmap.txt").write_text("cup:255\n__ignore__:128,128,128\n")
    Image.fromarray(np.where(large() == 1, 255, np.where(large() == 2, 128, 0)).astype(np.uint8)).save(root / "masks" / "p0.png")
    (root / "masks" / "p1.png").unlink()
    out, _ = convert_masks(root / "masks", root / "labelmap.txt")
    assert (np.asarray(Image.open(out / "p0.png")) == np.array([0, 1, 255])[large()]).all()


def test_nothing_is_overwritten(root):
    (root / "masks_numbers").mkdir()
    (root / "masks_numbers" / "x.png").write_bytes(b"x")
    with pytest.raises(InputError, match="something there already"):
        convert_masks(root / "masks", root / "labelmap.txt")
    with pytest.raises(InputError, match="no mask"):
        convert_masks(root, root / "labelmap.txt")


def cure_of(call):
    with pytest.raises(InputError) as caught:
        call()
    return shlex.split(re.search("`fsslib (.*?)`", str(caught.value))[1])


def run(words):
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_cure_of_masks_of_0_and_255(root):
    (root / "classes.txt").write_text("cup\n")
    for k in range(2):
        Image.fromarray(255 * (large(k) == 1).astype(np.uint8)).save(root / "masks" / f"p{k}.png")
    assert "masks_numbers" in run(cure_of(lambda: open_dataset("folder", root).areas))
    assert (np.asarray(Image.open(root / "masks_numbers" / "p1.png")) == (large(1) == 1)).all()
    assert (root / "classes.txt").read_text() == "cup\n"
    (root / "classes.txt").write_text("cup\nbowl\n")
    with pytest.raises(InputError, match="found 2 classes, expected one"):
        convert_masks(root / "masks", out=root / "again")


def test_the_cure_of_a_labelmap_in_place_of_classes(root):
    words = cure_of(lambda: open_dataset("folder", root))                # no classes.txt, but labelmap.txt
    run(words)
    assert (np.asarray(Image.open(root / "masks_numbers" / "p0.png")) == large()).all()


def test_the_cure_of_colours_without_a_labelmap_shows_its_lines(root):
    with pytest.raises(InputError, match="2 colours besides black") as caught:
        convert_masks(root / "masks")
    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("  ?:")]
    assert sorted(lines) == ["?:0,128,0", "?:128,0,0"]
    (root / "labelmap.txt").write_text("\n".join(sorted(lines)).replace("?", "bowl", 1).replace("?", "cup"))
    assert read_labelmap(root / "labelmap.txt") == {(0, 128, 0): "bowl", (128, 0, 0): "cup"}
