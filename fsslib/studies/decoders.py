"""QGNet, PFENet and PANet on the same episodes; what each map, projection and prior extractor is worth (Tables 1, 5, 6)."""

import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from ..basics.checkpoints import fill, load_checkpoint
from ..basics.storage import read_json, write_json
from ..contrast.pretraining import save_extractor
from ..datasets import open_dataset
from ..episodes.folds import FOLDS, base_classes, novel_classes
from ..episodes.protocols import get_protocol
from ..evaluation.scoring import evaluate, protocol_episodes
from ..models import build_model
from ..models.backbones import build_backbone
from ..models.bank import ModelBank
from ..training import TrainingConfig, fit
from . import choices, contrast, panet
from .pooled import differences, grouped, means


@dataclass(frozen=True)
class Run:
    """One row. ``model``: ``qgnet``, ``pfenet``, ``blind`` (PFENet's decoder without maps, its prototype 0: it never sees
    the support), or PANet ``panet-free`` (no training) and ``panet-par`` ·
    ``extractor``: QGNet's, a name of ``EXTRACTORS``, ``random`` or ``imagenet``."""
    model: str
    fold: int
    shots: int = 1
    seed: int = 0
    guided: bool = True
    extractor: str = ""
    projection: str = "none"

    @property
    def training(self):
        """What names a training: everything but the shots of the test."""
        return "-".join((self.model, *([self.extractor] if self.extractor else []),
                         *([] if self.guided else ["noguided"]),
                         *([] if self.projection == "none" else [f"{self.projection}projection"]),
                         f"fold{self.fold}", f"seed{self.seed}"))

    @property
    def name(self):
        return f"{self.training}-{self.shots}shot"


@dataclass(frozen=True)
class Settings:
    """``seeds``, ``extractor``: of each fold; the extractor is the contrastive one with frozen batch norm whose probe is
    highest on the fold's base classes (column *base* of the extractors' study) · ``extractors``, ``panet``: studies
    that hold those runs, ``panet`` may be "" · ``projection``: of the main rows · ``extractor_backbone``: None if it is
    ``backbone`` · ``ablation``: the fold of a study of ablations, 1-shot; -1 for a study of systems ·
    ``bank``: False runs the networks for every image of every episode, which a GPU does faster than a disk reads ·
    ``models``: the decoders of the main rows · ``recipe``: of each fold, a name of ``choices.CHOICES``: its optimiser and
    its width go before ``training``'s and ``width``."""
    dataset: str
    size: int
    episodes: int
    width: int
    training: TrainingConfig
    seeds: dict
    extractor: tuple
    extractors: str
    panet: str
    ablation: int = -1
    backbone: str = "efficientnet_lite0"
    extractor_backbone: str = None
    projection: str = "none"
    drop_novel: bool = True
    bank: bool = True
    models: tuple = ("qgnet", "pfenet")
    recipe: tuple = ("shares",) * FOLDS

    def system(self, model, fold, shots):
        """The Run that stands for a system in the comparison."""
        if model != "qgnet":
            return Run(model, fold, shots, guided=model != "blind")
        return Run(model, fold, shots, extractor=self.extractor[fold], projection=self.projection)


RECIPE = dict(batch=8, optimizer="adamw", lr=0.002, weight_decay=0.02, schedule="poly", protocol="pfenet",
              validation_episodes=50)        # found by pilots in training images, asked again fold by fold: choices.py
FOREGROUND_WEIGHT = 2.0                      # likewise
SETTINGS = {
    "qgnet_voc": Settings("voc", 225, 1000, 64, TrainingConfig(**RECIPE, steps=500, size=225),
                          {0: (0, 1, 2), 1: (0,), 2: (0, 1, 2), 3: (0,)}, ("felzenszwalb", "global", "global", "global"),
                          "contrast_voc", "panet_voc"),
    "qgnet_shapes": Settings("shapes", 161, 500, 64, TrainingConfig(**RECIPE, steps=500, size=161),
                             {0: (0, 1, 2), 1: (0,), 2: (0,), 3: (0,)}, ("global",) * 4, "contrast_shapes",
                             "panet_shapes"),
    "qgnet_vgg": Settings("voc", 321, 1000, 64, TrainingConfig(**RECIPE, steps=500, size=321),
                          {0: (0,), 1: (0,), 2: (0,), 3: (0,)}, ("felzenszwalb", "global", "global", "global"),
                          "contrast_voc", "", backbone="vgg16", extractor_backbone="efficientnet_lite0",
                          projection="learned"),
}
SETTINGS |= {f"qgnet_vgg{size}": replace(                                                   # for a GPU
    SETTINGS["qgnet_vgg"], size=size, training=TrainingConfig(**RECIPE, steps=500, size=size), extractor=("vgg",) * 4,
    extractors="contrast_vgg", extractor_backbone=None, projection="none", bank=False) for size in (321, 473)}
