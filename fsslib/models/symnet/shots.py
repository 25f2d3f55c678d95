"""How much each shot is worth, told by how far its picture is from the query's (BAM's)."""

import torch
from torch import nn


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
