"""Scribbles and boxes against hand-made masks, scikit-image's regionprops and exact rational Bezier curves."""

import subprocess
import sys
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from skimage.measure import label, regionprops

from fsslib.episodes import annotations
from fsslib.episodes.annotations import bounding_box, scribble
from fsslib.basics.errors import InputError


def blank(height=80, width=100):
    return np.zeros((height, width), np.uint8)


def disk(mask, row, column, radius):
    """Draws a disc into ``mask``."""
    y, x = np.indices(mask.shape)
    mask[(y - row) ** 2 + (x - column) ** 2 <= radius ** 2] = 1
    return mask


def two_blobs():
    mask = blank()
    mask[10:25, 10:45] = mask[50:70, 50:90] = 1           # not discs: the medial axis of a disc is a point
    return mask


def random_blobs(seed):
    rng = np.random.default_rng(seed)
    mask = blank(60, 70)
    for _ in range(5):
        disk(mask, rng.integers(60), rng.integers(70), rng.integers(2, 14))
    return mask


# ---------------------------------------------------------------- boxes

@pytest.mark.parametrize("seed", range(8))
def test_box_is_the_largest_components_and_background_lies_outside_all(seed):
    mask = random_blobs(seed)
    parts = regionprops(label(mask, connectivity=2))
    expected = np.zeros_like(mask)
    for part in parts:
        top, left, bottom, right = part.bbox
        expected[top:bottom, left:right] = 255
    top, left, bottom, right = max(parts, key=lambda part: part.area).bbox
    expected[top:bottom, left:right] = 1
    np.testing.assert_array_equal(bounding_box(mask), expected)


def test_box_by_hand():
    mask = blank(5, 8)
    mask[1, 1] = mask[2, 2] = mask[3, 1] = 1              # joined over corners: one object of 3 pixels
    mask[0, 6:8] = 1                                      # two pixels
    mask[4, 4] = 255
    expected = [[0, 0, 0, 0, 0, 0, 255, 255],
                [0, 1, 1, 0, 0, 0, 0, 0],
                [0, 1, 1, 0, 0, 0, 0, 0],
                [0, 1, 1, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0, 0]]
    box = bounding_box(mask)
    assert box.dtype == np.uint8
    np.testing.assert_array_equal(box, expected)


def test_instances_overrule_components():
    mask = blank(6, 12)
    mask[1:5, 1:11] = 1                                   # one component, 4 rows by 10 columns
    instances = blank(6, 12).astype(np.int32)
    instances[:, :5] = 900                                # 16 pixels of it
    instances[:, 5:] = 7                                  # 24 pixels
    box = bounding_box(mask, instances)
    assert (box[1:5, 5:11] == 1).all() and (box == 1).sum() == 24
    assert (box[1:5, 1:5] == 255).all() and (box == 255).sum() == 16
    assert (bounding_box(mask) == 1).sum() == 40


def test_foreground_without_a_number_is_an_object_too():
    mask = blank(5, 9)
    mask[1:4, 1:4] = mask[1:4, 6:9] = 1
    mask[1, 3] = 0                                        # the left object has 8 pixels, the right 9
    instances = np.where(np.arange(9) < 5, 3, 0) * np.ones((5, 1), int)
    box = bounding_box(mask, instances)
    assert (box[1:4, 6:9] == 1).all() and (box[1:4, 1:4] == 255).all()


def test_box_over_the_whole_image_leaves_no_background():
    np.testing.assert_array_equal(bounding_box(np.ones((4, 6), bool)), np.ones((4, 6)))


# ---------------------------------------------------------------- scribbles

@pytest.mark.parametrize("seed", range(8))
def test_lines_stay_inside_their_regions(seed):
    mask = random_blobs(seed)
    mask[:, 40:44] = 255
    drawn = scribble(mask, seed)
    assert drawn.dtype == np.uint8 and set(np.unique(drawn)) == {0, 1, 255}
    assert (mask[drawn == 1] == 1).all() and (mask[drawn == 0] == 0).all()


def test_equal_seeds_draw_equal_scribbles_and_every_object_gets_its_turn():
    mask = two_blobs()
    parts = label(mask)
    chosen = set()
    for seed in range(12):
        drawn = scribble(mask, seed)
        np.testing.assert_array_equal(drawn, scribble(mask.astype(bool), seed))
        one, = np.unique(parts[drawn == 1])               # one object only
        chosen.add(int(one))
    assert chosen == {1, 2}


