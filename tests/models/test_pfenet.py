"""PFENet and QGNet against numpy, and what must hold for every backbone, shot, switch and bad input."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fsslib.models.backbones import build_backbone
from fsslib.models.bank import ModelBank
from fsslib.episodes.batches import EpisodeBatch
from fsslib.basics.errors import InputError
from fsslib.models import build_model
from fsslib.models.pfenet import EPSILON


def build(name="pfenet", seed=0, **options):
    torch.manual_seed(seed)
    return build_model(name, **{"backbone": "tiny", "weights": None, "width": 6, **options})


def episodes(B=2, K=2, S=40, seed=0):
    torch.manual_seed(seed)
    masks = torch.zeros(B, 1, K, S, S, dtype=torch.uint8)
    masks[..., 8:24, 10:30] = 1
    masks[..., -4:, :] = 255
    return EpisodeBatch(masks, torch.randint(0, 2, (B, S, S)), torch.rand(B, 1, K, 3, S, S), torch.rand(B, 3, S, S))


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name, backbone, options, expected", [
    ("pfenet", "resnet50", {}, 10_817_034), ("pfenet", "vgg16", {}, 10_423_818),
    ("qgnet", "resnet50", {"projection": "learned"}, 10_817_034 + 4 * 256 + 2 * 9 * 2048 * 256)])
def test_trainable_parameters(name, backbone, options, expected):
    """The papers' 10.8 M; QGNet adds one map to four scales and two 3x3 projections: 20.26 M."""
    assert trainable(build_model(name, backbone, None, **options)) == expected


@pytest.mark.parametrize("backbone", ["tiny", "efficientnet_lite0", "vgg16", "resnet50"])
@pytest.mark.parametrize("options", [{}, {"projection": "learned", "masked_pass": True}])
def test_every_backbone_answers(backbone, options):
    model, batch = build("qgnet", backbone=backbone, **options).eval(), episodes(1, 1)
    with torch.no_grad():
        output = model(batch)
    assert output.logits.shape == (1, 2, 40, 40) and output.logits.isfinite().all() and not output.losses
    for name in ("prior", "guided"):
        assert output.maps[name].shape == (1, 1, 5, 5)
        assert output.maps[name].min() >= 0 and output.maps[name].max() <= 1


def test_against_numpy():
    """The stages before the decoder, position by position, as REFERENCE describes PFENet's code."""
    model, batch = build().eval(), episodes()
    seen = {}
    model.fem.register_forward_pre_hook(lambda _, given: seen.update(query=given[0], prototype=given[1], maps=given[2]))
    with torch.no_grad():
        model(batch)
        backbone = build_backbone("tiny", None)
        backbone.load_state_dict(model.backbone.state_dict())
        q = {k: v.numpy() for k, v in backbone(batch.query_images).items()}
        s = {k: v.numpy().reshape(2, 2, -1, 5, 5) for k, v in backbone(batch.support_images.flatten(0, 2)).items()}
        soft = F.interpolate((batch.support_masks[:, 0] == 1).float(), (5, 5), mode="bilinear", align_corners=True)
    w_q, w_s = (m[0].weight.detach().numpy()[:, :, 0, 0] for m in (model.reduce_query, model.reduce_support))
    for b in range(2):
        mid = np.concatenate([q["layer3"][b], q["layer2"][b]])
        np.testing.assert_allclose(seen["query"][b], np.maximum(np.tensordot(w_q, mid, 1), 0), atol=1e-5)

        prototypes, maps = [], []
        for k in range(2):
            m = soft[b, k].numpy()
            mid = np.maximum(np.tensordot(w_s, np.concatenate([s["layer3"][b, k], s["layer2"][b, k]]), 1), 0)
            prototypes.append((mid * m).sum((1, 2)) / (m.sum() + EPSILON))
            keys, found = (s["layer4"][b, k] * m).reshape(16, 25), np.zeros(25)
            for i, x in enumerate(q["layer4"][b].reshape(16, 25).T):
                found[i] = max(x @ p / (np.linalg.norm(x) * np.linalg.norm(p) + 1e-7) for p in keys.T)
            maps.append((found - found.min()) / (found.max() - found.min() + 1e-7))
        np.testing.assert_allclose(seen["prototype"][b], np.mean(prototypes, 0), atol=1e-5)
        np.testing.assert_allclose(seen["maps"][b, 0].ravel(), np.mean(maps, 0), atol=1e-4)


def test_the_masked_pass_is_the_last_stage_of_masked_features():
    model, batch = build(masked_pass=True).eval(), episodes(1, 1)
    with torch.no_grad():
        found = model(batch).maps["guided"]
        q = model.backbone(batch.query_images)["layer4"]
        m = F.interpolate((batch.support_masks[:, 0] == 1).float(), (5, 5), mode="bilinear", align_corners=True)
        s = model.backbone.layer4(model.backbone(batch.support_images[:, 0, 0])["layer3"] * m) * m
        best = F.cosine_similarity(q.flatten(2)[..., None], s.flatten(2)[:, :, None], dim=1).amax(2)
    torch.testing.assert_close(found.flatten(), ((best - best.min()) / (best.max() - best.min()))[0], atol=1e-4, rtol=0)
    assert not torch.allclose(found, build().eval()(batch).maps["guided"])


