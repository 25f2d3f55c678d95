"""Folds against the lists printed in the papers."""

import pytest

from fsslib.basics.errors import InputError
from fsslib.episodes.folds import CLASSES, base_classes, novel_classes


def test_pascal_folds_are_blocks_of_five():
    assert [novel_classes("voc", fold) for fold in range(4)] == [
        (1, 2, 3, 4, 5), (6, 7, 8, 9, 10), (11, 12, 13, 14, 15), (16, 17, 18, 19, 20)]
    assert novel_classes("shapes", 2) == (11, 12, 13, 14, 15)


def test_coco_has_two_variants():
    interleaved = novel_classes("coco", 1)
    assert interleaved[:3] == (2, 6, 10) and interleaved[-1] == 78 and len(interleaved) == 20
    assert novel_classes("coco", 0)[0] == 1                          # person is novel in fold 0
    assert novel_classes("coco", 1, "contiguous") == tuple(range(21, 41))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("variant", ["interleaved", "contiguous"])
def test_folds_share_nothing_and_leave_nothing_out(name, variant):
    folds = [novel_classes(name, fold, variant) for fold in range(4)]
    assert sorted(c for fold in folds for c in fold) == list(range(1, CLASSES[name] + 1))
    for fold, novel in enumerate(folds):
        assert sorted(novel + base_classes(name, fold, variant)) == list(range(1, CLASSES[name] + 1))


@pytest.mark.parametrize("arguments, word", [
    (("voc", 4), "fold"), (("voc", -1), "fold"), (("voc", "0"), "fold"), (("mnist", 0), "data set"),
    (("coco", 0, "random"), "variant")])
def test_bad_input_names_what_is_wrong(arguments, word):
    with pytest.raises(InputError, match=word):
        novel_classes(*arguments)