SETTINGS["ablation_voc"] = replace(SETTINGS["qgnet_voc"], panet="", ablation=0)
SETTINGS["chosen_voc"] = replace(SETTINGS["qgnet_voc"], recipe=("wide", "wide", "faster", "shares"))     # by choices_voc
SETTINGS |= {f"blind_{name}": replace(SETTINGS[f"qgnet_{name}"], panet="", models=("pfenet", "blind"),
                                      seeds={fold: (0,) for fold in range(FOLDS)}) for name in ("voc", "shapes")}

EXTRACTORS = {name: contrast.Run("imagenet", loss, patches, batch_norm="eval") for name, loss, patches in (
    ("both", "both", "slic"), ("felzenszwalb", "both", "felzenszwalb"), ("global", "global", "slic"), ("local", "local", "slic"))}
EXTRACTORS["vgg"] = replace(EXTRACTORS["both"], backbone="vgg16")
EXTRACTORS["half"] = replace(EXTRACTORS["felzenszwalb"], half=True)                       # Table 5


def runs(name):
    """Every Run of the study."""
    settings = SETTINGS[name]
    if settings.ablation >= 0:
        return [row for seed in settings.seeds[settings.ablation] for row in _ablations(settings, seed)]
    rows = [replace(settings.system(model, fold, shots), seed=seed)
            for seed in range(3) for fold in range(FOLDS) if seed in settings.seeds[fold]
            for model in settings.models for shots in (1, 5)]
    if settings.panet:
        rows += [Run(model, fold, shots, seed) for model in ("panet-free", "panet-par") for shots in (1, 5) for fold in range(FOLDS)
                 for seed in (settings.seeds[fold] if model == "panet-par" else (0,))]
    return rows


def _ablations(settings, seed):
    """QGNet as it stands, then one thing changed in each row."""
    fold = settings.ablation
    qgnet, pfenet = (replace(settings.system(model, fold, 1), seed=seed) for model in ("qgnet", "pfenet"))
    others = [name for name in ("random", "imagenet", *EXTRACTORS) if name not in (qgnet.extractor, "vgg")]
    return [qgnet, pfenet, replace(qgnet, guided=False), replace(pfenet, guided=False),
            replace(pfenet, model="blind", guided=False), *(replace(qgnet, extractor=name) for name in others),
            replace(qgnet, projection="learned")]


def perform(name, row, out, bank=None):
    """Trains and scores one row under ``out``. Returns the test images' feature bank; the next row takes it over if it
    looks at the same networks."""
    settings = SETTINGS[name]
    if row.model.startswith("panet"):
        _panet(settings, row, out)
        return bank
    model, log = trained(name, row, out)
    dataset, rules = open_dataset(settings.dataset, split="val"), get_protocol("pfenet")
    if settings.bank and (bank is None or bank.digests != [encoder.digest for encoder in model.encoders]):
        if bank:
            bank.close()
        bank = ModelBank(model, dataset, settings.size, rules.resize, dtype="float16")
    classes = novel_classes(settings.dataset, row.fold)
    episodes = protocol_episodes(dataset, classes, row.shots, "pfenet", episodes=settings.episodes)
    steps = [entry["seconds"] for entry in log if "seconds" in entry]
    evaluate(model, episodes, classes, "pfenet", settings.size, bank=bank or False, out=out / row.name, fold=row.fold,
             seed=row.seed, training_seconds=round(sum(steps), 1), training_steps=len(steps))
    return bank


def _panet(settings, row, out):
    """PANet's runs belong to another study, on the same episodes: made there if missing, copied here."""
    other = panet.Run("efficientnet_lite0", settings.size, row.fold, row.shots,
                      training=row.model.split("-")[1], seed=row.seed)
    folder = out.parent / settings.panet
    if not (folder / other.name / "result.json").exists():
        panet.perform(settings.panet, other, folder)
    (out / row.name).mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / other.name / "result.json", out / row.name / "result.json")


