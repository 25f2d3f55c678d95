"""Pooling with the adjoint against pooling of upsampled features, as PANet's code does it."""

import pytest
import torch
import torch.nn.functional as F

from fsslib.models.prototypes import lower, masked_average, upsampling_matrix


@pytest.mark.parametrize("shape, size", [((29, 29), (225, 225)), ((7, 9), (40, 31)), ((5, 5), (5, 5)),
                                         ((6, 4), (13, 16)),
                                         ((12, 12), (7, 9))])
def test_lowered_masks_give_the_same_prototypes_and_gradients(shape, size):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    masks = (torch.rand(2, *size) < 0.3).double()
    found = masked_average(features, lower(masks, shape))
    large = F.interpolate(features, size, mode="bilinear", align_corners=False)
    expected = (large * masks[:, None]).sum((2, 3)) / (masks.sum((1, 2))[:, None] + 1e-5)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    towards = torch.randn_like(expected)
    gradients = [torch.autograd.grad(value, features, towards, retain_graph=True)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-10, rtol=0)


def test_lowering_keeps_the_sum_of_a_mask():
    masks = (torch.rand(3, 2, 50, 61, generator=torch.Generator().manual_seed(0)) < 0.5).double()
    torch.testing.assert_close(lower(masks, (7, 8)).sum((-2, -1)), masks.sum((-2, -1)))


def test_matrix_by_hand():
    """2 -> 4 positions at half-pixel centres: -0.25 (held at 0), 0.25, 0.75, 1.25 (held at 1)."""
    expected = torch.tensor([[1, 0], [.75, .25], [.25, .75], [0, 1]], dtype=torch.float64)
    torch.testing.assert_close(upsampling_matrix(2, 4, expected), expected)


def test_an_empty_mask_gives_zero():
    assert not masked_average(torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4)).any()


def test_average_by_hand():
    features = torch.tensor([[[1., 2.], [3., 4.]]])                  # one channel
    weights = torch.tensor([[1., 0.], [0., 3.]])
    assert masked_average(features, weights, 0.0).item() == pytest.approx((1 + 12) / 4)
    assert masked_average(features, weights, 1.0).item() == pytest.approx(13 / 5)