@pytest.mark.parametrize("name", ["pfenet", "qgnet"])
def test_a_batch_is_its_episodes(name):
    model, batch = build(name).eval(), episodes(3)
    with torch.no_grad():
        whole = model(batch)
        for b in range(3):
            one = model(EpisodeBatch(**{k: v[b:b + 1] for k, v in vars(batch).items() if v is not None}))
            torch.testing.assert_close(one.logits[0], whole.logits[b], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"projection": "learned"}, {"frozen": False}, {"prior": False}])
def test_gradients_reach_what_learns_and_nothing_else(options):
    model = build("qgnet", **options).train()
    for seed in range(4):                    # dropout may silence a channel once
        sum(model(episodes(seed=seed)).losses.values()).backward()
    for name, parameter in model.named_parameters():
        learns = not name.startswith("extractor") and (options.get("frozen") is False or "backbone" not in name)
        assert (parameter.grad is not None and bool(parameter.grad.any())) == learns, name


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_losses_by_hand(weight):
    """CE at input size, 255 left out, object pixels weighted; the auxiliary one is the mean over the scales."""
    model, batch = build(foreground_weight=weight).train(), episodes()
    batch.query_masks[:, :10] = 255
    seen = {}
    model.fem.register_forward_hook(lambda *args: seen.update(zip(("logits", "auxiliary"), args[2])))
    losses = model(batch).losses

    def by_hand(logits):
        logits = F.interpolate(logits, (40, 40), mode="bilinear", align_corners=True).detach().double().numpy()
        target = batch.query_masks.numpy()
        log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        pixels = [(b, target[b, y, x], y, x) for b in range(2) for y in range(10, 40) for x in range(40)]
        return -np.average([log[p] for p in pixels], weights=[weight if p[1] else 1 for p in pixels])
    assert losses["main"].item() == pytest.approx(by_hand(seen["logits"]), abs=1e-5)
    assert losses["auxiliary"].item() == pytest.approx(np.mean([by_hand(x) for x in seen["auxiliary"]]), abs=1e-5)


def test_switches_choose_the_maps():
    batch = episodes()
    for options, expected in (({}, {"guided", "prior"}), ({"prior": False}, {"guided"}), ({"guided": False}, {"prior"}),
                              ({"prior": False, "guided": False}, set())):
        assert set(build("qgnet", **options).eval()(batch).maps) == expected
    assert trainable(build("qgnet", prior=False)) == trainable(build())


def test_a_support_that_vanishes_gives_zero_and_says_so():
    model, batch = build().eval(), episodes(1, 2, 80)
    batch.support_masks[:] = 0
    batch.support_masks[..., 3, 3] = 1       # between the feature map's positions
    with pytest.warns(UserWarning, match="no foreground left at 10x10"), torch.no_grad():
        output = model(batch)
    assert output.maps["guided"].eq(0).all() and output.logits.isfinite().all()


def test_features_may_stand_in_for_images():
    model, batch = build("qgnet").eval(), episodes()
    with torch.no_grad():
        features = EpisodeBatch(
            batch.support_masks, batch.query_masks, support_features=model.encoders[0](batch.support_images),
            query_features=torch.cat([encode(batch.query_images) for encode in model.encoders], 1))
        torch.testing.assert_close(model(features).logits, model(batch).logits)


def test_maps_are_drawn_in_float32_whatever_the_precision():
    """In bf16 cosines near each other would fall together; a bank holds more, and so do features without one."""
    model, batch = build("qgnet").eval(), episodes()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert {part.dtype for part in model.features(batch)} == {torch.float32}
        assert {part.dtype for part in model(batch).maps.values()} == {torch.float32}


def test_the_prior_extractor_is_the_one_given(tmp_path):
    from safetensors.torch import save_file
    torch.manual_seed(5)
    save_file({k: v.contiguous() for k, v in build_backbone("tiny", None).state_dict().items()}, tmp_path / "e.safetensors")
    model = build("qgnet", extractor=tmp_path / "e.safetensors")
    torch.manual_seed(5)
    expected = build_backbone("tiny", None).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in model.extractor.state_dict().items())


def test_one_network_as_both_is_told():
    weights = "imagenet"
    with pytest.warns(UserWarning, match="rounding noise"):
        build("qgnet", backbone="efficientnet_lite0", weights=weights, extractor=weights)