def trained(name, row, out):
    """(the row's model with the last weights of its schedule, rows of its log); trains what is missing."""
    settings = SETTINGS[name]
    config, width = replace(settings.training, seed=row.seed, validate_every=settings.training.steps // 4), settings.width
    if (chosen := settings.recipe[row.fold]) != "shares":
        config, width = replace(config, **choices.CHOICES[chosen].optimizer), choices.CHOICES[chosen].width
    options = dict(width=width, foreground_weight=FOREGROUND_WEIGHT, guided=row.guided)
    if row.model == "qgnet":
        weights = (extractor(settings.extractors, row.extractor, out.parent) if row.extractor != "random"
                   else random_extractor(settings.backbone, out))
        options |= dict(projection=row.projection, extractor=weights, extractor_backbone=settings.extractor_backbone)
    torch.manual_seed(row.seed)
    model = build_model("pfenet" if row.model == "blind" else row.model, settings.backbone,
                        panet.default_weights(settings.backbone), **options)
    if row.model == "blind":
        model.fem.register_forward_pre_hook(lambda _, given: (given[0], torch.zeros_like(given[1]), *given[2:]))
    checkpoint = out / f"train-{row.training}" / "checkpoint.pt"
    if not checkpoint.exists() or load_checkpoint(checkpoint, model.architecture)["step"] < config.steps:
        dataset, novel = open_dataset(settings.dataset, split="train"), novel_classes(settings.dataset, row.fold)
        with ModelBank(model, dataset, settings.size, "pad", dtype="float16") if settings.bank else nullcontext() as bank:
            fit(model, dataset, base_classes(settings.dataset, row.fold), config, checkpoint.parent, resume=True,
                novel=novel if settings.drop_novel else (), bank=bank)
    state = load_checkpoint(checkpoint, model.architecture)
    fill(checkpoint, state, model)
    return model, state["rows"]


def random_extractor(backbone, out):
    """A file with the random start of a prior extractor: one for all training seeds, as the contrastive ones are."""
    path = out / f"random-{backbone}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        save_extractor(path, build_backbone(backbone, None), {"seed": 0})
    return path


def extractor(study, name, studies):
    """Weights for ``build_model``'s ``extractor``: a file, ``"imagenet"``, or None for a random start. A contrastive
    one is pretrained if ``studies`` does not hold it."""
    if name in ("random", "imagenet"):
        return {"random": None, "imagenet": "imagenet"}[name]
    run = EXTRACTORS[name]
    if not (studies / study / run.name / "result.json").exists():
        contrast.perform(study, run, studies / study)
    return studies / study / run.name / "extractor.safetensors"


def tabulate(name, out, results):
    """Collects the finished runs into ``results/NAME.json``: rows without episodes, means over seeds and folds, paired
    differences, curves of the trainings."""
    settings = SETTINGS[name]
    found = {row: read_json(out / row.name / "result.json") for row in runs(name)
             if (out / row.name / "result.json").exists()}
    groups = grouped(found)
    table = {"command": f"fsslib results run {name}", "study": name,
             "settings": {**asdict(settings), "seeds": [list(settings.seeds[f]) for f in range(FOLDS)]},
             "rows": [_line(row, result) for row, result in found.items()],
             "not_run": [row.name for row in runs(name) if row not in found],
             "means": means(groups, settings), "differences": differences(groups, settings),
             "curves": _curves(found, out)}
    first = next((result for row, result in found.items() if not row.model.startswith("panet")), {})
    table |= {k: first.get(k) for k in ("versions", "hardware")}
    write_json(results / f"{name}.json", table)
    return results / f"{name}.json"


def _line(row, result):
    line = {**asdict(row), "name": row.name, **{k: result[k] for k in ("miou", "fb_iou", "intervals", "per_class", "seconds")}}
    line |= {k: v for k, v in result["config"].items() if k.startswith("training_")}
    return line | {"episodes": result["config"]["episodes"], "episodes_digest": result["digests"]["episodes"]}


def _curves(found, out):
    """Each training's loss (mean of every tenth of its steps) and its validation on held-out base-class images."""
    curves = []
    for folder in dict.fromkeys(f"train-{row.training}" for row in found if not row.model.startswith("panet")):
        path = out / folder / "checkpoint.pt"
        if path.exists():
            rows = load_checkpoint(path)["rows"]
            losses = [r["loss"] for r in rows if "loss" in r]
            curves.append({"training": folder.removeprefix("train-"),
                           "loss": [round(float(np.mean(part)), 4) for part in np.array_split(losses, 10)],
                           "step": [r["step"] for r in rows if "val_miou" in r],
                           "val_miou": [r["val_miou"] for r in rows if "val_miou" in r]})
    return curves
