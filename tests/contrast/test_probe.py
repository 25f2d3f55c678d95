"""The probe: classes of patches and their features by hand, and embeddings whose score is known beforehand."""

import numpy as np
import pytest
import torch
from torch import nn

from fsslib.contrast.probe import PatchProbe, majority_classes, patch_features, probe_summary
from fsslib.basics.errors import InputError
from fsslib.metrics import EpisodeScores


def strip(*parts):
    """(labels, mask) of one row: each part is a patch, given as a list of mask values."""
    labels = np.concatenate([np.full(len(part), n) for n, part in enumerate(parts)])[None]
    return labels.astype(np.uint16), np.concatenate(parts).astype(np.uint8)[None]


def test_majority_classes_by_hand():
    labels, mask = strip([2] * 8,                      # one object
                         [0] * 8,                      # background
                         [3] * 6 + [0] * 2,            # three quarters: just enough
                         [3] * 5 + [0] * 3,            # mixed
                         [3] * 3 + [0] + [255] * 4,    # void does not count: 3 of 4
                         [3] * 4 + [2] * 4,            # two objects
                         [255] * 8,                    # nothing known
                         [1] * 3,                      # small
                         [1] * 4 + [255] * 4,
                         [20] * 9)
    assert majority_classes(labels, mask, 4).tolist() == [2, 0, 3, 0, 3, 0, 0, 0, 1, 20]
    assert majority_classes(labels, mask, 5).tolist() == [2, 0, 3, 0, 0, 0, 0, 0, 0, 20]     # of labelled pixels
    assert majority_classes(labels, mask, 1).tolist() == [2, 0, 3, 0, 3, 0, 0, 1, 1, 20]


def test_patch_features_by_hand():
    """4x4 px under a 2x2 map of two channels: a feature stands for 2x2 px and weighs as many as the patch has there."""
    labels = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [2, 2, 1, 1], [2, 3, 1, 1]], np.uint16)
    features = torch.tensor([[[1., 2.], [3., 4.]], [[10., 0.], [0., 5.]]])
    expected = [[(4 * 1 + 2) / 5, (4 * 10 + 0) / 5], [(3 * 2 + 4 * 4) / 7, 4 * 5 / 7], [3, 0], [3, 0]]
    torch.testing.assert_close(patch_features(features, labels, [0, 1, 2, 3]), torch.tensor(expected))
    torch.testing.assert_close(patch_features(features, labels, [2, 0]), torch.tensor([expected[2], expected[0]]))


