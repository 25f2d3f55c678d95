"""PANet's comparison: training-free against trained, with and without PAR, shots, ways, weak annotations."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from ..basics.checkpoints import fill, load_checkpoint
from ..basics.storage import data_dir, read_json, write_json
from ..datasets import open_dataset
from ..episodes.annotations import annotator
from ..episodes.folds import FOLDS, base_classes, novel_classes
from ..episodes.protocols import get_protocol
from ..evaluation.scoring import evaluate, protocol_episodes
from ..metrics import EpisodeScores
from ..models import architecture, build_model
from ..models.bank import ModelBank
from ..training import TrainingConfig, fit


@dataclass(frozen=True)
class Run:
    """One row of the table. ``training``: ``"free"`` (ImageNet features as they are), ``"par"`` or ``"plain"``."""
    backbone: str
    size: int
    fold: int
    shots: int = 1
    ways: int = 1
    protocol: str = "pfenet"
    annotation: str = "mask"
    training: str = "free"
    seed: int = 0

    @property
    def name(self):
        return "-".join(str(v) for v in (self.backbone, self.training, f"fold{self.fold}", f"{self.shots}shot",
                                         f"{self.ways}way", self.protocol, self.annotation, f"seed{self.seed}"))


@dataclass(frozen=True)
class Settings:
    """``sizes``: input px of each training-free backbone · ``episodes``: a run of each protocol."""
    dataset: str
    sizes: dict
    episodes: int
    training: TrainingConfig
    trained: str = "efficientnet_lite0"


SETTINGS = {
    "panet_voc": Settings("voc", {"efficientnet_lite0": 225, "vgg16": 417}, 1000, TrainingConfig(
        steps=60, batch=2, size=225, lr=2e-4, schedule="poly", validate_every=20, validation_episodes=50)),
    "panet_shapes": Settings("shapes", {"efficientnet_lite0": 161}, 500, TrainingConfig(
        steps=60, batch=2, size=161, lr=1e-3, schedule="poly", validate_every=20, validation_episodes=50)),
}


def runs(name):
    """Every Run of the study, the cheap and central ones first."""
    settings, folds, rows = SETTINGS[name], range(FOLDS), []
    for backbone, size in settings.sizes.items():
        free = [Run(backbone, size, fold) for fold in folds]
        rows += [replace(r, shots=k) for k in (1, 5) for r in free]
        if backbone == settings.trained:
            rows += [replace(r, training=t, shots=k) for r in free for t, k in (("par", 1), ("par", 5), ("plain", 1))]
            rows += [replace(r, annotation=a) for a in ("scribble", "box") for r in free]
            rows += [replace(r, ways=2) for r in free]
            rows += [replace(r, training="plain", shots=5) for r in free]
        rows += [replace(r, protocol="panet") for r in free]
    return rows


def perform(name, row, out, bank=None):
    """Trains and scores one row under ``out``. Returns the feature bank; the next row takes it over if nothing in it
    changes."""
    settings, rules = SETTINGS[name], get_protocol(row.protocol)
    dataset = open_dataset(settings.dataset, split=rules.split)
    model = _model(row, settings, out)
    if bank is None or (bank.digests, bank.protocol) != ([model.encoders[0].digest], row.protocol):
        if bank:
            bank.close()
        bank = ModelBank(model, dataset, row.size, rules.resize, keep=row.training == "free", dtype="float16")
        bank.protocol = row.protocol
    classes = novel_classes(settings.dataset, row.fold)
    episodes = protocol_episodes(dataset, classes, row.shots, row.protocol, row.ways,
                                 settings.episodes // len(rules.seeds))
    evaluate(model, episodes, classes, row.protocol, row.size, annotator(row.annotation), bank, out / row.name,
             fold=row.fold, training=row.training, annotation=row.annotation, seed=row.seed)
    return bank


def _model(row, settings, out):
    weights = default_weights(row.backbone)
    if row.training == "free":
        return build_model("panet", row.backbone, weights)
    model = build_model("panet", row.backbone, weights, align=row.training == "par")
    config = replace(settings.training, seed=row.seed)
    folder = out / f"train-{row.backbone}-{row.training}-fold{row.fold}-seed{row.seed}"
    checkpoint = folder / "checkpoint.pt"
    if not checkpoint.exists() or load_checkpoint(checkpoint, model.architecture)["step"] < config.steps:
        dataset = open_dataset(settings.dataset, split="train")
        fit(model, dataset, base_classes(settings.dataset, row.fold), config, folder, resume=True)
    fill(checkpoint, load_checkpoint(checkpoint, model.architecture), model)
    return model


def default_weights(backbone):
    """The weights file beside the data, if there is one (``$FSSLIB_DATA/weights``), else ``"imagenet"``."""
    path = data_dir() / "weights" / f"{backbone}_imagenet.safetensors"
    return path if path.exists() else "imagenet"


def tabulate(name, out, results):
    """Collects the finished runs into ``results/NAME.json``: rows without episodes, paired differences, curves."""
    settings = SETTINGS[name]
    found = {row: read_json(out / row.name / "result.json") for row in runs(name)
             if (out / row.name / "result.json").exists()}
    rows = [{**asdict(row), **{k: result[k] for k in (
        "miou", "fb_iou", "intervals", "per_class", "prototype_distance", "seconds", "episodes_per_second")},
        "images": result["config"]["split"], "episodes": result["config"]["episodes"],
        "episodes_digest": result["digests"]["episodes"]} for row, result in found.items()]
    table = {"command": f"fsslib results run {name}", "study": name, "training": asdict(settings.training),
             "rows": rows, "not_run": [row.name for row in runs(name) if row not in found],
             "means": _means(found), "differences": _differences(found), "curves": _curves(runs(name), out)}
    first = next(iter(found.values()), {})
    table |= {k: first.get(k) for k in ("versions", "hardware")}
    write_json(results / f"{name}.json", table)
    return results / f"{name}.json"


def _means(found):
    """Mean over the four folds of each setting that has all four, with the interval of the mean."""
    means = []
    for row in found:
        parts = [found.get(replace(row, fold=f)) for f in range(FOLDS)]
        if row.fold == 0 and all(parts):
            spread = np.mean([EpisodeScores.from_dict(p["scores"]).resampled(seed)[0]
                              for seed, p in enumerate(parts)], axis=0)
            means.append({**asdict(replace(row, fold=-1)), "miou": round(float(np.mean([p["miou"] for p in parts])), 2),
                          "interval": [round(100 * float(v), 2) for v in np.percentile(spread, [2.5, 97.5])]})
    return means


PAIRS = (("training", "par", "free"), ("training", "plain", "free"), ("training", "par", "plain"),
         ("annotation", "scribble", "mask"), ("annotation", "box", "mask"))


def _differences(found):
    """Paired differences in mIoU points on the same episodes, with 95 % intervals."""
    differences = []
    for column, one, other in PAIRS:
        for row, result in found.items():
            against = found.get(replace(row, **{column: other}))
            if getattr(row, column) == one and against:
                gap, interval = EpisodeScores.from_dict(result["scores"]).difference(
                    EpisodeScores.from_dict(against["scores"]))
                differences.append({**asdict(row), "against": other, "difference": round(100 * gap, 2),
                                    "interval": [round(100 * v, 2) for v in interval]})
    return differences


def _curves(rows, out):
    """Validation on held-out base-class images while training: steps, mIoU, prototype distance."""
    curves = []
    for row in rows:
        path = out / f"train-{row.backbone}-{row.training}-fold{row.fold}-seed{row.seed}" / "checkpoint.pt"
        if row.training != "free" and row.shots == 1 and path.exists():
            trained = architecture("panet", row.backbone, align=row.training == "par")
            log = [r for r in load_checkpoint(path, trained)["rows"] if "val_miou" in r]
            curves.append({"training": row.training, "fold": row.fold, "seed": row.seed,
                           "step": [r["step"] for r in log], "val_miou": [r["val_miou"] for r in log],
                           "val_distance": [r["val_distance"] for r in log]})
    return curves
