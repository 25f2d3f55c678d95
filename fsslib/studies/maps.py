"""What prior and guided region maps know, for several prior extractors (section 4.3, eq. 16, Table 7)."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from ..basics.machine import hardware, versions
from ..basics.storage import read_json, write_json
from ..datasets import open_dataset
from ..episodes.folds import novel_classes
from ..evaluation.maps import measure_maps
from ..evaluation.scoring import protocol_episodes
from ..models import build_model
from ..models.bank import ModelBank
from ..regions.scores import THRESHOLDS
from . import decoders, panet


@dataclass(frozen=True)
class Run:
    """One prior extractor: ``random``, ``imagenet`` or a name of ``decoders.EXTRACTORS``."""
    extractor: str
    fold: int = 0
    shots: int = 1

    @property
    def name(self):
        return f"{self.extractor}-fold{self.fold}-{self.shots}shot"


SETTINGS = {"maps_voc": "qgnet_voc", "maps_shapes": "qgnet_shapes"}


def runs(name):
    """Every Run of the study."""
    contrastive = {"maps_voc": ("global", "local", "both", "felzenszwalb"), "maps_shapes": ("global",)}[name]
    return [Run(extractor) for extractor in ("random", "imagenet", *contrastive)]


def perform(name, row, out, _=None):
    """Measures the maps of one extractor and writes its result.json; nothing is trained."""
    settings = decoders.SETTINGS[SETTINGS[name]]
    dataset = open_dataset(settings.dataset, split="val")
    episodes = protocol_episodes(dataset, novel_classes(settings.dataset, row.fold), row.shots, "pfenet",
                                 episodes=settings.episodes)
    torch.manual_seed(0)
    model = build_model("qgnet", settings.backbone, panet.default_weights(settings.backbone), width=8,
                        extractor=decoders.extractor(settings.extractors, row.extractor, out.parent))
    bank = ModelBank(model, dataset, settings.size, "pad", dtype="float16")
    scores = measure_maps(model, episodes, settings.size, bank)
    write_json(out / row.name / "result.json", {
        **asdict(row), "versions": versions(), "hardware": hardware(), "episodes": len(episodes),
        "episodes_digest": episodes.digest, "maps": {map_name: summary(s) for map_name, s in scores.items()}})


def summary(scores):
    """Plain values of a RegionScores, in percent: means with intervals, and curves over the thresholds."""
    def percent(values):
        return [round(100 * v, 2) for v in scores.interval(values)]
    return {"inside": percent(scores.inside), "outside": percent(scores.outside),
            "gap": percent(scores.inside - scores.outside),
            **{name: [percent(column) for column in curve.T] for name, curve in scores.curves.items()},
            "share_above": np.round(100 * scores.share_above(), 2).tolist()}


def tabulate(name, out, results):
    """Collects the finished runs into ``results/NAME.json``; the guided map, the same for all, is stored once."""
    found = {row: read_json(out / row.name / "result.json") for row in runs(name)
             if (out / row.name / "result.json").exists()}
    rows = [{"extractor": row.extractor, "fold": row.fold, "shots": row.shots, "map": map_name, **values}
            for at, (row, result) in enumerate(found.items()) for map_name, values in result["maps"].items()
            if map_name != "guided" or at == 0]
    table = {"command": f"fsslib results run {name}", "study": name, "thresholds": THRESHOLDS, "rows": rows,
             "not_run": [row.name for row in runs(name) if row not in found]}
    first = next(iter(found.values()), {})
    table |= {k: first.get(k) for k in ("episodes", "episodes_digest", "versions", "hardware")}
    write_json(results / f"{name}.json", table)
    return results / f"{name}.json"