def test_rectangle_gives_its_middle_line():
    mask = blank()
    mask[20:41, 10:91] = 1                                # rows 20..40: the middle row is 30
    rows, columns = np.nonzero(scribble(mask) == 1)
    middle = rows[(columns >= 25) & (columns <= 75)]
    assert (abs(middle - 30) <= 2).all()
    assert set(range(22, 79)) <= set(columns)             # from end to end, no gap
    assert len(rows) < 2 * 81                             # a line, not an area


def test_line_is_connected():
    mask = blank()
    mask[20:60, 10:90] = 1
    drawn = scribble(mask) == 1
    assert drawn.sum() > 40 and label(drawn, connectivity=2).max() == 1


def test_round_object_gets_its_centre():
    assert np.argwhere(scribble(disk(blank(), 40, 50, 15)) == 1).tolist() == [[40, 50]]


def test_cross_keeps_its_longest_path():
    """A cross with arms of 40 (left), 40 (right), 25 (up), 10 (down) pixels: left to right is longest."""
    points = [(0, x) for x in range(-40, 41)] + [(y, 0) for y in range(-25, 11) if y]
    path, = annotations._longest_paths(np.array(points))
    assert sorted(map(tuple, path.tolist())) == [(0, x) for x in range(-40, 41)]


def test_tee_keeps_stem_and_longer_arm():
    points = [(0, x) for x in range(-20, 31)] + [(y, 0) for y in range(1, 41)]
    path, = annotations._longest_paths(np.array(points))
    # the diagonal neighbour of the corner is as near as (0, 0), so the path may cut the corner
    assert {tuple(p) for p in path.tolist()} >= {(0, x) for x in range(2, 31)} | {(y, 0) for y in range(2, 41)}
    assert not any(x < 0 for _, x in path)


def test_path_visits_neighbours_only_and_each_pixel_once():
    rng = np.random.default_rng(3)
    points = np.argwhere(rng.random((25, 25)) < 0.5)
    for path in annotations._longest_paths(points):
        assert (np.abs(np.diff(path, axis=0)).max(axis=1) == 1).all()
        assert len(np.unique(path, axis=0)) == len(path)


def test_pieces_under_four_pixels_are_dropped():
    three, four = [(0, 0), (0, 1), (0, 2)], [(9, 0), (9, 1), (9, 2), (9, 3)]
    paths = annotations._longest_paths(np.array(three + four))
    assert [sorted(map(tuple, path.tolist())) for path in paths] == [four]
    assert annotations._longest_paths(np.array(three)) == []
    assert annotations._longest_paths(np.array([(0, 0), (0, 5), (5, 0), (5, 5)])) == []


def test_cycle_is_opened_at_its_heaviest_edge():
    """A diamond-cornered loop of 12 pixels: every pixel stays on the path, one of the diagonal steps is missing."""
    loop = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (4, 3), (4, 2), (4, 1), (3, 0), (2, 0), (1, 0)]
    path, = annotations._longest_paths(np.array(loop))
    assert sorted(map(tuple, path.tolist())) == sorted(loop)
    assert (np.abs(path[0] - path[-1]) == 1).all()        # the ends are diagonal neighbours: a sqrt 2 edge was cut


def test_ring_is_scribbled_almost_all_the_way_round():
    mask = disk(blank(100, 100), 50, 50, 45)
    mask[disk(blank(100, 100), 50, 50, 25) == 1] = 0
    y, x = np.nonzero(scribble(mask) == 1)
    assert (mask[y, x] == 1).all()
    sectors = np.unique(np.floor(np.degrees(np.arctan2(y - 50, x - 50)) / 30))
    assert len(sectors) >= 10                             # of 12 sectors of 30 degrees


@pytest.mark.parametrize("rows, columns", [((4, 6), (5, 7)), ((0, 2), (0, 2)), ((7, 8), (9, 10))])
def test_tiny_object_gets_one_pixel(rows, columns):
    mask = blank(8, 10)
    mask[slice(*rows), slice(*columns)] = 1
    drawn = scribble(mask)
    assert (drawn == 1).sum() == 1 and (mask[drawn == 1] == 1).all()
    assert (drawn == 0).any()


def test_one_pixel_is_the_most_interior_one():
    assert np.argwhere(annotations._most_interior(np.ones((3, 5), bool) & (np.arange(5) < 3))).tolist() == [[1, 1]]


def test_objects_too_small_for_a_line_are_passed_over():
    mask = blank()
    mask[30:50, 20:80] = 1
    instances = np.where(mask, 1, 0)
    mask[2, 2:4] = 1
    instances[2, 2:4] = 2
    for seed in range(6):
        assert (instances[scribble(mask, seed, instances) == 1] == 1).all()


