"""How far apart two pictures are, told by which channels answer together; and how much each shot is then worth (BAM's)."""

import torch
from torch import nn

EPSILON = 1e-7


def gram(features):
    """(...,C,h,w) -> (...,C,C): cosines between the channels, each a vector over all places."""
    x = features.flatten(-2)
    length = x.norm(dim=-1)
    return x @ x.transpose(-1, -2) / (length[..., :, None] * length[..., None, :] + EPSILON)


def scene_difference(query, support):
    """``query`` (B,C,h,w), ``support`` (B,K,C,h,w), low-level features -> (B,K): ||G_q - G_s||_F / ||1||_F, 0 for equal pictures."""
    return (gram(query)[:, None] - gram(support)).norm(dim=(-2, -1)) / query.shape[1]


class ShotWeights(nn.Module):
    """K differences -> K weights that sum to 1. They are sorted first, so that the order of the shots does not matter: K -> 2 -> K
    by 1x1 convolutions with a ReLU between, unsorted, softmax. One shot has the weight 1."""

    def __init__(self, shots):
        super().__init__()
        self.mix = nn.Sequential(nn.Conv1d(shots, 2, 1), nn.ReLU(), nn.Conv1d(2, shots, 1)) if shots > 1 else None

    def forward(self, differences):
        """(B,K) -> (B,K)."""
        if self.mix is None:
            return torch.ones_like(differences)
        ordered, order = differences.sort(1)
        return self.mix(ordered[..., None])[..., 0].gather(1, order.argsort(1)).softmax(1)
