"""The prior extractor's comparison: which loss, which patches, which start; judged by the probe (Tables 5 and 6)."""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from ..basics.machine import hardware, versions
from ..basics.storage import read_json, write_json
from ..contrast.pretraining import PretrainConfig, dilated, pretrain, probe_of
from ..contrast.probe import probe_summary
from ..datasets import open_dataset
from ..episodes.folds import FOLDS, base_classes
from ..metrics import EpisodeScores
from ..models.backbones import build_backbone
from .panet import default_weights


@dataclass(frozen=True)
class Run:
    """One extractor. ``start``: ``"imagenet"`` or ``"random"`` · ``loss``: ``"none"`` (the start as it is),
    ``"global"``, ``"local"`` or ``"both"`` · ``patches``: of the local loss · ``lr``: 0.03 is MoCo's ·
    ``batch_norm``: ``"train"``, or ``"eval"`` for the start's own statistics, frozen · ``half``: half of the epochs."""
    start: str
    loss: str
    patches: str = "slic"
    backbone: str = "efficientnet_lite0"
    seed: int = 0
    lr: float = 0.03
    batch_norm: str = "train"
    half: bool = False

    @property
    def name(self):
        rate = "" if self.lr == Run.lr else f"-lr{self.lr:g}"
        norm = "" if self.batch_norm == Run.batch_norm else "-frozenbn"
        half = "-half" if self.half else ""
        return f"{self.backbone}-{self.start}-{self.loss}-{self.patches}{rate}{norm}{half}-seed{self.seed}"


RUNS = (Run("imagenet", "none"), Run("random", "none"),
        Run("imagenet", "both"), Run("imagenet", "both", "felzenszwalb"), Run("imagenet", "global"),
        Run("imagenet", "local"), Run("random", "both"), Run("imagenet", "both", lr=0.003),
        *(Run("imagenet", loss, patches, batch_norm="eval") for loss, patches in (
            ("both", "slic"), ("both", "felzenszwalb"), ("global", "slic"), ("local", "slic"))))

SETTINGS = {"contrast_voc": ("voc", PretrainConfig(epochs=6, probe_every=3, probe_images=250)),
            "contrast_shapes": ("shapes", PretrainConfig(epochs=6, probe_every=3, probe_images=250)),
            "contrast_vgg": ("voc", PretrainConfig(epochs=10, batch=64, size=224, patch_size=112, probe_every=10, probe_images=250))}


def runs(name):
    """Every Run of the study; but for lite0 on VOC the start and the one extractor that other studies need."""
    return {"contrast_shapes": (RUNS[0], Run("imagenet", "global", batch_norm="eval")),
            "contrast_vgg": (replace(RUNS[0], backbone="vgg16"), Run("imagenet", "both", backbone="vgg16", batch_norm="eval")),
            }.get(name, RUNS)


def perform(name, row, out, _=None):
    """Pretrains one extractor under ``out`` (resumed where it stopped) and probes it; writes its result.json."""
    (dataset_name, config), out = SETTINGS[name], out / row.name
    config = replace(config, seed=row.seed, lr=row.lr, epochs=config.epochs // (1 + row.half))
    if row.loss != "none":
        config = replace(config, loss=row.loss, patches=row.patches)
    dataset = open_dataset(dataset_name, split="train")
    torch.manual_seed(row.seed)
    encoder = build_backbone(row.backbone, default_weights(row.backbone) if row.start == "imagenet" else None, 32,
                             row.batch_norm)
    if row.loss != "none":
        pretrain(encoder, dataset, config, out, resume=True)
        return
    scores = probe_of(dataset, config).score(dilated(encoder))
    write_json(out / "result.json", {"config": asdict(config), "versions": versions(), "hardware": hardware(),
                                     "seconds": 0.0, "digests": {"digest": dataset.digest},
                                     "probe": probe_summary(scores), "rows": []})


def tabulate(name, out, results):
    """Collects the finished runs into ``results/NAME.json``: probes, paired differences, loss curves by epoch."""
    dataset_name, config = SETTINGS[name]
    found = {row: read_json(out / row.name / "result.json") for row in runs(name)
             if (out / row.name / "result.json").exists()}
    table = {"command": f"fsslib results run {name}", "study": name, "dataset": dataset_name,
             "training": asdict(config), "rows": [_line(row, result, dataset_name) for row, result in found.items()],
             "not_run": [row.name for row in runs(name) if row not in found], "differences": _differences(found)}
    first = next(iter(found.values()), {})
    table |= {k: first.get(k) for k in ("versions", "hardware")}
    write_json(results / f"{name}.json", table)
    return results / f"{name}.json"


def _line(row, result, dataset_name):
    probe = result["probe"]
    steps = [r for r in result["rows"] if "loss" in r]
    base = [np.mean([probe["per_class"][str(c)] for c in base_classes(dataset_name, fold)
                     if str(c) in probe["per_class"]]) for fold in range(FOLDS)]
    line = {**asdict(row), "name": row.name, **{k: probe[k] for k in ("accuracy", "interval", "per_class", "asked")},
            "base": [round(float(v), 2) for v in base],                     # a choice for fold f may rest on base[f]
            "probes": [[r["step"], round(r["probe"], 2)] for r in result["rows"] if "probe" in r]}
    if steps:
        epochs = result["config"]["epochs"]
        parts = [k for k in steps[0] if k in ("loss", "global", "local") or k.startswith("accuracy_")]
        line |= {"seconds": result["seconds"], "images": result["config"]["images"],
                 "queue": result["config"]["queue"], "steps": len(steps), "extractor": result["digests"]["extractor"],
                 "images_per_second": round(float(np.median([r["images_per_second"] for r in steps])), 2),
                 "curve": {part: [round(float(np.mean(v)), 4) for v in np.array_split([r[part] for r in steps], epochs)]
                           for part in parts}}
    return line


def _differences(found):
    """Paired differences of the probe in points, on the same patches, with 95 % intervals."""
    differences = []
    for row in found:
        start = replace(row, loss="none", patches="slic", lr=Run.lr, batch_norm="train")
        others = [start] if row.loss != "none" else []
        if row.loss != "none":
            others += [replace(row, lr=Run.lr), replace(row, batch_norm="train")]
        if row.loss == "both":
            others += [replace(row, loss="global"), replace(row, loss="local"), replace(row, patches="slic")]
        for other in others:
            if other in found and other != row:
                gap, interval = EpisodeScores.from_dict(found[row]["probe"]["scores"]).difference(
                    EpisodeScores.from_dict(found[other]["probe"]["scores"]))
                differences.append({"run": row.name, "against": other.name, "difference": round(100 * gap, 2),
                                    "interval": [round(100 * v, 2) for v in interval]})
    return differences
