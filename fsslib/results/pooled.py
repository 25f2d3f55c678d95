"""Pooled scores: means over seeds and folds, and paired differences, with bootstrap intervals over query images."""

import numpy as np

from ..episodes.folds import FOLDS
from ..metrics import percentiles


class Pooled:
    """``scores``: dict (label, fold, seed) -> EpisodeScores.

    Every seed of a line is resampled with the same query images, so that differences of two lines are paired; each fold with
    draws of its own, so that means over folds are of independent ones.
    """

    def __init__(self, scores):
        self.lines = {}
        for (label, fold, seed), found in sorted(scores.items()):
            self.lines.setdefault((label, fold), {})[seed] = found
        self._spreads = {}

    def value(self, key):
        return float(np.mean([scores.miou() for scores in self.lines[key].values()]))

    def spread(self, key):
        """float64 (R,): the mean over a line's seeds in every resample."""
        if key not in self._spreads:
            self._spreads[key] = np.mean([scores.resampled(key[1])[0] for scores in self.lines[key].values()], 0)
        return self._spreads[key]

    def means(self):
        """The mean over its seeds of every line and fold; as fold -1 the mean over the four folds, where all are there."""
        found = []
        for (label, fold), seeds in self.lines.items():
            own = np.mean([scores.resampled()[0] for scores in seeds.values()], 0)         # as in each single result
            found.append({"label": label, "fold": fold, "miou": percent(self.value((label, fold))), "interval": _interval(own),
                          "seeds": {str(seed): percent(scores.miou()) for seed, scores in seeds.items()}})
        for label in dict.fromkeys(label for label, _ in self.lines):
            keys = [(label, fold) for fold in range(FOLDS)]
            if all(key in self.lines for key in keys):
                found.append({"label": label, "fold": -1, "miou": percent(np.mean([self.value(key) for key in keys])), "seeds": {},
                              "interval": _interval(np.mean([self.spread(key) for key in keys], 0))})
        return found

    def differences(self, pairs):
        """``label`` less ``minus`` of each pair on the same episodes, in points: fold by fold, and over the four as fold -1."""
        found = []
        for label, minus in pairs:
            folds = [fold for fold in range(FOLDS) if (label, fold) in self.lines and (minus, fold) in self.lines]
            for fold in folds:
                one, other = self.lines[label, fold], self.lines[minus, fold]
                _refuse_unpaired(one, other)
                found.append({"label": label, "minus": minus, "fold": fold,
                              "difference": percent(self.value((label, fold)) - self.value((minus, fold))),
                              "interval": _interval(self.spread((label, fold)) - self.spread((minus, fold))),
                              "seeds": [percent(one[s].miou() - other[s].miou()) for s in one if s in other]})
            if len(folds) == FOLDS:
                gaps = [self.value((label, fold)) - self.value((minus, fold)) for fold in folds]
                spreads = [self.spread((label, fold)) - self.spread((minus, fold)) for fold in folds]
                found.append({"label": label, "minus": minus, "fold": -1, "difference": percent(np.mean(gaps)), "seeds": [],
                              "interval": _interval(np.mean(spreads, 0))})
        return found


def _refuse_unpaired(one, other):
    next(iter(one.values())).difference(next(iter(other.values())))                         # InputError on other episodes


def percent(value):
    """In percent; None for NaN, a class that never occurred, since JSON has no NaN."""
    return None if np.isnan(value) else round(100 * float(value), 2)


def _interval(values):
    return [percent(v) for v in percentiles(values)]
