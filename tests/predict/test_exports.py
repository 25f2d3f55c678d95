"""Every export read back by other means gives the same mask, holes and touching corners included."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from fsslib.cli.predict import FORMAT_NAMES
from fsslib.predict.exports import FORMATS, export
from fsslib.predict.outlines import area, keyhole, polygons

CLASSES = ("cup", 'a "quoted" name', "müsli")


def masks():
    """A ring with a dot inside, two classes side by side, corners that touch, single pixels, all of a picture, nothing."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :56]
    ring = (np.hypot(y - 18, x - 20) < 15) & (np.hypot(y - 18, x - 20) > 8) | (np.hypot(y - 18, x - 20) < 3)
    one = np.where(ring, 1, 0)
    one[30:, 30:] = 3
    noise = rng.integers(0, 4, (17, 23)) * (rng.random((17, 23)) < 0.6)
    full, single = np.full((9, 12), 2), np.zeros((9, 12), int)
    single[0, 0], single[8, 11], single[4, 5] = 1, 1, 2
    return [array.astype(np.uint8) for array in (one, noise, full, single, np.zeros((9, 12)))]


def filled(rings, shape):
    """bool (H,W): pixel centres inside of rings by the even-odd rule, counted edge by edge."""
    inside = np.zeros(shape, bool)
    y, x = np.mgrid[:shape[0], :shape[1]] + 0.5
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0)):
            if abs(y0 - y1) > 1e-9:
                crosses = (y0 > y) != (y1 > y)
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@pytest.fixture(params=range(5))
def photo(request):
    mask = masks()[request.param]
    return f"an ümlaut {request.param}.jpg", mask, {name: 0.25 * n for n, name in enumerate(CLASSES, 1)}


def test_polygons_fill_to_the_same_mask(photo):
    _, mask, _ = photo
    for n in (1, 2, 3):
        for fold in (lambda rings: rings, lambda rings: [keyhole(rings)]):
            found = np.zeros(mask.shape, int)
            for rings in polygons(mask == n):
                found += filled(fold(rings), mask.shape)
            np.testing.assert_array_equal(found, mask == n)


def test_an_object_is_its_outline_and_its_holes():
    mask = masks()[0] == 1
    ring, dot = sorted(polygons(mask), key=len, reverse=True)
    assert [len(ring), len(dot)] == [2, 1]
    assert abs(area(dot[0])) == pytest.approx((np.hypot(*np.mgrid[-5:6, -5:6]) < 3).sum(), rel=0.15)         # cut corners
    single = np.zeros((3, 3), bool)
    single[1, 2] = True
    (diamond,), = polygons(single)
    assert sorted(map(tuple, diamond[:-1])) == [(2, 1.5), (2.5, 1), (2.5, 2), (3, 1.5)]


def test_coco(photo, tmp_path):
    name, mask, scores = photo
    from pycocotools.coco import COCO
    read = COCO(export("coco", tmp_path, [("first.jpg", mask * 0, scores), photo], CLASSES))
    assert [read.cats[n]["name"] for n in (1, 2, 3)] == list(CLASSES)
    assert read.imgs[2] == {"id": 2, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]}
    assert not read.getAnnIds(imgIds=[1])
    back = np.zeros_like(mask)
    for a in read.loadAnns(read.getAnnIds(imgIds=[2])):
        back[read.annToMask(a) == 1] = a["category_id"]
        rows, columns = np.nonzero(mask == a["category_id"])
        assert a["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] and a["area"] == len(rows)
        assert a["score"] == 0.25 * a["category_id"]
    np.testing.assert_array_equal(back, mask)


def test_yolo(photo, tmp_path):
    name, mask, _ = photo
    folder = export("yolo", tmp_path, [photo], CLASSES)
    assert list(yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"].values()) == list(CLASSES)
    back = np.zeros_like(mask)
    for line in (folder / "labels" / f"{name[:-4]}.txt").read_text().splitlines():
        n, *points = line.split()
        ring = np.array(points, float).reshape(-1, 2) * mask.shape[::-1]
        assert ring.min() >= 0 and (ring <= mask.shape[::-1]).all()
        back[filled([ring], mask.shape)] = int(n) + 1
    np.testing.assert_array_equal(back, mask)


def test_labelstudio(photo, tmp_path):
    name, mask, _ = photo
    task, = json.loads(export("labelstudio", tmp_path, [photo], CLASSES).read_text(encoding="utf-8"))
    assert task["data"]["image"].endswith("an%20%C3%BCmlaut%20" + name[-5:])
    back = np.zeros_like(mask)
    for region in task["predictions"][0]["result"]:
        assert (region["original_width"], region["original_height"]) == mask.shape[::-1]
        ring = np.array(region["value"]["points"]) * mask.shape[::-1] / 100
        back[filled([ring], mask.shape)] = 1 + CLASSES.index(region["value"]["polygonlabels"][0])
    np.testing.assert_array_equal(back, mask)


def test_geojson(photo, tmp_path):
    name, mask, _ = photo
    found = json.loads((export("geojson", tmp_path, [photo], CLASSES) / f"{name[:-4]}.geojson").read_text(encoding="utf-8"))
    back = np.zeros_like(mask)
    for feature in found["features"]:
        for rings in feature["geometry"]["coordinates"]:
            assert all(ring[0] == ring[-1] for ring in rings)
            assert [area(np.array(ring)) > 0 for ring in rings] == [True, *[False] * (len(rings) - 1)]
            back[filled([np.array(ring) for ring in rings], mask.shape)] = feature["properties"]["class"]
    np.testing.assert_array_equal(back, mask)


def test_every_format_has_a_round_trip():
    assert set(FORMATS) == set(FORMAT_NAMES) == {name.removeprefix("test_") for name in globals() if name.removeprefix("test_") in FORMATS}
