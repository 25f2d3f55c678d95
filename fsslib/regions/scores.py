"""What region maps know: their mean value on object and background, recall with its price (eq. 16), over episodes."""

from dataclasses import dataclass

import numpy as np

from ..metrics import percentiles, resamples

THRESHOLDS = tuple(round(0.1 * k, 1) for k in range(1, 10))              # Table 7


@dataclass(frozen=True)
class RegionScores:
    """One map over E episodes. ``queries``: E image ids · ``inside``, ``outside``: float64 (E,), mean value on the
    object and on the rest · ``curves``: dict of float64 (E,T) over ``THRESHOLDS``, see ``metrics.recall_curve``."""
    queries: tuple
    inside: np.ndarray
    outside: np.ndarray
    curves: dict

    def interval(self, values, level=0.95, seed=0):
        """(mean, low, high) of ``values`` (E,), bootstrapped over query images; NaN entries do not count."""
        _, group = np.unique(self.queries, return_inverse=True)
        known = np.isfinite(values)
        total = np.bincount(group, np.where(known, values, 0.0))
        count = np.bincount(group, known)
        times = resamples(len(total), seed)                # (R, Q)
        return float(total.sum() / count.sum()), *percentiles(times @ total / (times @ count), level)

    def share_above(self, threshold=0.5):
        """float64 (T,): share of episodes in which the region map > ``threshold`` has an IoU above each of
        ``THRESHOLDS``: the paper's sentence before eq. 16, another definition than the equation."""
        iou = self.curves["iou"][:, THRESHOLDS.index(threshold)]
        return np.array([(iou > t).mean() for t in THRESHOLDS])
