"""Evaluation: models whose scores are known beforehand, and what result.json holds."""

import json

import numpy as np
import pytest
import torch

from fsslib.episodes.batches import query_labels
from fsslib.basics.checkpoints import weights_digest
from fsslib.episodes.sampler import EpisodeSampler
from fsslib.basics.errors import InputError
from fsslib.evaluation.scoring import evaluate, protocol_episodes
from fsslib.metrics import EpisodeScores
from fsslib.episodes import EpisodeOutput
from fsslib.episodes.protocols import PROTOCOLS

CLASSES = (1, 2, 3, 4)


class Constant(torch.nn.Module):
    """Calls every pixel way 1."""

    def forward(self, batch):
        logits = torch.zeros(len(batch), 1 + batch.support_masks.shape[1], *batch.query_masks.shape[1:])
        logits[:, 1] = 1
        return EpisodeOutput(logits)


class Oracle(torch.nn.Module):
    """Reads the answer."""

    def forward(self, batch):
        truth = torch.where(batch.query_masks == 255, 0, batch.query_masks)
        logits = torch.nn.functional.one_hot(truth, 1 + batch.support_masks.shape[1])
        return EpisodeOutput(logits.movedim(-1, 1).float())


def drawn(toy, protocol="pfenet", ways=1, shots=1, count=20):
    return EpisodeSampler(toy, CLASSES, shots, 0, protocol, ways).take(count)


def run(model, episodes, protocol="pfenet", size=40, bank=False, **options):
    return evaluate(model, episodes, CLASSES, protocol, size, bank=bank, progress=False, **options)


@pytest.mark.parametrize("protocol", ["panet", "hsnet", "symnet"])
@pytest.mark.parametrize("ways", [1, 2])
def test_who_knows_the_answer_scores_100(toy, protocol, ways):
    result = run(Oracle(), drawn(toy, protocol, ways), protocol)
    assert result["miou"] == result["fb_iou"] == 100 and result["intervals"]["miou"] == [100, 100]


def test_at_the_original_size_the_answer_loses_only_outlines(toy):
    assert run(Oracle(), drawn(toy), size=64)["miou"] == 100         # 48x64 px fit as they are
    assert 70 < run(Oracle(), drawn(toy), size=56)["miou"] < 100


@pytest.mark.parametrize("protocol", ["pfenet", "symnet"])
def test_all_foreground_against_a_loop(toy, protocol):
    """Every pixel called foreground: IoU is the object's share of the pixels that count."""
    episodes = drawn(toy, protocol)
    hits, unions, fb = dict.fromkeys(CLASSES, 0), dict.fromkeys(CLASSES, 0), np.zeros(2)
    for episode in episodes:
        mask, (c,) = toy.mask(episode.query), episode.class_ids
        if protocol == "symnet":             # scored at 40 px: nearest, 48x64 -> 24x40 (multiples of 8), rest ignored
            mask = mask[(np.arange(24) * 48 / 24).astype(int)][:, (np.arange(40) * 64 / 40).astype(int)]
        hits[c], unions[c] = hits[c] + (mask == c).sum(), unions[c] + (mask != 255).sum()
        fb += (mask == c).sum(), (mask != 255).sum()
    result = run(Constant(), episodes, protocol)
    assert result["per_class"] == {str(c): pytest.approx(100 * hits[c] / unions[c], abs=0.005) for c in CLASSES}
    assert result["miou"] == pytest.approx(100 * np.mean([hits[c] / unions[c] for c in CLASSES]), abs=0.005)
    assert result["fb_iou"] == pytest.approx(50 * fb[0] / fb[1], abs=0.005)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_size_of_a_batch_changes_nothing(toy, tiny_panet, protocol):
    episodes = drawn(toy, protocol, count=10)
    one, four = (run(tiny_panet, episodes, protocol, bank=True, batch=b) for b in (1, 4))
    assert one["scores"] == four["scores"] and one["miou"] == four["miou"]
    assert one["prototype_distance"] == pytest.approx(four["prototype_distance"], abs=2e-4)


