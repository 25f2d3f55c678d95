"""The support test's measures against cases counted by hand."""

import numpy as np
import pytest

from fsslib.metrics import EMPTY, RESAMPLES, ImageMeans, auc, crowded_values, presence, share

ASKED = np.zeros((4, 6), bool)
ASKED[:2, :2] = True                         # 4 px
OTHER = np.zeros((4, 6), bool)
OTHER[2:, 3:] = True                         # 6 px
COUNTS = np.ones((4, 6), bool)
COUNTS[0, 5] = False


def test_auc_against_all_pairs():
    rng = np.random.default_rng(0)
    for a, b in ((5, 7), (40, 3), (1, 1)):
        asked, other = rng.integers(0, 6, a) / 2, rng.integers(0, 6, b) / 2          # with ties
        pairs = [1.0 if x > y else 0.5 if x == y else 0.0 for x in asked for y in other]
        assert auc(asked, other) == pytest.approx(np.mean(pairs))
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == 7 / 8 and np.isnan(auc(np.array([]), np.ones(2)))


def test_the_truth_as_the_answer():
    values = crowded_values(np.where(ASKED, 1.0, -1.0), ASKED, OTHER, COUNTS)
    assert values == {"auc": 1, "marked": 1, "iou_asked": 1, "iou_other": 0}


def test_the_other_object_as_the_answer():
    values = crowded_values(np.where(OTHER, 1.0, -1.0), ASKED, OTHER, COUNTS)
    assert values == {"auc": 0, "marked": 0, "iou_asked": 0, "iou_other": 1}


@pytest.mark.parametrize("level", [-1.0, 2.0])
def test_a_constant_map_says_nothing(level):
    values = crowded_values(np.full((4, 6), level), ASKED, OTHER, COUNTS)
    assert values["auc"] == values["marked"] == 0.5
    assert values["iou_asked"] == (4 / 23 if level > 0 else 0) and values["iou_other"] == (6 / 23 if level > 0 else 0)


def test_half_of_each():
    """3 of 4 asked pixels and 3 of 6 others are marked, and two of the background, one of which does not count."""
    margin = np.full((4, 6), -1.0)
    margin[0, :2] = margin[1, 0] = margin[2, 3:] = margin[0, 4] = margin[0, 5] = 1.0
    values = crowded_values(margin, ASKED, OTHER, COUNTS)
    assert values["auc"] == 3 / 4 * 1 / 2 + (3 / 4 * 1 / 2 + 1 / 4 * 1 / 2) / 2 and values["marked"] == 1
    assert values["iou_asked"] == 3 / (3 + 3 + 1 + 1) and values["iou_other"] == 3 / (3 + 3 + 1 + 3)


def test_presence_and_an_empty_answer_are_one_threshold():
    rng = np.random.default_rng(1)
    for shift in (-3.2, -2.8, -2.4, -2.0):
        margin = rng.standard_normal((100, 100)) + shift
        assert (presence(margin) > 0) == (share(margin) > EMPTY)
    assert share(np.array([[1.0, -1.0], [0.0, 2.0]])) == 0.5


def test_means_over_draws_then_images_then_classes():
    rows = [("a", 1, {"auc": 0.2}), ("a", 1, {"auc": 0.4}), ("b", 1, {"auc": 0.9}), ("b", 2, {"auc": 0.5, "wrong": 1.0}),
            ("c", 2, {"auc": float("nan")})]
    means = ImageMeans(rows)
    assert means.mean("auc") == pytest.approx(((0.3 + 0.9) / 2 + 0.5) / 2) and means.mean("wrong") == 1.0
    assert means.images() == {1: 2, 2: 2} and means.names == ["auc", "wrong"]


def test_intervals_against_a_plain_loop():
    rng = np.random.default_rng(2)
    rows = [(f"q{rng.integers(9)}", int(rng.integers(1, 4)), {"x": float(rng.random())}) for _ in range(50)]
    means = ImageMeans(rows)
    table, spread = means.table("x"), means.resampled("x", seed=3)
    draws = np.random.default_rng(3).multinomial(len(table), np.full(len(table), 1 / len(table)), RESAMPLES)
    for at in range(0, RESAMPLES, 400):
        classes = []
        for column in table.T:
            picked = np.repeat(column, draws[at])
            picked = picked[~np.isnan(picked)]
            if len(picked):
                classes.append(picked.mean())
        assert spread[at] == pytest.approx(np.mean(classes))
    low, high = means.interval("x")
    assert low < means.mean("x") < high
