"""Region maps against loops in numpy: masks, shots, blocks, sizes, and the gradient of a maximum."""

import numpy as np
import pytest
import torch

from fsslib.regions import maps as regions
from fsslib.basics.errors import InputError
from fsslib.regions.maps import cosine_max_map, guided_region_map, normalised, prior_region_map


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_loops(query, key, mask=None):
    """(B,h,w), one cosine at a time."""
    query, key = query.numpy().astype(np.float64), key.numpy().astype(np.float64)
    B, _, h, w = query.shape
    out = np.zeros((B, h, w))
    for b in range(B):
        for y in range(h):
            for x in range(w):
                best, q = -2, query[b, :, y, x]
                for v in range(key.shape[2]):
                    for u in range(key.shape[3]):
                        k = key[b, :, v, u] * (1 if mask is None else float(mask[b, v, u]))
                        best = max(best, q @ k / (np.linalg.norm(q) * np.linalg.norm(k) + 1e-7))
                out[b, y, x] = best
    return out


def scaled(maps):
    return np.stack([(m - m.min()) / (m.max() - m.min() + 1e-7) for m in maps])


@pytest.mark.parametrize("shape", [(5, 4), (7, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_best_cosine(shape, masked):
    query, key = features(2, 6, 4, 5), features(2, 6, *shape, seed=1)
    mask = (features(2, *shape, seed=2) > 0).float() * 0.7 if masked else None
    np.testing.assert_allclose(cosine_max_map(query, key, mask).numpy(), by_loops(query, key, mask), atol=1e-5)


def test_masked_out_positions_count_as_zero():
    """Two directions, the query between them: without a mask the nearer wins, with it 0 beats a negative cosine."""
    query = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    key = torch.tensor([[0.6, -1.0], [0.8, 0.0]]).reshape(1, 2, 1, 2)
    assert cosine_max_map(query, key).item() == pytest.approx(0.6)
    assert cosine_max_map(query, key, torch.tensor([[[0.0, 1.0]]])).item() == 0
    assert cosine_max_map(query, key, torch.zeros(1, 1, 2)).item() == 0


@pytest.mark.parametrize("budget", [1, 60, 61, 2 ** 24])
def test_blocks_change_nothing(monkeypatch, budget):
    query, key = features(2, 6, 5, 3), features(2, 6, 4, 7, seed=1)
    whole = cosine_max_map(query, key)
    monkeypatch.setattr(regions, "BUDGET", budget)
    assert torch.equal(cosine_max_map(query, key), whole)


def test_the_gradient_is_that_of_the_maximum():
    query, key = (t.double().requires_grad_() for t in (features(1, 3, 2, 2), features(1, 3, 2, 3, seed=1)))
    assert torch.autograd.gradcheck(cosine_max_map, (query, key))


def test_normalised_map_by_hand():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[4.0, 4.0], [4.0, 4.0]]])
    expected = torch.tensor([[[0, 0.25], [0.5, 1]], [[0, 0], [0, 0]]])
    torch.testing.assert_close(normalised(maps), expected, atol=1e-6, rtol=0)


def test_prior_region_map_and_its_size():
    query, prior = features(2, 6, 4, 5), features(2, 6, 3, 3, seed=1)
    found = prior_region_map(query, prior)
    assert found.shape == (2, 1, 4, 5)
    np.testing.assert_allclose(found[:, 0].numpy(), scaled(by_loops(query, prior)), atol=1e-5)
    assert prior_region_map(query, prior, (8, 9)).shape == (2, 1, 8, 9)


def test_a_network_against_itself_sees_everything():
    query = features(1, 6, 4, 4)
    np.testing.assert_allclose(cosine_max_map(query, query).numpy(), 1, atol=1e-6)


def test_guided_region_map_is_the_mean_of_normalised_shots():
    query, support = features(2, 6, 4, 5), features(2, 3, 6, 3, 3, seed=1)
    masks = torch.randint(0, 2, (2, 3, 3, 3), generator=torch.Generator().manual_seed(2))
    masks[masks == 0] = torch.where(torch.rand((masks == 0).sum(), generator=torch.Generator().manual_seed(3)) < 0.5,
                                    255, 0)                              # neither background nor void is the object
    expected = np.mean([scaled(by_loops(query, support[:, k], (masks[:, k] == 1).float())) for k in range(3)], axis=0)
    np.testing.assert_allclose(guided_region_map(query, support, masks)[:, 0].numpy(), expected, atol=1e-5)


def test_masks_are_resized_with_their_corners_aligned():
    """A mask of 5 columns, 1 1 0 0 0, under a map of 3: its columns lie at 0, 2 and 4, so only the first sees it."""
    mask = torch.tensor([[1, 1, 0, 0, 0]]).expand(5, -1)[None, None]
    query, support = features(1, 6, 2, 2), features(1, 1, 6, 3, 3, seed=1)
    expected = scaled(by_loops(query, support[:, 0], torch.tensor([[1.0, 0, 0]]).expand(3, -1)[None]))
    np.testing.assert_allclose(guided_region_map(query, support, mask)[:, 0].numpy(), expected, atol=1e-5)


def test_a_support_without_object_gives_zero():
    found = guided_region_map(features(1, 6, 4, 4), features(1, 1, 6, 4, 4, seed=1), torch.full((1, 1, 32, 32), 255))
    assert found.abs().max() == 0


def test_other_channels_are_refused():
    with pytest.raises(InputError, match=r"query of \(batch, channels\) \(1, 6\) and a key of \(1, 4\).*projection"):
        prior_region_map(features(1, 6, 2, 2), features(1, 4, 2, 2))


def test_the_gradient_is_finite_where_a_position_is_empty():
    """A projection ends in a ReLU and a dropout: a position may be 0 in every channel."""
    query, key = torch.rand(1, 3, 2, 2, requires_grad=True), torch.rand(1, 3, 2, 2)
    key[..., 0, 0] = 0
    key.requires_grad_()
    cosine_max_map(query * torch.tensor([[1.0, 0.0], [1.0, 1.0]]), key).sum().backward()
    assert query.grad.isfinite().all() and key.grad.isfinite().all() and query.grad.abs().sum() > 0
