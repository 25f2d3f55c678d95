"""Sym-Net's modules against loops in numpy, as REFERENCE describes the released code."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fsslib.models.base_learner import Ensemble, known_others, scene_difference
from fsslib.models.symnet.shots import ShotWeights
from fsslib.models.symnet import (PrototypeAggregation, TopDown, correlation, hybrid, query_regions, query_triplet, region_means,
                                  self_activation_maps, support_triplet)

B, K, C, H, W, S = 2, 2, 5, 6, 7, 24


def features(seed=0, K=K):
    torch.manual_seed(seed)
    masks = torch.zeros(B, K, S, S, dtype=torch.uint8)
    masks[0, :, 4:18, 6:22], masks[1, :, 10:, :9] = 1, 1
    masks[..., -2:] = 255
    return torch.randn(B, C, H, W), torch.randn(B, K, C, H, W), masks


def resized_masks(masks):
    """(B,K,h,w), bilinear with aligned corners, by hand."""
    y, x = np.linspace(0, S - 1, H), np.linspace(0, S - 1, W)
    m = (masks == 1).numpy().astype(float)
    y0, x0 = np.minimum(y.astype(int), S - 2), np.minimum(x.astype(int), S - 2)
    fy, fx = (y - y0)[:, None], (x - x0)[None]
    at = lambda dy, dx: m[:, :, (y0 + dy)[:, None], (x0 + dx)[None]]          # noqa: E731
    return (at(0, 0) * (1 - fy) * (1 - fx) + at(1, 0) * fy * (1 - fx) + at(0, 1) * (1 - fy) * fx + at(1, 1) * fy * fx)


def window_mean(x, height, width):
    """(C,h,w), zeros outside."""
    out, area = np.zeros_like(x), height * width
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            part = x[:, max(0, i - height // 2):i + height // 2 + 1, max(0, j - width // 2):j + width // 2 + 1]
            out[:, i, j] = part.sum((1, 2)) / area
    return out


@pytest.mark.parametrize("activation", [True, False])
def test_spm(activation):
    query, support, masks = features()
    found = self_activation_maps(query, support, masks, activation=activation).numpy()
    small = resized_masks(masks)
    for b in range(B):
        for k in range(K):
            maps = []
            for window in ((5, 5), (7, 1), (1, 7)):
                q, s = window_mean(query[b].numpy(), *window), window_mean(support[b, k].numpy() * small[b, k], *window)
                similar = np.zeros((H, W))
                for i in range(H):
                    for j in range(W):
                        a = np.linalg.norm(q[:, i, j])
                        cosines = [q[:, i, j] @ s[:, u, v] / (a * np.linalg.norm(s[:, u, v]) + 1e-7) for u in range(H) for v in range(W)]
                        similar[i, j] = np.mean(cosines) * (a if activation else 1)
                maps.append((similar - similar.min()) / (similar.max() - similar.min() + 1e-7))
            assert found[b, k] == pytest.approx(np.mean(maps, 0), abs=2e-5)
    assert found.shape == (B, K, H, W) and found.min() >= 0 and found.max() <= 1


def test_query_regions_within_their_limits_and_without():
    prior = torch.tensor([0.9, 0.71, 0.7, 0.56, 0.55, 0.5, 0.45, 0.4, 0.39, 0.1])
    prior = F.pad(prior, (0, 30), value=0.2).reshape(1, 1, 5, 8)
    found = {name: inside.flatten().nonzero().flatten().tolist() for name, inside in query_regions(prior).items()}
    assert found["foreground"] == [0, 1] and found["ambiguous"] == [5, 6] and found["background"] == list(range(8, 40))
    level = torch.linspace(0.56, 0.69, 40).reshape(1, 1, 5, 8)                     # nothing within any of the limits
    found = {name: inside.flatten().nonzero().flatten().tolist() for name, inside in query_regions(level).items()}
    assert found["foreground"] == list(range(28, 40)) and found["background"] == list(range(12))
    assert found["ambiguous"] == list(range(14, 26))                               # ranks 14..25 of 40, from either end
    assert all(len(places) == 3 for places in query_level(3).values())


def query_level(n):
    return {name: inside.nonzero() for name, inside in query_regions(torch.full((1, 1, 1, n), 0.6)).items()}


def test_region_means():
    x, prior = features()[0], torch.rand(B, 1, H, W)
    regions = query_regions(prior)
    for name, mean in region_means(x, regions).items():
        for b in range(B):
            assert mean[b].numpy() == pytest.approx(x[b].numpy()[:, regions[name][b].numpy()].mean(1), abs=1e-5)


def unit(x, axis=-1):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def test_triplets():
    query, support, masks = features()
    anchor = torch.randn(B, C)
    masks[1, 1] = 0                                                                # no object: skipped
    rows, columns = (np.arange(n) * S // n for n in (H, W))                       # the nearest pixel, rounded down
    expected = []
    for k in range(K):
        losses = []
        for b in range(B):
            label = masks[b, k].numpy()[rows][:, columns]
            x, a = unit(support[b, k].numpy(), 0), unit(anchor[b].numpy())
            if not ((label == 1).any() and (label == 0).any()):
                continue
            hardest = max(np.linalg.norm(a - x[:, i, j] + 1e-6) for i, j in np.argwhere(label == 1))
            losses.append(max(0, 0.5 + hardest - np.linalg.norm(a - x[:, label == 0].mean(1) + 1e-6)))
        expected.append(np.mean(losses))
    assert float(support_triplet(anchor, support, masks)) == pytest.approx(np.mean(expected), abs=1e-5)
    assert float(support_triplet(anchor, support, torch.zeros_like(masks))) == 0
    p, n = torch.randn(B, C), torch.randn(B, C)
    a, p_, n_ = (unit(x.numpy()) for x in (anchor, p, n))
    expected = np.maximum(0, 0.5 + np.linalg.norm(a - p_ + 1e-6, axis=1) - np.linalg.norm(a - n_ + 1e-6, axis=1)).mean()
    assert float(query_triplet(anchor, p, n)) == pytest.approx(expected, abs=1e-5)


def test_correlation():
    query, support, masks = features()
    masks[1, 1] = 0                                                                # no object: a map of zeros
    found, whole = correlation(query, support, masks).numpy(), resized_masks(masks) > 1 - 1e-9
    for b in range(B):
        expected = np.zeros((K, H, W))
        q = query[b].numpy() / (np.linalg.norm(query[b].numpy(), axis=0) + 1e-5)
        for k in range(K):
            s = support[b, k].numpy() / (np.linalg.norm(support[b, k].numpy(), axis=0) + 1e-5)
            places = np.argwhere(whole[b, k])
            if len(places):
                expected[k] = np.mean([np.maximum(np.einsum("chw,c->hw", q, s[:, i, j]), 0) for i, j in places], 0)
        assert found[b] == pytest.approx(expected.mean(0), abs=1e-5)
    assert whole[0].any() and not whole[1, 1].any()


def test_top_down_follows_the_order_coarse_then_fine():
    torch.manual_seed(0)
    module = TopDown((2, 3, 1)).eval()
    maps = [[torch.rand(B, H, W) for _ in range(n)] for n in (2, 3, 1)]
    out = module(maps)
    two, three, four = (F.conv2d(torch.stack(m, 1), s.weight, s.bias) for m, s in zip(maps, module.squeeze))

    def stage(x, part):
        x = F.conv2d(x, part[0].weight, part[0].bias, padding=1)
        mean, spread = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), keepdim=True, unbiased=False)
        return F.relu((x - mean) / (spread + 1e-5).sqrt())
    expected = F.conv2d(stage(stage(three + four, module.coarse) + two, module.fine), module.spread.weight, module.spread.bias, padding=1)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    assert out.shape == (B, 48, H, W)


@pytest.mark.parametrize("text", [0, 4])
def test_apa(text):
    """Shapes, gradients everywhere, the formula by hand, and no care for where a place lies."""
    torch.manual_seed(0)
    module, x, prototype = PrototypeAggregation(C, text).eval(), torch.randn(B, C, H, W), torch.randn(B, C)
    words = torch.randn(B, text) if text else None
    found, attention = module(prototype, x, words)
    assert found.shape == (B, C) and attention.shape == (B, H, W)
    assert attention.sum((1, 2)).detach().numpy() == pytest.approx(1, abs=1e-6)
    found.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())
    with torch.no_grad():
        p = {name: value.numpy() for name, value in module.named_parameters()}
        for b in range(B):
            asked = p["ask.weight"] @ np.concatenate([words[b].numpy() if text else [], prototype[b].numpy()])
            keys = np.einsum("oc,chw->ohw", p["look.weight"][:, :, 0, 0], x[b].numpy()).reshape(C, -1)
            score = np.exp(asked @ p["weigh"] @ keys)
            seen = keys @ (score / score.sum())
            assert found[b].numpy() == pytest.approx(prototype[b].numpy() + p["tell.weight"] @ seen + p["tell.bias"], abs=1e-4)
        order = torch.randperm(H * W)
        again, _ = module(prototype, x.flatten(2)[..., order].reshape(x.shape), words)
        torch.testing.assert_close(again, found)
        torch.testing.assert_close(hybrid(found, again), found)


def test_scene_difference():
    query, support, _ = features()
    found = scene_difference(query, support).numpy()

    def cosines(x):
        x = x.numpy().reshape(C, -1)
        return np.array([[a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in x] for a in x])
    for b in range(B):
        for k in range(K):
            gap = cosines(query[b]) - cosines(support[b, k])
            assert found[b, k] == pytest.approx(np.sqrt((gap ** 2).sum()) / C, abs=1e-5)
    assert scene_difference(query, query[:, None]).abs().max() < 1e-5


def test_weights_of_shots_go_with_their_shots():
    torch.manual_seed(0)
    module, values = ShotWeights(4), torch.rand(3, 4)
    found = module(values)
    assert found.sum(1).detach().numpy() == pytest.approx(1)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(module(values[:, order]), found[:, order])
    assert found.std() > 0 and torch.equal(ShotWeights(1)(values[:, :1]), torch.ones(3, 1))


def test_ensemble_by_hand():
    module = Ensemble()
    meta, base = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1), torch.tensor([0.6]).view(1, 1, 1, 1)
    assert module(meta, base, torch.tensor([0.2])).flatten().tolist() == pytest.approx([0.3, 0.7])         # its start
    module.trust.weight.data.copy_(torch.tensor([0.9, 0.5]).view(1, 2, 1, 1))
    module.known.weight.data.copy_(torch.tensor([0.8, 0.4]).view(1, 2, 1, 1))
    background, object_ = 0.9 * 0.3 + 0.5 * 0.2, 0.9 * 0.7 + 0.5 * 0.2
    found = module(meta, base, torch.tensor([0.2])).flatten().tolist()
    assert found == pytest.approx([0.8 * background + 0.4 * 0.6, object_])


def test_known_others_leave_out_the_asked_class_that_the_head_has_learned():
    P = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.1, 0.2, 0.3]]).view(2, 4, 1, 1)
    assert known_others(P, torch.tensor([0, 0])).flatten().tolist() == pytest.approx([0.9, 0.6])
    assert known_others(P, torch.tensor([3, 1])).flatten().tolist() == pytest.approx([0.5, 0.5])
