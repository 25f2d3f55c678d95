"""Scores of region maps by hand, and the explorer that shows them."""

import io

import numpy as np
import pytest
import torch
from conftest import Toy
from PIL import Image
from torch.nn import functional as F

from fsslib.explorers import regions as region_explorer
from fsslib.episodes.batches import EpisodeTensors
from fsslib.episodes.sampler import EpisodeSampler
from fsslib.basics.errors import InputError
from fsslib.models import build_model
from fsslib.regions.scores import THRESHOLDS, RegionScores
from fsslib.evaluation.maps import measure_maps


def qgnet(seed=0):
    torch.manual_seed(seed)
    return build_model("qgnet", "tiny", None, width=6).eval()


def test_against_a_loop(toy):
    episodes = EpisodeSampler(toy, (1, 2, 3, 4), 2, 0).take(6)
    found = measure_maps(qgnet(), episodes, 48, progress=False)
    assert set(found) == {"guided", "prior", "1 - prior"}
    model = qgnet()
    for e in range(6):
        batch = EpisodeTensors(episodes, 48, "pad")[e]
        with torch.no_grad():
            maps = model(batch).maps
        truth = batch.query_masks[0].numpy()
        for name in ("guided", "prior"):
            large = F.interpolate(maps[name], (48, 48), mode="bilinear", align_corners=True)[0, 0].numpy()
            assert found[name].inside[e] == pytest.approx(large[truth == 1].mean(), abs=1e-4)
            assert found[name].outside[e] == pytest.approx(large[truth == 0].mean(), abs=1e-4)
            region = (large > 0.5) & (truth != 255)
            at = THRESHOLDS.index(0.5)
            assert found[name].curves["recall"][e, at] == pytest.approx((region & (truth == 1)).sum() / (truth == 1).sum(), abs=0.02)
            assert found[name].curves["area"][e, at] == pytest.approx(region.sum() / (truth != 255).sum(), abs=0.02)
    np.testing.assert_allclose(found["prior"].inside + found["1 - prior"].inside, 1, atol=1e-5)
    assert found["prior"].queries == tuple(toy.ids[e.query] for e in episodes)


def test_intervals_draw_images_not_episodes():
    """Two images, one with three episodes: a resample shows 0, 1 or 2 of each, so the mean is 0, 0.25 or 1 of 0 / 1."""
    scores = RegionScores(("a", "a", "a", "b"), np.zeros(4), np.zeros(4), {})
    mean, low, high = scores.interval(np.array([0.0, 0.0, 0.0, 1.0]))
    assert (mean, low, high) == (0.25, 0.0, 1.0)
    assert scores.interval(np.array([np.nan, 0.0, 0.0, 1.0]))[0] == pytest.approx(1 / 3)


def test_the_papers_other_definition():
    iou = np.tile(np.array([[0.05], [0.45], [0.55], [0.95]]), (1, 9))
    shares = RegionScores(tuple("abcd"), np.zeros(4), np.zeros(4), {"iou": iou}).share_above(0.5)
    np.testing.assert_allclose(shares, [0.75, 0.75, 0.75, 0.75, 0.5, 0.25, 0.25, 0.25, 0.25])


@pytest.fixture
def explorer(toy_folder, monkeypatch):
    data = Toy(toy_folder)
    data.area_scale = 1 / 2048
    monkeypatch.setattr(region_explorer, "open_dataset", lambda name, split: data)
    monkeypatch.setattr(region_explorer, "novel_classes", lambda name, fold: (1, 2) if fold == 0 else (3, 4))
    return region_explorer.RegionExplorer({"one": qgnet(), "other": qgnet(1)}, ("toy",), 48)


STATE = dict(dataset="toy", fold=0, class_name="any", episode=1, shots=2, extractor="one", threshold=50, opacity=50)


def test_panels_and_their_numbers(explorer):
    panels = explorer.panels(**STATE)
    assert len(panels) == 2 + 1 + 2 * 3 and [caption for caption, _ in panels][3::2] == ["prior map", "guided map", "both map"]
    maps, truth, _ = explorer.maps(*(STATE[k] for k in ("dataset", "fold", "class_name", "episode", "shots", "extractor")))
    region = maps["guided"] > 0.5
    valid, true = truth != 255, truth == 1
    recall, iou = (region & true).sum() / true.sum(), (region & true).sum() / ((region & valid) | true).sum()
    caption = panels[6][0]
    assert f"R {100 * recall:.0f} " in caption and f"IoU {100 * iou:.0f} %" in caption
    Image.open(io.BytesIO(explorer.render(**STATE))).load()
    assert explorer.render(**STATE) != explorer.render(**STATE | {"extractor": "other"})
    nothing = explorer.panels(**STATE | {"threshold": 100})
    assert all("R 0 P - IoU 0" in caption for caption, _ in nothing[4::2])


def test_what_was_seen_is_not_computed_again(explorer, monkeypatch):
    explorer.prepare(range(3), **STATE)
    first = explorer.render(**STATE)
    monkeypatch.setattr(type(explorer.models["one"]), "region_maps", None)       # would fail if called
    assert explorer.render(**STATE) == first and explorer.render(**STATE | {"threshold": 51}) != first


def test_the_list_of_classes_follows_the_fold(explorer):
    box = explorer.box()
    controls = {c.description: c for c in box.children[0].children}
    assert controls["class"].options == ("any", "wide box", "tall box")
    controls["class"].value = "tall box"
    controls["fold"].value = 1
    assert controls["class"].options == ("any", "disc", "square") and box.children[2].value == ""
    with pytest.raises(InputError, match="novel class of fold 1"):
        explorer.render(**STATE | {"fold": 1, "class_name": "wide box"})
