"""Presence: the rule against Newton's method by hand, and what a model says with it."""

import numpy as np
import pytest
import torch

from fsslib.datasets import open_dataset
from fsslib.episodes.batches import EpisodeOutput, EpisodeTensors
from fsslib.episodes.sampler import EpisodeSampler
from fsslib.episodes.support_test import SupportLists
from fsslib.evaluation.support import run_support_test
from fsslib.training import TrainingConfig
from fsslib.training.presence import fit_presence, logistic_rule, presence_episodes


def newton(x, y):
    """Weights and bias of the penalised logistic regression on standardised numbers, by 50 Newton steps."""
    z = np.c_[(x - x.mean(0)) / x.std(0, ddof=1), np.ones(len(x))]
    w, penalty = np.zeros(z.shape[1]), np.diag([2e-3] * x.shape[1] + [0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ w))
        gradient = z.T @ (p - y) / len(x) + penalty @ w
        w -= np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z / len(x) + penalty, gradient)
    return w[:-1] / x.std(0, ddof=1)


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.25])
def test_rule(lost):
    draw = np.random.default_rng(0)
    y = draw.random(400) < 0.5
    x = draw.normal(0, [1, 5, 0.1], (400, 3)) + y[:, None] * [1.5, -2, 0]
    rule = logistic_rule(torch.from_numpy(x), torch.from_numpy(y), lost).numpy()
    assert rule[:3] == pytest.approx(newton(x, y), rel=1e-3, abs=1e-3)
    score = x[y] @ rule[:3] + rule[3]
    assert (score < -1e-9).mean() == pytest.approx(lost, abs=1 / y.sum())
    assert (x[~y] @ rule[:3] + rule[3] < 0).mean() > lost


def test_the_rule_is_fitted_to_what_is_shown():
    """Of two numbers, one is high where the query shows the class: it gets a weight above 0, and most of the rest is called empty."""
    shapes = open_dataset("shapes", split="train")
    sampler = EpisodeSampler(shapes, (1, 2, 3), 1, 0, "pfenet", images=range(100))

    class Told(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("rule", torch.zeros(2, 3))

        def forward(self, batch):
            return (batch.query_masks == 1).flatten(1).any(1).float()

        def evidence(self, there):
            return torch.stack([there + 0.1 * torch.randn(len(there)), torch.randn(len(there))], 1)
    torch.manual_seed(0)
    model, config = Told(), TrainingConfig(size=32, protocol="pfenet", batch=8)
    shown = presence_episodes(sampler, config)
    fit_presence(model, shown, EpisodeTensors(sampler, 32, "pad"), config, torch.device("cpu"), progress=False)
    for rule, episodes, shots in zip(model.rule, shown, (1, 5)):
        assert rule[0] > 5 * rule[1].abs() and 1 * rule[0] + rule[2] > 0 > 0 * rule[0] + rule[2]
        assert {len(e.support[0]) for e in episodes} == {shots}
        assert 0.4 < np.mean([shapes.areas[e.query, e.class_ids[0]] > 0 for e in episodes]) < 0.6


def test_where_a_class_is_too_rare_for_five_shots_the_rule_of_one_serves():
    class Rare:
        name, split, area_scale, ids, class_names = "rare", "train", 1.0, tuple("abcdef"), ("x", "y")
        areas = np.array([[0, 3000, 0]] * 3 + [[0, 0, 3000]] * 3)
    one, other = presence_episodes(EpisodeSampler(Rare(), (1, 2), 1, 0, "pfenet"), TrainingConfig(protocol="pfenet"))
    assert one is other and {len(e.support[0]) for e in one} == {1}


def test_without_absent_queries_there_is_no_rule(capsys):
    class Full:
        name, split, area_scale, ids, class_names = "full", "train", 1.0, ("a", "b", "c"), ("x",)
        areas = np.array([[0, 3000]] * 3)
    assert presence_episodes(EpisodeSampler(Full(), (1,), 1, 0, "pfenet"), TrainingConfig(protocol="pfenet")) is None
    assert "will not say whether a class is there" in capsys.readouterr().out


class Judge(torch.nn.Module):
    """Marks everything; says of a class whether it is there, rightly."""

    def __init__(self, right=True):
        super().__init__()
        self.right, self.encoders, self.backbone = right, [], torch.nn.Identity()

    def forward(self, batch):
        logits = torch.zeros(len(batch), 2, *batch.query_masks.shape[1:])
        logits[:, 1] = 1
        there = (batch.query_masks == 1).flatten(1).any(1)
        return EpisodeOutput(logits, presence=torch.where(there == self.right, 2.0, -2.0))


def test_what_is_not_there_is_an_empty_answer():
    shapes = open_dataset("shapes", split="val")
    lists = SupportLists(shapes, (1, 2), 1, np.arange(60))
    right, wrong = (run_support_test(Judge(right), lists, 64, "pad", progress=False) for right in (True, False))
    assert [right["absent"][k]["value"] for k in ("empty", "false_area")] == [100, 0]
    assert [right["present"][k]["value"] for k in ("lost", "presence")] == [0, 100]
    assert [wrong["absent"][k]["value"] for k in ("empty", "false_area")] == [0, 100]
    assert [wrong["present"][k]["value"] for k in ("lost", "presence")] == [100, 0]
