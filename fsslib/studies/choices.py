"""The decoders' recipe put to the test: settings compared on base classes alone, by cross-validation over classes.

The recipe of a fold may rest on the classes of the other three folds. So a decoder learns two of those and is tested on
the third, in training images that it has not seen; the fold's own classes are neither learned nor tested.

The recipe was found by pilots (classes of folds 1 and 2 learned, 3 and 0 tested); this study asks again, for each fold by
itself. Its rule, fixed before the runs of the recipe's neighbours: of the steps from the papers' optimiser to the recipe a
fold takes the one with the highest score; it leaves the recipe for a neighbour only where the paired interval of their difference
lies above 0. For several such neighbours nothing was fixed beforehand: the largest gain is taken, which decides fold 2 alone.
"""

import hashlib
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from ..basics.checkpoints import fill, load_checkpoint
from ..basics.storage import read_json, write_json
from ..datasets import open_dataset
from ..episodes.folds import FOLDS, novel_classes
from ..episodes.sampler import EpisodeSampler
from ..evaluation.scoring import evaluate
from ..metrics import EpisodeScores
from ..models import build_model
from ..models.bank import ModelBank
from ..models.fem import he_initialised
from ..training import TrainingConfig, fit
from . import panet

LEARNED_TESTED = {0: ((1, 2), 3), 3: ((1, 2), 0), 1: ((0, 3), 2), 2: ((0, 3), 1)}      # fold that it decides for: folds
STEPS, SIZE, EPISODES, BACKBONE = 500, 225, 250, "efficientnet_lite0"

SGD = dict(optimizer="sgd", lr=0.025, weight_decay=1e-4)
ADAMW = dict(optimizer="adamw", lr=0.002, weight_decay=0.02)


@dataclass(frozen=True)
class Choice:
    """``layer4``: guided map of layer4 as it is, not ``region_features`` · ``by_channels``: He's start of the decoder's
    mixing layers, not ``fem.equal_shares``."""
    optimizer: dict
    foreground_weight: float = 1.0
    drop_novel: bool = True
    layer4: bool = True
    by_channels: bool = True
    width: int = 64


RECIPE = Choice(ADAMW, 2.0, layer4=False, by_channels=False)
STEPS_TO_RECIPE = {                          # each changes one thing of the one before
    "papers": Choice(SGD, drop_novel=False), "dropped": Choice(SGD), "adamw": Choice(ADAMW), "weighted": Choice(ADAMW, 2.0),
    "centred": replace(RECIPE, by_channels=True), "shares": RECIPE}
NEIGHBOURS = {                               # each changes one number of the recipe
    "slower": replace(RECIPE, optimizer=ADAMW | {"lr": 0.001}), "faster": replace(RECIPE, optimizer=ADAMW | {"lr": 0.004}),
    "decay": replace(RECIPE, optimizer=ADAMW | {"weight_decay": 0.1}), "wide": replace(RECIPE, width=128)}
CHOICES = STEPS_TO_RECIPE | NEIGHBOURS


@dataclass(frozen=True)
class Run:
    """One row: a name of ``CHOICES`` and the fold that it decides for."""
    choice: str
    fold: int

    @property
    def training(self):
        """What names a training: two folds may share it."""
        return f"{self.choice}-learned{''.join(map(str, LEARNED_TESTED[self.fold][0]))}"

    @property
    def name(self):
        return f"{self.choice}-fold{self.fold}"


def runs(_):
    """Every Run, those that share a training one after another."""
    return [Run(choice, fold) for choice in CHOICES for fold in LEARNED_TESTED]


