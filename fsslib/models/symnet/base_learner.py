"""The base learner's part in the answer: what is a known other thing is not the object (Lang et al., BAM, CVPR 2022).

A head of known things (``models.known``) segments the base classes; the *ensemble* adds their probabilities to the background. How
far the pictures are apart tells how much to trust the few-shot answer. Two mixings of two numbers each, that is all it learns.
"""

import torch
from torch import nn


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


def known_others(probabilities, position=None):
    """``probabilities`` (B,1+n,h,w) of a head, channel 0 nothing known -> (B,1,h,w): the sum of the rest, in training without the
    asked class, whose ``position`` (B,) among 1..n is given."""
    found = probabilities[:, 1:].sum(1, keepdim=True)
    if position is None:
        return found
    own = position[:, None, None, None].expand(-1, 1, *probabilities.shape[2:])
    return found - probabilities.gather(1, own)