@pytest.mark.parametrize("cause, message", [
    (lambda: build("qgnet", extractor_backbone="efficientnet_lite0"), r"320 channels from efficientnet_lite0.*16 as tiny"),
    (lambda: build("qgnet", projection="both"), "'none' or|one of none, learned"),
    (lambda: build("pfenet", extractor="imagenet"), "pfenet has no prior extractor"),
    (lambda: build("pfenet", prior=False), "option of pfenet"),
    (lambda: build("pfenet", bins=()), "bins"),
    (lambda: build()(EpisodeBatch(torch.zeros(1, 2, 1, 40, 40), torch.zeros(1, 40, 40), torch.rand(1, 2, 1, 3, 40, 40),
                                  torch.rand(1, 3, 40, 40))), "ways: found 2"),
    (lambda: build().eval()(EpisodeBatch(torch.zeros(1, 1, 1, 5, 5), torch.zeros(1, 5, 5), torch.rand(1, 1, 1, 3, 5, 5),
                                         torch.rand(1, 3, 5, 5))), "5x5 px.*at least 8 px")])
def test_bad_input(cause, message):
    with pytest.raises(InputError, match=message):
        cause()


def test_an_extractor_of_another_backbone_is_refused(tmp_path):
    from safetensors.torch import save_file
    save_file({k: v.contiguous() for k, v in build_backbone("tiny", None).state_dict().items()}, tmp_path / "e.safetensors")
    with pytest.raises(InputError, match="e.safetensors.*vgg16"):
        build("qgnet", backbone="vgg16", extractor=tmp_path / "e.safetensors")


def test_a_learned_projection_joins_networks_of_other_widths():
    model = build("qgnet", extractor_backbone="efficientnet_lite0", projection="learned").eval()
    assert model(episodes(1, 1)).maps["prior"].shape == (1, 1, 5, 5)


def test_the_bank_refuses_another_model(toy):
    bank = ModelBank(build("qgnet"), toy, 40, "pad", keep=False)
    bank.refuse_other(build("qgnet"), toy, 40, "pad")
    for model, size, word in ((build("qgnet", seed=1), 40, "weights"), (build("pfenet"), 40, "weights"),
                              (build("qgnet"), 48, "size 40.*48")):
        with pytest.raises(InputError, match=word):
            bank.refuse_other(model, toy, size, "pad")


def built(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("pfenet", "tiny", None, width=6, **options).eval()


def seen(model, query, support, masks):
    with torch.no_grad():
        return model(EpisodeBatch(masks, torch.zeros(1, 40, 40, dtype=torch.long), support, query))


def test_the_blind_decoder_never_sees_its_support():
    """Two supports that share nothing give one answer; with eyes they do not. In training the losses agree, too."""
    torch.manual_seed(1)
    query, supports, masks = torch.rand(1, 3, 40, 40), torch.rand(2, 1, 1, 1, 3, 40, 40), torch.zeros(2, 1, 1, 1, 40, 40).byte()
    masks[0, ..., 10:30, 10:30], masks[1, ..., :8, :8] = 1, 1
    for blind in (True, False):
        model = built(blind=blind)
        one, other = (seen(model, query, support, mask) for support, mask in zip(supports, masks))
        assert torch.equal(one.logits, other.logits) == blind and one.logits.std() > 0 and ("guided" in one.maps) != blind
    truth = torch.randint(0, 2, (1, 40, 40))
    losses = []
    for support, mask in zip(supports, masks):
        torch.manual_seed(2)
        losses.append(sum(built(blind=True).train()(EpisodeBatch(mask, truth, support, query)).losses.values()).item())
    assert losses[0] == losses[1]


def test_what_the_guided_map_compares(monkeypatch):
    """layer4 as it is, or what the backbone names."""
    query, support, masks = torch.rand(1, 3, 40, 40), torch.rand(1, 1, 1, 3, 40, 40), torch.ones(1, 1, 1, 40, 40).byte()
    own, layer4 = built(), built(keys="layer4")
    assert torch.equal(seen(own, query, support, masks).maps["guided"], seen(layer4, query, support, masks).maps["guided"])
    for model in (own, layer4):                                              # a backbone that asks for layer3
        model.backbone.region_features = lambda layer3, layer4: layer3
    maps = [seen(model, query, support, masks).maps["guided"] for model in (own, layer4)]
    assert not torch.equal(*maps)


def test_how_the_mixing_layers_start():
    """By He's rule a map's weights spread as a feature's; with equal shares they spread wider, for they are few."""
    mixing = {start: next(m for m in built(start=start).fem.modules() if isinstance(m, torch.nn.Conv2d)).weight for start in ("he", "shares")}
    of_map = {start: weight[:, -1].std().item() / weight[:, :-1].std().item() for start, weight in mixing.items()}
    assert of_map["he"] < 1.8 < of_map["shares"]


def test_a_random_extractor_is_one_network_for_all_seeds():
    one, other = (build_model("qgnet", "tiny", None, extractor="random", width=6) for _ in range(2))
    torch.manual_seed(7)
    third = build_model("qgnet", "tiny", None, extractor="random", width=6)
    for name, tensor in one.extractor.state_dict().items():
        assert torch.equal(tensor, other.extractor.state_dict()[name]) and torch.equal(tensor, third.extractor.state_dict()[name])
    assert not torch.equal(one.reduce_query[0].weight, third.reduce_query[0].weight)      # the decoder has its own seed
