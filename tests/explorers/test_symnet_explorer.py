"""The explorer of notebook 07, and what is drawn beside it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fsslib.datasets import open_dataset
from fsslib.episodes import EpisodeTensors, novel_classes
from fsslib.evaluation import protocol_episodes
from fsslib.explorers import charts, diagrams
from fsslib.explorers.symnet import PriorExplorer
from fsslib.models import build_model
from fsslib.models.panet import PANet
from fsslib.models.prototypes import masked_average
from fsslib.models.fem import resized

SIZE = 65


@pytest.fixture(scope="module")
def explorer():
    torch.manual_seed(0)
    shapes = open_dataset("shapes", split="val")
    episodes = protocol_episodes(shapes, novel_classes("shapes", 0), 1, "pfenet", episodes=3)
    return PriorExplorer(build_model("symnet", "tiny", None, width=8, base=False, text="none"), episodes, SIZE)


def test_one_window_of_one_place_ranks_as_a_cosine_with_the_prototype(explorer):
    """Without self-activation and with one place a window, SPM is PANet's map but for its two means: of unit vectors here."""
    batch = EpisodeTensors(explorer.episodes, SIZE, "pad")[1]
    model = explorer.model
    with torch.no_grad():
        support, query = model.features(batch)
        (*_, q), (*_, s) = (model.encoders[0].split(x) for x in (query, support))
        m = resized((batch.support_masks[:, 0] == 1).float(), q.shape[-2:])
        unit = torch.nn.functional.normalize(s[:, 0] * m, dim=1).mean((2, 3))
        expected = PANet.similarity(q, unit[:, None])[0, 0]
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    found = explorer.maps(1, "1 x 1", False, "layer 4")["SPM"]
    by_hand = torch.nn.functional.interpolate(expected[None, None], (SIZE, SIZE), mode="bilinear", align_corners=True)[0, 0]
    np.testing.assert_allclose(found, by_hand.numpy(), atol=2e-3)         # the explorer keeps features in half precision


def test_four_pictures_side_by_side(explorer):
    png = explorer.render(0, "5 x 5", "on", "centred")
    assert Image.open(io.BytesIO(png)).size[0] > 4 * 190
    names = [name for name, _ in explorer.panels(0)]
    assert names[0].startswith("support: ") and names[1:] == ["query, truth", "PFENet's prior", "SPM"]
    assert png != explorer.render(0, "5 x 5", "off", "centred") != explorer.render(1, "5 x 5", "off", "centred")


def test_dots_show_each_mean():
    figure = charts.dots({"one": np.array([0.0, 1.0]), "two": np.array([0.5])}, "cosine", 0)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.50", "0.50"]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [2, 2, 1, 2, 2]        # dots and mean, twice, and chance


def test_arrows_end_at_the_edges_of_boxes():
    figure = diagrams.draw({"a": (20, 50, 20, "A"), "b": (80, 50, 20, "B\nsecond line")}, [("a", "b", "beside")], lit=["b"])
    axis = figure.axes[0]
    (arrow,) = [text for text in axis.texts if getattr(text, "arrow_patch", None)]
    assert arrow.xy == pytest.approx((70, 50)) and arrow.xyann == pytest.approx((30, 50))
    assert {text.get_text() for text in axis.texts} >= {"A", "B", "second line", "beside"}


def test_the_symmetric_frame_lights_both_halves():
    plain, lit = (diagrams.symmetric_frame(names) for names in ((), ("apa",)))
    colours = [[patch.get_facecolor()[:3] for patch in figure.axes[0].patches] for figure in (plain, lit)]
    assert sum(a != b for a, b in zip(*colours)) == 2                       # APA of the support and APA of the query
