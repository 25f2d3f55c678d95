"""What region maps know, measured over episodes: nothing is trained on masks for it (section 4.3, Table 7)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from ..basics.machine import hardware, versions
from ..basics.storage import writable_folder, write_json
from ..episodes.batches import EpisodeTensors
from ..metrics import recall_curve
from ..models.bank import ModelBank
from ..regions.scores import THRESHOLDS, RegionScores


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


def evaluate_maps(model, episodes, size, bank=None, out=None, about=None):
    """Measures a model's region maps on an EpisodeList; returns the result and writes it as ``out/result.json``.

    Arguments as in ``measure_maps`` and ``evaluate``. ``maps``: dict name -> values in percent, each (mean, low, high) with a
    95 % interval: ``inside``, ``outside``, ``gap`` and, over ``THRESHOLDS``, the curves; ``share_above`` without one.
    """
    if out is not None:                      # before the work, not after it
        writable_folder(out, "Give another --out.")
    scores = measure_maps(model, episodes, size, bank)
    about = about or {}
    result = {"command": about.get("command"), "config": {**model.architecture, "dataset": episodes.dataset.name, "size": size},
              "versions": versions(), "hardware": hardware(), "episodes": len(episodes), "episodes_digest": episodes.digest,
              "digests": {"job": about.get("job"), "data": episodes.dataset.digest, "episodes": episodes.digest},
              "thresholds": THRESHOLDS, "maps": {name: _summary(values) for name, values in scores.items()}}
    if out is not None:
        write_json(Path(out) / "result.json", result)
    return result


def _summary(scores):
    def percent(values):
        return [round(100 * v, 2) for v in scores.interval(values)]
    return {"inside": percent(scores.inside), "outside": percent(scores.outside),
            "gap": percent(scores.inside - scores.outside),
            **{name: [percent(column) for column in curve.T] for name, curve in scores.curves.items()},
            "share_above": np.round(100 * scores.share_above(), 2).tolist()}
