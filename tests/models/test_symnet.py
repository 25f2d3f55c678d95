"""Sym-Net put together, and the base learner as an option of every decoder."""

import pytest
import torch

from fsslib.basics.errors import InputError
from fsslib.episodes.batches import EpisodeBatch
from fsslib.models import build_model
from fsslib.models.base_learner import known_others


class Named:
    class_names = ("bus", "car", "cow", "sheep", "mug")


def build(name="symnet", classes=(1, 2), **options):
    torch.manual_seed(0)
    more = {} if name != "qgnet" else {"extractor": "random"}
    model = build_model(name, "tiny", None, **{"width": 6, **options}, **more).eval()
    if model.known is not None and classes:
        model.known.build(classes)
    if hasattr(model, "meet"):
        model.meet(Named)
    return model


def episodes(asked=(3, 5), K=1, S=40):
    torch.manual_seed(1)
    masks = torch.zeros(len(asked), 1, K, S, S, dtype=torch.uint8)
    masks[..., 8:24, 10:30] = 1
    return EpisodeBatch(masks, torch.randint(0, 2, (len(asked), S, S)), torch.rand(len(asked), 1, K, 3, S, S),
                        torch.rand(len(asked), 3, S, S), class_ids=torch.tensor(asked)[:, None])


@pytest.mark.parametrize("options, K", [
    ({}, 1), ({}, 3), ({"shots": 3}, 3), ({"spm": False}, 2), ({"apa": False}, 1), ({"text": "none"}, 1), ({"tdc": "none"}, 1),
    ({"tdc": "blocks"}, 2), ({"triplet": False}, 1), ({"base": False}, 1), ({"keys": "backbone"}, 1)])
def test_every_switch_answers_and_learns(options, K):
    model, batch = build(**options), episodes(K=K)
    with torch.no_grad():
        output = model(batch)
    assert output.logits.shape == (2, 2, 40, 40) and output.logits.isfinite().all() and not output.losses
    assert output.maps["prior"].shape == (2, 1, 5, 5) and output.maps["prior"].min() >= 0 and output.maps["prior"].max() <= 1 + 1e-6
    losses = model.train()(batch).losses
    assert ("triplet" in losses) == options.get("triplet", True) and ("meta" in losses) == options.get("base", True)
    sum(losses.values()).backward()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    silent = {name for name, p in learning.items() if p.grad is None or not p.grad.abs().sum()}
    assert not {name for name in silent if name.startswith(("apa", "tdc", "fem.mix", "reduce", "ensemble"))}
    assert (model.apa is None) == (options.get("apa") is False) and (model.tdc is None) == (options.get("tdc") == "none")


def test_order_and_number_of_shots():
    """Shots in another order change nothing; two equal shots are one."""
    model, batch = build(shots=3), episodes(K=3)
    other = episodes(K=3)
    other.support_images, other.support_masks = other.support_images.flip(2), other.support_masks.flip(2)
    with torch.no_grad():
        torch.testing.assert_close(model(batch).logits, model(other).logits, rtol=1e-4, atol=1e-5)
        one = episodes()
        two = episodes()
        two.support_images, two.support_masks = (x.repeat_interleave(2, 2) for x in (two.support_images, two.support_masks))
        torch.testing.assert_close(model(one).logits, model(two).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, options", [("symnet", {}), ("symnet", {"spm": False}), ("pfenet", {}), ("whichnet", {})])
def test_blind_answers_do_not_depend_on_the_support(name, options):
    model, batch, other = build(name, blind=True, base=True, **options), episodes(), episodes()
    torch.nn.init.normal_(model.fem.classify_all[-1].weight)
    model.ensemble.trust.weight.data[0, 1] = 0.5
    other.support_masks, other.support_images = other.support_masks.flip(-1), torch.rand_like(other.support_images)
    with torch.no_grad():
        torch.testing.assert_close(model(batch).logits, model(other).logits)
    assert "triplet" not in model.train()(batch).losses


@pytest.mark.parametrize("option", ["guided", "masked_pass"])
def test_options_that_it_has_no_use_for_are_refused(option):
    with pytest.raises(InputError, match=option):
        build(**{option: False})


def test_the_name_of_the_class_counts():
    model = build(base=False)
    torch.nn.init.normal_(model.fem.classify_all[-1].weight)
    with torch.no_grad():
        assert not torch.allclose(model(episodes((3, 5))).logits, model(episodes((3, 4))).logits)
        silent = build(base=False, text="none")
        torch.testing.assert_close(silent(episodes((3, 5))).logits, silent(episodes((3, 4))).logits)
    model.words = None
    with pytest.raises(InputError, match="model.meet"):
        model(episodes())

    class Odd:
        class_names = ("bus", "my own thing")
    with pytest.raises(InputError, match="my own thing.*fsslib data vectors"):
        model.meet(Odd)


@pytest.mark.parametrize("name", ["pfenet", "qgnet", "whichnet", "symnet"])
def test_the_base_learner_of_every_decoder(name):
    """At its start the ensemble changes nothing but the scale; with a weight on the known, known things are background."""
    model, batch = build(name, base=True), episodes((5, 1))
    with torch.no_grad():
        plain = model(batch).logits
        assert plain.min() >= -1e-6 and plain.sum(1) == pytest.approx(1, abs=1e-4)          # probabilities, as the released code has them
        model.ensemble.known.weight.data[0, 1] = 1
        known = model(batch).logits - plain
        P = model.known[-1](model.features(batch)[1][:, :36]).softmax(1)
        expected = known_others(P, torch.tensor([0, 1]))
    assert known[:, 1].abs().max() < 1e-6
    large = torch.nn.functional.interpolate(expected, (40, 40), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(known[:, 0], large, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="learned nothing|no heads"):
        build(name, classes=(), base=True)(batch)


def test_bad_options():
    with pytest.raises(InputError, match="tdc"):
        build(tdc="all")
