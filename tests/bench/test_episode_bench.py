"""``fsslib bench episodes``: what it measures exists, and the identity it reports is looked at."""

import json

import torch

from fsslib.bench import episodes as episode_bench


def test_every_combination_is_measured(toy, monkeypatch):
    monkeypatch.setattr(episode_bench, "open_dataset", lambda name, root, split: toy)
    monkeypatch.setattr(episode_bench, "novel_classes", lambda name, fold: (1, 2))
    monkeypatch.setattr(episode_bench, "base_classes", lambda name, fold: (3, 4))
    torch.manual_seed(0)
    result = episode_bench.measure("toy", None, "qgnet", "tiny", None, 64, 6, count=8, plain=4, steps=1, batch=2)
    assert [(row["shots"], row["identical"]) for row in result["test"]] == [(1, True), (5, True)]
    assert all(set(row["shares"]) == {"backbone", "maps", "decoder"} and min(row["shares"].values()) >= 0
               and row["times_faster"] > 0 for row in result["test"])
    assert [(row["shots"], row["bank"]) for row in result["training"]] == [(1, True), (1, False), (5, True), (5, False)]
    assert all(row["seconds_per_step"] > 0 for row in result["training"])
    json.dumps(result)
    text = episode_bench.table(result)
    assert text.count("scores identical") == 2 and "training, 5-shot, bank off" in text
    result["test"][0]["identical"] = False
    assert "scores DIFFERENT" in episode_bench.table(result)