def test_fragments_are_drawn_only_where_instances_say_that_they_are_objects():
    mask = blank()
    mask[30:70, 20:80] = 1
    mask[5:10, 5:25] = 1                                  # 100 of 2 400 pixels
    instances = np.where(mask, 1, 0)
    instances[5:10, 5:25] = 2
    assert all((scribble(mask, seed)[:20] != 1).all() for seed in range(10))
    assert any((scribble(mask, seed, instances)[:20] == 1).any() for seed in range(10))


def test_object_at_the_border_is_not_eroded_there():
    mask = blank()
    mask[:, :30] = 1                                      # opening with the border eroded would round its corners
    np.testing.assert_array_equal(annotations._opened(mask == 1), mask == 1)
    drawn = scribble(mask)
    assert (drawn == 1).any() and (mask[drawn == 1] == 1).all()


def test_opening_removes_a_thin_limb_and_keeps_the_body():
    body = disk(blank(), 40, 30, 20) == 1
    limb = body.copy()
    limb[40, 50:90] = True
    opened = annotations._opened(limb)
    assert not opened[:, 52:].any() and (opened & ~limb).sum() == 0
    assert opened.sum() > 0.95 * body.sum()


def test_opening_equals_scikit_images_with_a_disc(monkeypatch):
    from skimage.morphology import disk as footprint, opening

    mask = np.pad(random_blobs(2), 20)                    # no border in reach
    radius = 3.1                                          # the same pixels as 3: the next offset is sqrt 10
    wanted = opening(mask, footprint(3))
    assert 0 < wanted.sum() < mask.sum()
    monkeypatch.setattr(annotations, "RADIUS_SHARE", radius / np.sqrt(mask.sum()))
    np.testing.assert_array_equal(annotations._opened(mask == 1), wanted == 1)


def test_thin_object_survives_the_opening():
    mask = blank()
    mask[40, 5:95] = 1                                    # any disc of radius >= 1 would erase it
    columns = np.nonzero(scribble(mask) == 1)[1]
    assert columns.min() <= 6 and columns.max() >= 93


def test_no_background_no_background_line():
    drawn = scribble(np.ones((40, 60), bool))
    assert set(np.unique(drawn)) == {1, 255}


def test_bezier_equals_exact_fractions():
    """Independent oracle: the definition in rational numbers, for a path of 300 points (C(299,149) ~ 1e89)."""
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.integers(-1, 2, (300, 2)), axis=0)
    curve = annotations._bezier(path)
    assert curve.shape == (1000, 2)
    for j in (0, 1, 250, 613, 999):
        t = Fraction(j, 999)
        weights = [comb(299, i) * t ** i * (1 - t) ** (299 - i) for i in range(300)]
        exact = [float(sum(w * int(p) for w, p in zip(weights, axis))) for axis in path.T]
        np.testing.assert_allclose(curve[j], exact, atol=1e-8)


def test_bezier_of_a_very_long_path_is_finite():
    """Degree 2 499: the binomials are beyond float64. A Bezier curve of a straight line is that line."""
    path = np.stack([np.arange(2500), 2 * np.arange(2500)], axis=1)
    curve = annotations._bezier(path)
    np.testing.assert_allclose(curve[:, 0], np.linspace(0, 2499, 1000), atol=1e-6)
    np.testing.assert_allclose(curve[:, 1], 2 * curve[:, 0], atol=1e-6)


# ---------------------------------------------------------------- bad input

@pytest.mark.parametrize("annotate", [scribble, bounding_box])
@pytest.mark.parametrize("mask, instances, says", [
    (np.zeros((5, 5), np.uint8), None, "no foreground"),
    (np.full((5, 5), 255, np.uint8), None, "no foreground"),
    (np.zeros((0, 5), np.uint8), None, "no foreground"),
    (np.ones((1, 5, 5), np.uint8), None, r"\(1, 5, 5\)"),
    (np.full((5, 5), 7, np.uint8), None, "the value 7"),
    (np.full((5, 5), 0.5), None, "the value 0.5"),
    (np.ones((5, 5), np.uint8), np.ones((5, 4), int), r"\(5, 4\)"),
    (np.ones((5, 5), np.uint8), np.ones((5, 5)), "float64"),
    (np.ones((5, 5), np.uint8), np.full((5, 5), -1), "from -1"),
])
def test_bad_input_is_told(annotate, mask, instances, says):
    with pytest.raises(InputError, match=says):
        annotate(mask, instances=instances)


def test_the_import_loads_no_scikit_image():
    code = ("import sys, fsslib.episodes.annotations; "
            "print([m for m in ('skimage', 'scipy', 'networkx', 'matplotlib') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
