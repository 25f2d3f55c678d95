"""Prototypes: one vector for a class, averaged over the pixels of a mask."""

import torch
import torch.nn.functional as F


def upsampling_matrix(low, high, like):
    """(high, low) matrix A of 1-D bilinear upsampling, align_corners=False: high-resolution = A @ low-resolution."""
    unit = torch.eye(low, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(unit, high, mode="linear", align_corners=False)[0].T


def lower(masks, shape):
    """The adjoint of bilinear upsampling, applied to masks: (...,H,W) -> weights (...,h,w) for ``shape`` (h, w).

    PANet upsamples C feature maps to the mask's size and sums them under the mask. That sum is linear, so
    sum_p m(p) (A f)(p) = sum_p' (A^T m)(p') f(p'): resizing one mask instead of C = 512 maps gives the same number.
    """
    down_y = upsampling_matrix(shape[0], masks.shape[-2], masks).T         # (h, H)
    down_x = upsampling_matrix(shape[1], masks.shape[-1], masks)           # (W, w)
    return down_y @ masks @ down_x


def masked_average(features, weights, epsilon=1e-5):
    """Masked average pooling (PANet eq. 1): (...,C,h,w), (...,h,w) -> (...,C).

    sum(features * weights) / (sum(weights) + epsilon); an empty mask gives 0. PANet's epsilon is 1e-5, PFENet's 5e-4.
    """
    total = torch.einsum("...chw,...hw->...c", features, weights)
    return total / (weights.sum((-2, -1))[..., None] + epsilon)
