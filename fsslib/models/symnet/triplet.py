"""The co-optimised hard triplet: a prototype close to the hardest place of its own object, far from the background.

Both sides are pulled by the same rule, the support's prototype by its mask, the query's by what its prior is unsure of. Vectors
are l2-normalised, distances are ||a - b + 1e-6||, the margin is 0.5.
"""

import torch
import torch.nn.functional as F

MARGIN = 0.5


def distance(a, b):
    """(...,C), (...,C) -> (...); as F.pairwise_distance, which adds 1e-6 to every difference."""
    return (a - b + 1e-6).norm(dim=-1)


def support_triplet(anchor, features, masks):
    """A scalar: max(0, 0.5 + max over the object's places of d(anchor, place) - d(anchor, mean of the background's places)), its mean
    over the images that show both, then over shots.

    ``anchor``: float (B,C), the support's prototype · ``features``: float (B,K,C,h,w) · ``masks``: (B,K,H,W), 1 object, 0
    background, resized to the nearest pixel. A shot without object or background everywhere gives 0.
    """
    places = F.normalize(features, dim=2).flatten(3).transpose(2, 3)                     # (B, K, n, C)
    anchor = F.normalize(anchor, dim=1)
    labels = F.interpolate(masks.float(), features.shape[-2:], mode="nearest").flatten(2)       # (B, K, n)
    found = []
    for k in range(masks.shape[1]):
        losses = []
        for a, x, label in zip(anchor, places[:, k], labels[:, k]):
            if (label == 1).any() and (label == 0).any():
                hardest = distance(a, x[label == 1]).max()
                losses.append(F.relu(MARGIN + hardest - distance(a, x[label == 0].mean(0))))
        found.append(torch.stack(losses).mean() if losses else features.new_zeros(()))
    return torch.stack(found).mean()


def query_triplet(anchor, ambiguous, background):
    """A scalar: the mean of max(0, 0.5 + d(anchor, ambiguous) - d(anchor, background)), (B,C) each."""
    a, p, n = (F.normalize(x, dim=1) for x in (anchor, ambiguous, background))
    return F.relu(MARGIN + distance(a, p) - distance(a, n)).mean()
