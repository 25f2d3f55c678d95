"""The base learner's part in the answer: what is a known other thing is not the object (Lang et al., BAM, CVPR 2022).

A head of known things (``models.known``) segments the base classes; the *ensemble* adds their probabilities to the background. How
far the pictures are apart tells how much to trust the few-shot answer. Two mixings of two numbers each, that is all it learns.
"""

import torch
from torch import nn

EPSILON = 1e-7


class Ensemble(nn.Module):
    """Starts as the few-shot answer alone: both mixings have the weights 1 and 0."""

    def __init__(self):
        super().__init__()
        self.trust, self.known = (nn.Conv2d(2, 1, 1, bias=False) for _ in range(2))
        for mixing in (self.trust, self.known):
            mixing.weight.data.copy_(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))

    def forward(self, meta, base, difference):
        """``meta`` (B,2,h,w), probabilities of background and object · ``base`` (B,1,h,w), the sum of the known other things'
        probabilities · ``difference`` (B,), of the scenes -> (B,2,h,w), which goes into cross-entropy as it is."""
        apart = difference[:, None, None, None].expand_as(base)
        background, object_ = (self.trust(torch.cat([meta[:, n:n + 1], apart], 1)) for n in (0, 1))
        return torch.cat([self.known(torch.cat([background, base], 1)), object_], 1)


def known_others(probabilities, position):
    """``probabilities`` (B,1+n,h,w) of a head, channel 0 nothing known -> (B,1,h,w): the sum of the rest, without the asked class
    where the head has learned it, as in training; ``position`` (B,): its channel, 0 where it has not."""
    found = probabilities[:, 1:].sum(1)
    own = probabilities[torch.arange(len(position), device=position.device), position]       # (B, h, w)
    return (found - own * (position > 0)[:, None, None])[:, None]


def gram(features):
    """(...,C,h,w) -> (...,C,C): cosines between the channels, each a vector over all places."""
    x = features.flatten(-2)
    length = x.norm(dim=-1)
    return x @ x.transpose(-1, -2) / (length[..., :, None] * length[..., None, :] + EPSILON)


def scene_difference(query, support):
    """``query`` (B,C,h,w), ``support`` (B,K,C,h,w), low-level features -> (B,K): ||G_q - G_s||_F / ||1||_F, 0 for equal pictures."""
    return (gram(query)[:, None] - gram(support)).norm(dim=(-2, -1)) / query.shape[1]