def test_result_file(toy, tiny_panet, tmp_path):
    episodes = drawn(toy, ways=2, shots=3)
    result = run(tiny_panet, episodes, bank=True, out=tmp_path / "run", fold=0, note="a test")
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["miou"] == result["miou"] and stored["scores"]["classes"] == [1, 2, 3, 4]
    config = dict(model="panet", backbone="tiny", dataset="toy", split="train", classes=[1, 2, 3, 4], shots=3, ways=2,
                  protocol="pfenet", size=40, episodes=20, fold=0, note="a test", scored="original", resize="pad")
    assert {key: stored["config"][key] for key in config} == config
    assert stored["digests"] == {"data": toy.digest, "episodes": episodes.digest, "weights": weights_digest(tiny_panet)}
    assert stored["versions"]["torch"] == torch.__version__.split("+")[0] and stored["hardware"]
    assert stored["seconds"] > 0 and stored["episodes_per_second"] > 0
    low, high = stored["intervals"]["miou"]
    assert low <= stored["miou"] <= high and set(stored["per_class"]) == {"1", "2", "3", "4"}
    again = EpisodeScores.from_dict(stored["scores"])
    assert round(100 * again.miou(), 2) == stored["miou"]
    assert again.difference(EpisodeScores.from_dict(result["scores"])) == (0, (0, 0))


def test_weaker_support_reaches_the_model(toy, tiny_panet):
    seen = []

    def nothing(mask, index):
        seen.append(index)
        return np.where(mask == 1, np.uint8(255), mask)
    episodes = drawn(toy, count=5)
    dense, weak = (run(tiny_panet, episodes, bank=True, annotate=a) for a in (None, nothing))
    assert seen == [e.support[0][0] for e in episodes] and dense["scores"] != weak["scores"]


def test_protocol_episodes(toy):
    five = protocol_episodes(toy, CLASSES, 1, "panet", episodes=3)
    assert len(five) == 15 and five.episodes[3:6] == EpisodeSampler(toy, CLASSES, 1, 1235, "panet").take(3).episodes
    assert len(protocol_episodes(toy, CLASSES, 1, "pfenet", episodes=7, seeds=[1, 2])) == 14
    assert len(protocol_episodes(toy, CLASSES, 1, "hsnet")) == 1000  # its own number
    for count in (0, -1):
        with pytest.raises(InputError, match="episodes"):
            protocol_episodes(toy, CLASSES, 1, episodes=count)


def test_bad_input_is_told_before_the_work(toy, tiny_panet, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file on this path"):
        run(tiny_panet, drawn(toy), out=tmp_path / "file")
    for size in (0, 8):
        with pytest.raises(InputError, match="size"):
            run(tiny_panet, drawn(toy), size=size, bank=True)


def test_labels_of_a_query():
    mask = torch.tensor([[0, 3, 5], [255, 7, 3]])
    assert query_labels(mask, (5, 3)).tolist() == [[0, 2, 1], [255, 0, 2]]


def test_support_masks_of_two_ways(toy):
    """1 the way's class, 255 the other way's objects and padding, 0 the rest, a void outline included."""
    from fsslib.episodes.batches import EpisodeTensors
    episodes = drawn(toy, ways=2, shots=2, count=6)
    for i, episode in enumerate(episodes):
        batch = EpisodeTensors(episodes, 64, "pad")[i]
        for n, way in enumerate(episode.support):
            for k, j in enumerate(way):
                mask, own, other = toy.mask(j), episode.class_ids[n], episode.class_ids[1 - n]
                expected = np.full((64, 64), 255)
                expected[:48] = np.where(mask == own, 1, np.where(mask == other, 255, 0))
                np.testing.assert_array_equal(batch.support_masks[0, n, k], expected)


def test_flips_move_image_and_mask_together_and_repeat(toy):
    from fsslib.episodes.batches import EpisodeTensors
    episodes = drawn(toy, count=16)
    plain = EpisodeTensors(episodes, 64, "pad")
    flipped = EpisodeTensors(episodes, 64, "pad", views=2, seed=3)
    state, sides = torch.random.get_rng_state(), []
    for i in range(16):
        one, other = plain[i], flipped[i]
        for image, mask in (("support_images", "support_masks"), ("query_images", "query_masks")):
            same = torch.equal(getattr(one, image), getattr(other, image))
            assert same or torch.equal(getattr(one, image).flip(-1), getattr(other, image))
            assert torch.equal(getattr(one, mask) if same else getattr(one, mask).flip(-1), getattr(other, mask))
            sides.append(same)
        assert torch.equal(flipped[i].query_images, other.query_images)
    assert 6 < sum(sides) < 26 and torch.equal(torch.random.get_rng_state(), state)
