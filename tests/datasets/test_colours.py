"""Masks as tools export them -> class numbers, against masks drawn by hand; every printed cure is run."""

import re
import shlex
import unicodedata

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import own_images
from fsslib.basics.errors import InputError
from fsslib.cli import cli
from fsslib.datasets import open_dataset
from fsslib.datasets.colours import convert_masks, read_labelmap
from PIL import Image

IDS = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [2, 2, 0, 0]], np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:128,0,0::\nbowl:0,128,0::\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two photos, masks in CVAT's colours, its labelmap, no classes.txt."""
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    root = own_images(tmp_path / "my photos", 2, shape=(300, 400))
    for k in range(2):
        Image.fromarray(COLOURS[large(k)]).save(root / "masks" / f"p0{k}.png")
    (root / "classes.txt").unlink()
    (root / "labelmap.txt").write_text(CVAT)
    return root


def large(k=0):
    return np.kron(np.roll(IDS, k, 1), np.ones((100, 100), np.uint8))


def test_cvats_colours(root):
    before = (root / "masks" / "p00.png").read_bytes()
    out, smoothed = convert_masks(root / "masks", root / "labelmap.txt")
    assert out == root / "masks_numbers" and not smoothed
    assert (root / "classes.txt").read_text() == "cup\nbowl\n"
    assert (root / "masks" / "p00.png").read_bytes() == before
    (root / "masks").rename(root / "masks_colours")
    out.rename(root / "masks")
    data = open_dataset("folder", root)
    assert data.class_names == ("cup", "bowl") and (data.mask(0) == large()).all() and (data.mask(1) == large(1)).all()


def test_numbers_follow_a_list_that_is_there(root):
    (root / "classes.txt").write_text("bowl\nplate\ncup\n")
    out, _ = convert_masks(root / "masks", root / "labelmap.txt", root / "new")
    assert (np.asarray(Image.open(out / "p00.png")) == np.array([0, 3, 1])[large()]).all()
    (root / "classes.txt").write_text("plate\ncup\n")
    with pytest.raises(InputError, match="no class 'bowl'"):
        convert_masks(root / "masks", root / "labelmap.txt", root / "other")
    assert not (root / "other").exists()


def test_smoothed_edges_are_ignored_and_a_forgotten_colour_is_not(root):
    image = np.asarray(Image.open(root / "masks" / "p00.png")).copy()
    image[50, 90:110] = np.arange(20)[:, None] * (6, 0, 0) + (1, 0, 0)
    Image.fromarray(image).save(root / "masks" / "p00.png")
    out, smoothed = convert_masks(root / "masks", root / "labelmap.txt")
    found = np.asarray(Image.open(out / "p00.png"))
    assert smoothed == {"p00.png": 20} and (found[50, 90:110] == 255).all()
    assert (np.delete(found, 50, 0) == np.delete(large(), 50, 0)).all()
    image[:30, :30] = 9, 9, 200
    Image.fromarray(image).save(root / "masks" / "p00.png")
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
    Image.fromarray(np.where(large() == 1, 255, np.where(large() == 2, 128, 0)).astype(np.uint8)).save(root / "masks" / "p00.png")
    (root / "masks" / "p01.png").unlink()
    out, _ = convert_masks(root / "masks", root / "labelmap.txt")
    assert (np.asarray(Image.open(out / "p00.png")) == np.array([0, 1, 255])[large()]).all()


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
        Image.fromarray(255 * (large(k) == 1).astype(np.uint8)).save(root / "masks" / f"p0{k}.png")
    assert "masks_numbers" in run(cure_of(lambda: open_dataset("folder", root).areas))
    assert (np.asarray(Image.open(root / "masks_numbers" / "p01.png")) == (large(1) == 1)).all()
    assert (root / "classes.txt").read_text() == "cup\n"
    (root / "classes.txt").write_text("cup\nbowl\n")
    with pytest.raises(InputError, match="found 2 classes, expected one"):
        convert_masks(root / "masks", out=root / "again")


def test_the_cure_of_a_labelmap_in_place_of_classes(root):
    words = cure_of(lambda: open_dataset("folder", root))                # no classes.txt, but labelmap.txt
    run(words)
    assert (np.asarray(Image.open(root / "masks_numbers" / "p00.png")) == large()).all()


def test_the_cure_of_colours_without_a_labelmap_shows_its_lines(root):
    with pytest.raises(InputError, match="2 colours besides black") as caught:
        convert_masks(root / "masks")
    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("  ?:")]
    assert sorted(lines) == ["?:0,128,0", "?:128,0,0"]
    (root / "labelmap.txt").write_text("\n".join(sorted(lines)).replace("?", "bowl", 1).replace("?", "cup"))
    assert read_labelmap(root / "labelmap.txt") == {(0, 128, 0): "bowl", (128, 0, 0): "cup"}


def test_nothing_is_lost_on_the_way(root):
    Image.fromarray(COLOURS[large()]).save(root / "masks" / "p00.tif")
    with pytest.raises(InputError, match="a second mask called p00"):
        convert_masks(root / "masks", root / "labelmap.txt")
    (root / "masks" / "p00.tif").unlink()
    (root / "masks" / "._p00.png").write_bytes(b"macOS")
    (root / "labelmap.txt").write_text("cup:128,0,0\ncup:0,128,0\n")           # two colours, one class
    out, _ = convert_masks(root / "masks", root / "labelmap.txt")
    assert (root / "classes.txt").read_text() == "cup\n" and (np.asarray(Image.open(out / "p00.png")) == (large() > 0)).all()
    assert sorted(path.name for path in out.iterdir()) == ["p00.png", "p01.png"]


def test_an_object_drawn_in_the_alpha_channel(root):
    for k in range(2):
        white = np.full((300, 400, 4), 255, np.uint8)
        white[..., 3] = 255 * (large(k) == 1)
        Image.fromarray(white).save(root / "masks" / f"p0{k}.png")
    out, _ = convert_masks(root / "masks")
    assert (np.asarray(Image.open(out / "p01.png")) == (large(1) == 1)).all()


@pytest.mark.parametrize("text, found", [("1 cup:1,1,1\n", "numbers in front of the names"),
                                         ("".join(f"c{k}:{k // 256},{k % 256},9\n" for k in range(300)), "300 names")])
def test_a_list_that_the_kit_would_refuse_is_not_written(root, text, found):
    (root / "labelmap.txt").write_text(text)
    with pytest.raises(InputError, match=found):
        convert_masks(root / "masks", root / "labelmap.txt")
    assert not (root / "classes.txt").exists() and not (root / "masks_numbers").exists()


def test_here_and_other_unicode_forms(root, monkeypatch):
    monkeypatch.chdir(root / "masks")
    (root / "classes.txt").write_text(unicodedata.normalize("NFC", "Tür\nbowl\n"), encoding="utf-8")
    (root / "labelmap.txt").write_text(unicodedata.normalize("NFD", "Tür:128,0,0\nbowl:0,128,0\n"), encoding="utf-8")
    assert convert_masks(".", "../labelmap.txt")[0] == root / "masks_numbers"
