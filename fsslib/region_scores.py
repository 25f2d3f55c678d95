"""What region maps know: their mean value on object and background, recall with its price (eq. 16), over episodes."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from .bank import ModelBank
from .batches import EpisodeTensors
from .metrics import percentiles, recall_curve, resamples

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


@torch.no_grad()
def measure_maps(model, episodes, size, bank=None, progress=True):
    """dict name -> RegionScores of every map of a PFENet or QGNet (trained or not), and of ``"1 - prior"``.

    ``episodes``: EpisodeList of one way · ``size``: input px, padded as PFENet's protocol · ``bank``: ModelBank.
    Maps are enlarged to the input; padding and unlabelled pixels do not count.
    """
    with bank or ModelBank(model.eval(), episodes.dataset, size, "pad", keep=False) as features:
        features.fill([e.query for e in episodes], [j for e in episodes for j in e.support[0]], progress=progress)
        data, found = EpisodeTensors(episodes, size, "pad", bank=features), {}
        for batch in tqdm((data[i] for i in range(len(data))), "maps", len(data), disable=not progress):
            support, query = model.features(batch)
            maps = model.region_maps(support, query, batch.support_masks[:, 0])
            if "prior" in maps:
                maps["1 - prior"] = 1 - maps["prior"]
            truth = batch.query_masks[0].numpy()
            for name, values in maps.items():
                large = F.interpolate(values, truth.shape, mode="bilinear", align_corners=True)[0, 0].numpy()
                found.setdefault(name, []).append((large[truth == 1].mean(), large[truth == 0].mean(),
                                                   recall_curve(large, truth, THRESHOLDS)))
    queries = tuple(episodes.dataset.ids[e.query] for e in episodes)
    return {name: RegionScores(queries, np.array([inside for inside, _, _ in rows]),
                               np.array([outside for _, outside, _ in rows]),
                               {key: np.array([curve[key] for _, _, curve in rows]) for key in rows[0][2]})
            for name, rows in found.items()}