@pytest.mark.parametrize("shape, size", [((7, 9), (48, 64)), ((5, 5), (33, 20)), ((6, 4), (5, 9))])
def test_patch_features_of_sizes_that_do_not_divide(shape, size):
    """Against the map enlarged by hand: pixel y lies in row floor(y h / H)."""
    rng = np.random.default_rng(0)
    features, labels = torch.randn(3, *shape), rng.integers(0, 4, size)
    rows, columns = (np.array([i * n // N for i in range(N)]) for n, N in zip(shape, size))
    large = features.numpy()[:, rows][:, :, columns]
    expected = [large[:, labels == patch].mean(1) for patch in range(4)]
    np.testing.assert_allclose(patch_features(features, labels, range(4)).numpy(), expected, atol=1e-5)


class Drawn:
    """Images of 40x40 px in memory, each of four quarters = patches; a quarter's red value says its class."""

    def __init__(self, count=40, classes=4, seed=0):
        rng = np.random.default_rng(seed)
        quarters = rng.integers(1, classes + 1, (count, 2, 2))
        quarters[:, 1, 1] = 0                                            # one is background
        self.masks = quarters.repeat(20, 1).repeat(20, 2).astype(np.uint8)
        self.images = np.stack([self.masks * 40, *rng.integers(0, 256, (2, *self.masks.shape))], 3).astype(np.uint8)
        self.ids = tuple(f"drawn{i}" for i in range(count))
        self.labels = np.arange(4).reshape(2, 2).repeat(20, 0).repeat(20, 1)

    def image(self, i):
        return self.images[i]

    def mask(self, i):
        return self.masks[i]

    def __getitem__(self, i):                                            # as the cache of label maps
        return self.labels


class Reads(nn.Module):
    """A "backbone" of stride 10: the colour of a place (``planted``), or noise that has nothing to do with it."""

    def __init__(self, planted):
        super().__init__()
        self.planted, self.weight, self.modes = planted, nn.Parameter(torch.zeros(1)), []

    def forward(self, images):
        self.modes.append(self.training)
        red = nn.functional.avg_pool2d(images[:, :1], 10) * 255 / 40     # the class
        if not self.planted:
            return {"layer4": torch.randn(len(images), 8, *red.shape[2:])}
        angle = red * 1.2
        return {"layer4": torch.cat([angle.cos(), angle.sin()], 1)}


@pytest.fixture
def probe():
    data = Drawn()
    return PatchProbe(data, range(25), range(25, 40), data, size=40, k=5, min_area=100)


def test_a_planted_embedding_scores_100(probe):
    scores = probe.score(Reads(planted=True))
    assert scores.miou() == 1.0 and scores.intervals()["miou"] == (1.0, 1.0)
    assert set(scores.per_class()) == {1, 2, 3, 4}


def test_noise_scores_near_chance():
    data = Drawn(count=240)
    probe = PatchProbe(data, range(120), range(120, 240), data, size=40, k=5, min_area=100)
    torch.manual_seed(0)
    assert 0.17 < probe.score(Reads(planted=False)).miou() < 0.33        # 0.25; 90 patches a class: +- 0.045


def test_the_score_is_the_mean_over_classes_of_hits(probe, monkeypatch):
    """Whoever says "1" to everything is right on one class of four, however many patches it has."""
    monkeypatch.setattr(probe, "vote", lambda bank, queries: np.ones(len(queries), int))
    scores, truth = probe.score(Reads(planted=True)), np.array([c for _, c in probe.asked])
    assert scores.per_class() == {1: 1.0, 2: 0.0, 3: 0.0, 4: 0.0} and scores.miou() == 0.25
    assert {row[0] for row in scores.rows} <= {f"drawn{i}" for i in range(25, 40)}
    assert sum(row[3][0] for row in scores.rows) == len(truth) == 45     # three patches with an object in each image


def test_intervals_are_bootstraps_over_images(probe, monkeypatch):
    """All patches of an image right or all wrong: the spread over resamples is that of 15 images, not 45 patches."""
    right = np.array([i % 2 == 0 for i, _ in probe.asked])
    truth = np.array([c for _, c in probe.asked])
    monkeypatch.setattr(probe, "vote", lambda bank, queries: np.where(right, truth, 0))
    scores, images = probe.score(Reads(planted=True)), np.array([i for i, _ in probe.asked])
    rng, spread = np.random.default_rng(1), []
    for _ in range(2000):
        drawn = rng.integers(25, 40, 15)
        times = np.array([(drawn == i).sum() for i in images])
        spread.append(np.mean([(times * right)[truth == c].sum() / times[truth == c].sum() for c in (1, 2, 3, 4)
                               if times[truth == c].sum()]))
    assert scores.intervals()["miou"] == pytest.approx(np.percentile(spread, [2.5, 97.5]), abs=0.03)


def test_votes_by_hand():
    """Three neighbours: two of class 2 at cosine 0.8 outvote one of class 1 at 0.83, and lose to one at 0.9."""
    data = Drawn()
    probe = PatchProbe(data, range(25), range(25, 40), data, size=40, k=3, min_area=100)
    probe.known = [(0, c) for c in (1, 2, 2, 1, 1)]
    for cosine, winner in ((0.83, 2), (0.9, 1)):
        bank = torch.tensor([[c, (1 - c * c) ** .5] for c in (cosine, .8, .8, -.5, -.5)])
        weight = {1: np.exp(cosine / 0.07), 2: 2 * np.exp(.8 / 0.07)}
        assert max(weight, key=weight.get) == winner
        assert probe.vote(bank, torch.tensor([[1., 0.]])).tolist() == [winner]


def test_features_are_unit_rows_in_the_order_of_their_patches(probe):
    backbone = Reads(planted=True).train()
    rows = probe.features(backbone, "queries")
    angle = 1.2 * np.array([c for _, c in probe.asked])
    np.testing.assert_allclose(rows.numpy(), np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-3)
    assert backbone.training and not backbone.modes                      # it is a copy that runs, in eval mode


def test_summary_gives_the_scores_back(probe):
    torch.manual_seed(0)
    scores = probe.score(Reads(planted=False))
    summary = probe_summary(scores)
    assert summary["accuracy"] == round(100 * scores.miou(), 2) and summary["asked"] == 45
    assert summary["interval"][0] <= summary["accuracy"] <= summary["interval"][1]
    again = EpisodeScores.from_dict(summary["scores"])
    assert again.difference(scores) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize("bank, queries, min_area, word", [
    (range(3), range(25, 40), 100, "found 9 object patches to learn from, 45 to ask, expected at least 10"),
    (range(25), (), 100, "75 object patches to learn from, 0 to ask"),
    (range(25), range(25, 40), 500, "found 0 object patches to learn from, 0 to ask.*--probe-every 0")])
def test_too_few_patches(bank, queries, min_area, word):
    data = Drawn()
    with pytest.raises(InputError, match=word):
        PatchProbe(data, bank, queries, data, size=40, min_area=min_area)
