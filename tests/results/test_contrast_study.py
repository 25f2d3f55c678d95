"""The study of prior extractors, its table, nearest patches, data sets made of others, the live curve."""

import io
import json

import numpy as np
import pytest
import torch
from conftest import Toy
from PIL import Image
from torch import nn

from fsslib.explorers import live, pictures as figures
from fsslib.results import tables as results
from fsslib import studies
from fsslib.contrast import PretrainConfig
from fsslib.explorers.neighbours import Neighbours
from fsslib.datasets.selection import Selection
from fsslib.metrics import EpisodeScores
from fsslib.studies import contrast
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


@pytest.fixture
def small_study(monkeypatch, quartered):
    rows = tuple(contrast.Run(start="random", loss=loss, backbone="tiny", lr=lr)
                 for loss, lr in (("none", 0.03), ("both", 0.03), ("both", 0.3)))
    config = PretrainConfig(epochs=2, batch=4, size=32, patch_size=32, queue=8, dim=8, sub_batches=2, held_out=0.3,
                            probe_every=1, probe_size=64, precision="32")
    monkeypatch.setattr(contrast, "RUNS", rows)
    monkeypatch.setitem(contrast.SETTINGS, "contrast_voc", ("toy", config))
    monkeypatch.setattr(contrast, "open_dataset", lambda name, split: quartered)
    monkeypatch.setattr(contrast, "base_classes", lambda name, fold: (1, 2) if fold else (3, 4))
    return rows


def test_the_study_and_its_table(small_study, tmp_path):
    studies.run_study("contrast_voc", tmp_path / "runs", tmp_path, only="none|lr0.3")
    table = json.loads((tmp_path / "contrast_voc.json").read_text())
    assert table["not_run"] == [small_study[1].name]
    studies.run_study("contrast_voc", tmp_path / "runs", tmp_path)
    table = json.loads((tmp_path / "contrast_voc.json").read_text())
    assert [row["name"] for row in table["rows"]] == [row.name for row in small_study] and not table["not_run"]
    start, trained, fast = table["rows"]
    stored = json.loads((tmp_path / "runs" / "contrast_voc" / trained["name"] / "result.json").read_text())
    steps = [r for r in stored["rows"] if "loss" in r]
    half = len(steps) // 2
    assert trained["curve"]["local"] == pytest.approx([np.mean([r["local"] for r in part])
                                                       for part in (steps[:half], steps[half:])], abs=1e-4)
    assert [step for step, _ in trained["probes"]] == [0, half, 2 * half]
    assert trained["probes"][0][1] == pytest.approx(start["accuracy"], abs=0.01)      # the same network, not yet moved
    assert trained["probes"][-1][1] == pytest.approx(trained["accuracy"], abs=0.01)
    assert trained["base"][0] == pytest.approx(np.mean([trained["per_class"][c] for c in ("3", "4")]), abs=0.01)
    scores = [EpisodeScores.from_dict(json.loads((tmp_path / "runs" / "contrast_voc" / row.name / "result.json")
                                                 .read_text())["probe"]["scores"]) for row in small_study]
    gap, interval = scores[1].difference(scores[0])
    (found,) = [d for d in table["differences"] if d["run"] == trained["name"] and "none" in d["against"]]
    assert found["difference"] == pytest.approx(100 * gap, abs=0.01)
    assert found["interval"] == pytest.approx([100 * v for v in interval], abs=0.01)
    assert {(d["run"], d["against"]) for d in table["differences"]} == {
        (trained["name"], start["name"]), (fast["name"], start["name"]), (fast["name"], trained["name"])}
    assert "random start, both, slic, lr 0.3" in results.as_text(table)


def test_the_table_by_hand():
    row = dict(start="imagenet", loss="both", patches="slic", backbone="b", seed=0, lr=0.03, batch_norm="train",
               name="r", accuracy=41.26,
               interval=[38.0, 45.0], base=[1.04, 2, 3, 4], seconds=600.0)
    table = {"study": "contrast_voc", "rows": [row], "not_run": ["b-random-both"],
             "differences": [{"run": "r", "against": "b-imagenet-none-slic-seed0", "difference": -3.21,
                              "interval": [-5.0, 1.5]}]}
    header, rows = results.contrast_table(table)
    assert rows[0] == ["imagenet start, both, slic", "41.3 ± 3.5", "-3.2 (-5.0 to +1.5)", "1.0", "2.0", "3.0", "4.0",
                       "10"]
    assert rows[1] == ["b-random-both", *["not run"] * 7] and len(header) == 8
    row["loss"], table["differences"] = "none", []
    del row["seconds"]
    assert results.contrast_table(table)[1][0][:3] == ["imagenet start, as it is", "41.3 ± 3.5", "-"]


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
