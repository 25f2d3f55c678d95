"""What the query's own prior says of it: surely object, surely background, and what lies between."""

import torch

FOREGROUND, AMBIGUOUS, BACKGROUND = 0.7, (0.4, 0.55), 0.4      # of a map in 0..1
FALLBACK = 12                                # places, where none lies within the limits


def query_regions(prior):
    """``prior`` float (B,1,h,w) in 0..1 -> dict of bool (B,h,w): ``foreground`` above 0.7, ``ambiguous`` from 0.4 to 0.55, both
    excluded, ``background`` below 0.4. Where a map has no such place: its 12 highest, those of the 12 middle ranks, its 12 lowest."""
    p = prior.flatten(1)                                                                 # (B, n)
    n = p.shape[1]
    count, middle = min(FALLBACK, n), max(0, n // 2 - FALLBACK // 2)
    order = p.argsort(1, descending=True)
    found = {"foreground": (p > FOREGROUND, order[:, :count]),
             "ambiguous": ((p > AMBIGUOUS[0]) & (p < AMBIGUOUS[1]), order[:, middle:middle + count]),
             "background": (p < BACKGROUND, order[:, -count:])}
    return {name: torch.where(inside.any(1, keepdim=True), inside, torch.zeros_like(inside).scatter(1, places, True))
            .unflatten(1, prior.shape[2:]) for name, (inside, places) in found.items()}


def region_means(features, regions):
    """(B,C,h,w) and the regions -> dict name -> (B,C), the mean over each."""
    return {name: (features * inside[:, None]).sum((2, 3)) / inside.sum((1, 2))[:, None] for name, inside in regions.items()}
