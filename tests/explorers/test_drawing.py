"""Strokes become labels, labels a support, and the outlines a data set that reads back."""

import io

import numpy as np
import pytest
from PIL import Image

from fsslib.basics.errors import InputError
from fsslib.datasets import open_dataset
from fsslib.explorers.drawing import Outliner, labels_of
from fsslib.predict import Segmenter
from fsslib.predict.own_folder import save_outlines

BOX = {"kind": "box", "label": 1, "points": [[30.4, 8], [10, 20]]}           # drawn from the upper right corner
LINE = {"kind": "scribble", "label": 1, "points": [[10, 12], [40, 12]]}
OFF = {"kind": "scribble", "label": 0, "points": [[15, 0], [15, 29]]}
TRIANGLE = {"kind": "polygon", "label": 1, "points": [[0, 0], [20, 0], [0, 20]]}


def test_a_box_says_what_is_inside_and_what_is_not():
    expected = np.zeros((30, 50), np.uint8)
    expected[8:20, 10:30] = 1
    np.testing.assert_array_equal(labels_of([BOX], (30, 50)), expected)


def test_a_scribble_tells_of_its_own_pixels():
    labels = labels_of([LINE, OFF], (30, 50))
    assert (labels[12, 20:40] == 1).all() and (labels[2:8, 15] == 0).all() and (labels[20:, 25:] == 255).all()
    assert set(np.unique(labels)) == {0, 1, 255}
    assert labels_of([OFF], (30, 50)) is None                                  # nothing says what the thing is
    assert labels_of([], (30, 50)) is None


def test_a_scribble_corrects_a_box():
    labels = labels_of([OFF, BOX], (30, 50))                                   # whichever was drawn first
    assert labels[15, 15] == 0 and labels[15, 25] == 1 and labels[25, 40] == 0


def test_a_polygon_is_filled():
    labels = labels_of([TRIANGLE], (30, 50))
    y, x = np.mgrid[:30, :50]
    assert (labels[x + y < 19] == 1).all() and (labels[x + y > 21] == 0).all()


@pytest.fixture
def outliner(tiny_panet, toy, tmp_path):
    photos = [(f"photo{i}.png", toy.image(i)) for i in range(3)]
    return Outliner(photos, ("hat", "cap"), Segmenter(tiny_panet, 64, "cpu"), tmp_path / "own")


def test_the_mask_follows_every_stroke(outliner):
    before = outliner.picture.value
    outliner.add(BOX)
    first = outliner.picture.value
    assert first != before and outliner.segmenter.classes == ("hat",) and outliner.board.strokes == [BOX]
    outliner.add(OFF)
    second = outliner.picture.value
    outliner.undo.click()
    assert outliner.board.strokes == [BOX] and outliner.picture.value == first
    outliner.undo.click()
    assert outliner.picture.value == before and outliner.segmenter.classes == ()
    outliner.undo.click()                                                      # nothing left to take back
    assert second != first


def test_a_click_is_told_and_taken_back(outliner):
    outliner.add(BOX)
    shown = outliner.picture.value
    outliner.support.value = 2
    outliner.photos[2] = ("large.png", np.zeros((3000, 3000, 3), np.uint8))
    outliner.add({"kind": "box", "label": 1, "points": [[1501, 1501], [1502, 1502]]})
    assert "vanishes at 64 px" in outliner.note.value and outliner.drawn[2, "hat"] == [] and outliner.picture.value == shown


def test_a_class_keeps_its_colour(outliner):
    outliner.add(BOX)
    outliner.name.value = "cap"
    outliner.add(TRIANGLE)
    before = outliner.picture.value
    outliner.name.value = "hat"
    outliner.add(OFF)
    outliner.undo.click()
    assert outliner.segmenter.classes == ("cap", "hat") and outliner.picture.value == before


def test_classes_and_photos_keep_their_strokes(outliner):
    outliner.add(BOX)
    outliner.name.value = "cap"
    assert outliner.board.strokes == []
    outliner.add(TRIANGLE)
    outliner.support.value = 2
    assert outliner.board.strokes == [] and Image.open(io.BytesIO(outliner.board.image)).size == (64, 48)
    outliner.add(LINE)
    assert {name: len(given) for name, given in outliner.segmenter.supports.items()} == {"hat": 1, "cap": 2}
    outliner.support.value, outliner.name.value = 0, "hat"
    assert outliner.board.strokes == [BOX]
    outliner.tool.value, outliner.side.value = "scribble", 0
    assert outliner.board.tool == "scribble" and outliner.board.label == 0


def test_saved_outlines_read_back(outliner, toy, tmp_path):
    outliner.save.click()
    assert "Draw on a photo first" in outliner.note.value
    outliner.add(BOX)
    outliner.name.value = "cap"
    outliner.add(LINE)
    outliner.support.value = 1
    outliner.add(TRIANGLE)
    outliner.save.click()
    assert "2 outlined photos" in outliner.note.value
    data = open_dataset("folder", tmp_path / "own")
    assert data.class_names == ("hat", "cap") and len(data) == 2
    np.testing.assert_array_equal(data.image(0), toy.image(0))
    assert data.mask(0)[15, 25] == 1 and data.mask(0)[12, 35] == 2 and data.mask(0)[40, 60] == 0
    assert (data.mask(1) == 2).sum() == pytest.approx(200, abs=35)          # edges included
    with pytest.raises(InputError, match="other classes"):
        save_outlines(tmp_path / "own", [("x.png", toy.image(0), toy.mask(0))], ("cap", "hat"))


def test_one_photo_is_too_few(toy):
    with pytest.raises(InputError, match="two or more"):
        Outliner([("a", toy.image(0))])
