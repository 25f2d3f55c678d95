"""TDC, top-down hyper-correlation: what one vector loses, kept as maps of similarity, one a block of the backbone.

Each block of layers 2, 3 and 4 compares its own query with its own support. Coarse layers know what, fine ones know where: the
maps of layer 4 and 3 meet first, layer 2 comes last. (Two-dimensional: the support's places are averaged away, not kept as in
HSNet's four dimensions.)
"""

import torch
from torch import nn

from ..fem import resized

EACH, WIDTH = 16, 48         # channels of a layer, and of the result


def correlation(query, support, masks):
    """float (B,h,w) from 0 up: the mean, over the object's places and the shots, of max(0, cos), both of one block.

    ``query``: float (B,C,h,w) · ``support``: float (B,K,C,h,w) · ``masks``: (B,K,H,W), 1 on the object. Only places that lie wholly
    on the object count; a shot without such a place gives 0. Features are divided by their norm + 1e-5.
    """
    whole = (resized((masks == 1).to(query.dtype), query.shape[-2:]) == 1).flatten(2)                       # (B, K, n)
    q = (query / (query.norm(dim=1, keepdim=True) + 1e-5)).flatten(2)                                        # (B, C, n)
    s = (support / (support.norm(dim=2, keepdim=True) + 1e-5)).flatten(3)                                    # (B, K, C, n)
    found = [[(x.T @ y[:, inside]).clamp_min(0).sum(1) / inside.sum().clamp_min(1) for y, inside in zip(shots, wholes)]
             for x, shots, wholes in zip(q, s, whole)]                                                       # B lists of K (n,)
    return torch.stack([torch.stack(maps).mean(0) for maps in found]).unflatten(1, query.shape[-2:])


class TopDown(nn.Module):
    """``counts``: number of maps of layer 2, layer 3, layer 4. Lists of maps -> float (B,48,h,w)."""

    def __init__(self, counts):
        super().__init__()
        self.squeeze = nn.ModuleList(nn.Conv2d(count, EACH, 1) for count in counts)
        self.coarse, self.fine = block(EACH), block(EACH)
        self.spread = nn.Conv2d(EACH, WIDTH, 3, padding=1)

    def forward(self, maps):
        """``maps``: three lists of (B,h,w), layer 2 first."""
        two, three, four = (squeeze(torch.stack(layer, 1)) for squeeze, layer in zip(self.squeeze, maps))
        return self.spread(self.fine(self.coarse(three + four) + two))


def block(width):
    """3x3 convolution, GroupNorm of one group, ReLU."""
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(1, width), nn.ReLU())
