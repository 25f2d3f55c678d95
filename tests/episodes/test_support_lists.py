"""The lists of the support test: who is asked for what, and always the same."""

import numpy as np
import pytest

from fsslib.datasets import open_dataset
from fsslib.episodes.support_test import DRAWS, QUERIES, SupportLists


@pytest.fixture(scope="module")
def shapes():
    return open_dataset("shapes", split="val")


def test_crowded_queries_show_the_asked_thing_and_another(shapes):
    lists = SupportLists(shapes, (1, 2, 3, 4, 5), 1)
    least = round(2048 * shapes.area_scale)
    expected = [(i, c) for i in range(len(shapes)) for c in (1, 2, 3, 4, 5)
                if shapes.areas[i, c] >= least and (shapes.areas[i, 1:] >= least).sum() > 1]
    assert [(e.query, e.class_ids[0]) for e in lists.crowded] == [pair for pair in expected for _ in range(DRAWS)]
    for e in [*lists.crowded, *lists.wrong, *lists.present, *lists.absent]:
        (support,) = e.support
        assert e.query not in support and all(shapes.areas[i, e.class_ids[0]] >= least for i in support)
    assert len({e.support for e in lists.crowded}) > len(lists.crowded) / 10


def test_the_wrong_support_is_of_the_largest_other_thing(shapes):
    lists = SupportLists(shapes, (1, 2, 3, 4, 5), 1)
    assert lists.wrong_of == list(range(0, len(lists.crowded), DRAWS))           # on Shapes every class has a support
    for number, e in zip(lists.wrong_of, lists.wrong):
        asked = lists.crowded[number]
        areas = shapes.areas[e.query, 1:].copy()
        areas[asked.class_ids[0] - 1] = 0
        assert e.query == asked.query and e.class_ids[0] == areas.argmax() + 1


def test_absent_and_present(shapes):
    lists = SupportLists(shapes, (1, 2, 3, 4, 5), 5)
    for c in lists.classes:
        absent, present = ([e.query for e in found if e.class_ids[0] == c] for found in (lists.absent, lists.present))
        assert len(set(absent)) == len(absent) == QUERIES and not shapes.areas[absent, c].any()
        assert len(set(present)) == len(present) <= QUERIES and shapes.areas[present, c].min() >= lists.least
        assert all(len(e.support[0]) == 5 for e in lists.absent)


def test_one_shot_is_the_first_of_five_and_lists_are_stable(shapes):
    one, five = SupportLists(shapes, (6, 7, 8, 9, 10), 1), SupportLists(shapes, (6, 7, 8, 9, 10), 5)
    for name in ("crowded", "wrong", "absent", "present"):
        for a, b in zip(getattr(one, name), getattr(five, name), strict=True):
            assert (a.class_ids, a.query, a.support[0]) == (b.class_ids, b.query, b.support[0][:1])
        assert getattr(SupportLists(shapes, (6, 7, 8, 9, 10), 1), name).digest == getattr(one, name).digest


def test_regions_leave_out_void_and_what_is_small(toy):
    lists = SupportLists(toy, (1, 2, 3, 4), 1)
    for e in list(lists.crowded)[:40]:
        mask, (asked, other, counts) = toy.mask(e.query), lists.regions(e)
        large = [c for c in range(1, 5) if toy.areas[e.query, c] >= lists.least]
        assert (asked == (mask == e.class_ids[0])).all() and not (asked & other).any()
        assert sorted(np.unique(mask[other])) == [c for c in large if c != e.class_ids[0]]
        assert (counts == ((mask == 0) | asked | other)).all()


def test_a_class_without_enough_images_is_named(toy, monkeypatch):
    few = int((toy.areas[:, 1] > 0).sum())
    lists = SupportLists(toy, (1, 2), few)
    assert 1 in lists.too_few and all(e.class_ids[0] != 1 for e in lists.crowded)


def test_only_allowed_images(shapes):
    allowed = np.flatnonzero(np.arange(len(shapes)) % 2)
    lists = SupportLists(shapes, (1, 2, 3), 2, allowed)
    for found in (lists.crowded, lists.wrong, lists.absent, lists.present):
        assert len(found) and {i for e in found for i in (e.query, *e.support[0])} <= set(allowed)
    whole = {(e.query, e.class_ids) for e in SupportLists(shapes, (1, 2, 3), 2).crowded}
    assert {(e.query, e.class_ids) for e in lists.crowded} == {(i, c) for i, c in whole if i % 2}