def perform(_, row, out, bank=None):
    """Trains what is missing and scores one row under ``out``; returns the bank of the training images."""
    choice, (learned, tested) = CHOICES[row.choice], LEARNED_TESTED[row.fold]
    dataset = open_dataset("voc", split="train")
    classes = [c for fold in learned for c in novel_classes("voc", fold)]
    others = [c for fold in range(FOLDS) if fold not in learned for c in novel_classes("voc", fold)]
    training, test = halves(dataset, others)
    torch.manual_seed(0)
    model = build_model("pfenet", BACKBONE, panet.default_weights(BACKBONE), width=choice.width,
                        foreground_weight=choice.foreground_weight)
    if choice.layer4:
        model.backbone.region_features = lambda layer3, layer4: layer4
    if choice.by_channels:
        he_initialised(model.fem)
    bank = bank or ModelBank(model, dataset, SIZE, "pad", dtype="float16")
    checkpoint = out / f"train-{row.training}" / "checkpoint.pt"
    config = TrainingConfig(**choice.optimizer, steps=STEPS, batch=8, size=SIZE, schedule="poly", protocol="pfenet",
                            validate_every=0)
    if not checkpoint.exists() or load_checkpoint(checkpoint, model.architecture)["step"] < STEPS:
        fit(model, dataset, classes, config, checkpoint.parent, resume=True, novel=others if choice.drop_novel else (), bank=bank,
            images=training)
    fill(checkpoint, load_checkpoint(checkpoint, model.architecture), model)
    asked = novel_classes("voc", tested)
    episodes = EpisodeSampler(dataset, asked, 1, 0, "pfenet", images=test).take(EPISODES)
    evaluate(model, episodes, asked, "pfenet", SIZE, bank=bank, out=out / row.name)
    return bank


def halves(dataset, classes):
    """(indices for training, indices for the test): of the images that show one of ``classes``, half by their id."""
    shows = (dataset.areas[:, list(classes)] > 0).any(1)
    half = np.array([hashlib.sha256(f"choice {name}".encode()).digest()[0] < 128 for name in dataset.ids])
    return np.flatnonzero(~(shows & half)), np.flatnonzero(shows & half)


def _chosen(found, differences):
    """What the rule at the top of this file takes for each fold, of several neighbours that with the largest gain; None
    without all its rows."""
    chosen = []
    for fold in range(FOLDS):
        scores = {row.choice: result["miou"] for row, result in found.items() if row.fold == fold}
        best = max(STEPS_TO_RECIPE, key=lambda name: scores.get(name, 0))
        better = {d["choice"]: d["difference"] for d in differences if d["fold"] == fold and d["choice"] in NEIGHBOURS
                  and d["interval"][0] > 0 and best == "shares"}
        chosen.append(max(better, key=better.get, default=best) if len(scores) == len(CHOICES) else None)
    return chosen


def _before(choice):
    """What a choice is compared with: the step before it, or the recipe for its neighbours."""
    steps = list(STEPS_TO_RECIPE)
    return "shares" if choice in NEIGHBOURS else steps[max(0, steps.index(choice) - 1)]


def tabulate(name, out, results):
    """Collects the finished runs into ``results/NAME.json``: rows, and each choice paired with the one it changes."""
    found = {row: read_json(out / row.name / "result.json") for row in runs(name)
             if (out / row.name / "result.json").exists()}
    scores = {row: EpisodeScores.from_dict(result["scores"]) for row, result in found.items()}
    differences = []
    for row in found:
        before = replace(row, choice=_before(row.choice))
        if before != row and before in found:
            gap, interval = scores[row].difference(scores[before])
            differences.append({**asdict(row), "against": before.choice, "difference": round(100 * gap, 2),
                                "interval": [round(100 * v, 2) for v in interval]})
    table = {"command": f"fsslib results run {name}", "study": name, "episodes": EPISODES, "steps": STEPS,
             "choices": {name: asdict(choice) for name, choice in CHOICES.items()},
             "rows": [{**asdict(row), "learned": LEARNED_TESTED[row.fold][0], "tested": LEARNED_TESTED[row.fold][1],
                       "miou": result["miou"], "interval": result["intervals"]["miou"]} for row, result in found.items()],
             "differences": differences, "chosen": _chosen(found, differences),
             "not_run": [row.name for row in runs(name) if row not in found]}
    first = next(iter(found.values()), {})
    table |= {k: first.get(k) for k in ("versions", "hardware")}
    write_json(results / f"{name}.json", table)
    return results / f"{name}.json"
