"""Pooled scores of the decoders' studies: means over seeds and folds, and paired differences, with intervals."""

from dataclasses import asdict, replace

import numpy as np

from ..episodes.folds import FOLDS
from ..metrics import EpisodeScores, percentiles
from ..results.decoders import PAIRS, SYSTEMS


def grouped(found):
    """dict Run with seed 0 -> (mean mIoU over its seeds, resampled means, mIoU of each seed, interval).

    Every seed is resampled with the same query images, so that differences of two settings are paired; each fold with
    draws of its own, so that means over folds are of independent ones.
    """
    groups = {}
    for row, result in found.items():
        groups.setdefault(replace(row, seed=0), {})[row.seed] = result
    pooled = {}
    for row, seeds in groups.items():
        scores = [EpisodeScores.from_dict(result["scores"]) for result in seeds.values()]
        pooled[row] = (np.mean([s.miou() for s in scores]), np.mean([s.resampled(row.fold)[0] for s in scores], 0),
                       {str(seed): result["miou"] for seed, result in seeds.items()},
                       _interval(np.mean([s.resampled()[0] for s in scores], 0)))       # as in each single result
    return pooled


def _interval(values):
    return [round(100 * float(v), 2) for v in percentiles(values)]


def means(groups, settings):
    """The mean over its seeds of each setting; fold -1: the mean over the four folds of each system."""
    rows = [{**asdict(row), "miou": round(100 * float(value), 2), "interval": interval, "seeds": seeds}
             for row, (value, _, seeds, interval) in groups.items()]
    for model in SYSTEMS:
        for shots in (1, 5):
            folds = [groups.get(settings.system(model, fold, shots)) for fold in range(FOLDS)]
            if all(folds):
                rows.append({**asdict(settings.system(model, 0, shots)), "fold": -1, "seeds": {},
                             "miou": round(100 * float(np.mean([value for value, *_ in folds])), 2),
                             "interval": _interval(np.mean([spread for _, spread, *_ in folds], 0))})
    return rows


def differences(groups, settings):
    """Paired differences in mIoU points on the same episodes, mean over seeds, with 95 % intervals, and seed by seed.

    ``kind`` ``"systems"``: ``one`` against ``other``, fold by fold, and over the four as fold -1; ``"ablation"``: every
    other decoder of the ablation's fold against QGNet as it stands.
    """
    rows = []
    for one, other in PAIRS:
        for shots in (1, 5):
            pairs = [[groups.get(settings.system(model, fold, shots)) for model in (one, other)] for fold in range(FOLDS)]
            kind = {"kind": "systems", "one": one, "other": other, "shots": shots}
            rows += [{**kind, "fold": fold, **_gap(*pair)} for fold, pair in enumerate(pairs) if all(pair)]
            if all(map(all, pairs)):
                gaps = [(a[0] - b[0], a[1] - b[1]) for a, b in pairs]
                rows.append({**kind, "fold": -1, "seeds": [],
                             "difference": round(100 * float(np.mean([gap for gap, _ in gaps])), 2),
                             "interval": _interval(np.mean([spread for _, spread in gaps], 0))})
    reference = settings.system("qgnet", settings.ablation, 1) if settings.ablation >= 0 else None
    if reference in groups:
        rows += [{"kind": "ablation", **asdict(row), **_gap(group, groups[reference])}
                 for row, group in groups.items() if row != reference and not row.model.startswith("panet")
                 and (row.fold, row.shots) == (reference.fold, 1)]
    return rows


def _gap(one, other):
    (a, a_spread, a_seeds, _), (b, b_spread, b_seeds, _) = one, other
    return {"difference": round(100 * float(a - b), 2), "interval": _interval(a_spread - b_spread),
            "seeds": [round(a_seeds[s] - b_seeds[s], 2) for s in a_seeds if s in b_seeds]}
