"""Nearest patches, data sets made of others, the live curve."""

import io

import numpy as np
import pytest
import torch
from conftest import Toy
from PIL import Image
from torch import nn

from fsslib.datasets.selection import Selection
from fsslib.explorers import live
from fsslib.explorers.neighbours import Neighbours
from fsslib.superpixels.cache import PatchCache, write_labels

QUARTERS = np.arange(4).reshape(2, 2).repeat(24, 0).repeat(32, 1)                # label map of a toy picture


@pytest.fixture(scope="module")
def quartered(toy_folder):
    """The toy data whose patches are four quarters; every one counts for the probe."""
    data = Toy(toy_folder)
    data.area_scale = 1 / 20
    for i in range(len(data)):
        cache = PatchCache(data)
        mask = data.mask(i)
        objects = np.where(mask == 255, 0, mask)
        labels = np.unique(np.where(objects, objects + 4, QUARTERS), return_inverse=True)[1].reshape(mask.shape)
        write_labels(cache.path(i), labels, cache._tag(i))
    return data


class Red(nn.Module):
    """A "backbone" whose feature is the angle that the amount of red makes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        angle = nn.functional.avg_pool2d(images[:, :1], 8)
        return {"layer4": torch.cat([angle.cos(), angle.sin()], 1)}


def test_neighbours_are_the_nearest_in_other_images(quartered):
    looking = Neighbours(quartered, range(12), PatchCache(quartered), {"red": Red()}, size=64, min_area=400)
    image, patch = looking.where[7]
    features = looking.features["red"].numpy()
    cosines = features @ features[7]
    expected = sorted((c for c, (i, _) in zip(cosines, looking.where) if i != image), reverse=True)[:5]
    found = looking.nearest("red", image, patch, 5)
    assert [c for c, _, _ in found] == pytest.approx(expected, abs=1e-6)
    assert all(i != image and (i, p) in looking.where for _, i, p in found)
    box = looking.box()
    before = box.children[1].value
    box.children[0].children[0].value = 3
    assert box.children[1].value != before and Image.open(io.BytesIO(before)).format == "PNG"


def test_a_selection_and_a_union(toy, toy_folder):
    some = Selection(toy, indices=[5, 2])
    assert some.ids == (toy.ids[5], toy.ids[2]) and some.split == toy.split
    np.testing.assert_array_equal(some[1].mask, toy[2].mask)
    assert some.digest != toy.digest and some.areas.tolist() == toy.areas[[5, 2]].tolist()
    both = Selection(some, Toy(toy_folder))
    assert sorted(both.ids) == sorted(toy.ids) and both.ids[:2] == some.ids and both.split == "all"


def test_live_curve_draws_what_came(monkeypatch):
    curve = live.LiveCurve(["loss", "local"], every=2)
    drawn = []
    monkeypatch.setattr(curve, "handle", type("Handle", (), {"update": lambda _, figure: drawn.append(figure)})())
    for step in range(1, 6):
        curve({"step": step, "loss": 2.0 * step, "local": 1.0})
    assert len(drawn) == 2
    lines = curve.show().axes[0].lines
    assert lines[0].get_ydata().tolist() == [2, 4, 6, 8, 10] and lines[1].get_xdata().tolist() == [1, 2, 3, 4, 5]
