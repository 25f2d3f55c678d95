"""What region maps know, measured over episodes: nothing is trained on masks for it (section 4.3, Table 7)."""

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

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
