"""A row: one fold and seed of one line of a table, as plain data, and the commands that make it."""

from dataclasses import dataclass, field
from typing import Any

from .jobs import Job

EXTRACTOR, CHECKPOINT = "extractor.safetensors", "checkpoint.pt"
UNTRAINED = ("imagenet", "random")           # extractors that no pretraining makes


@dataclass(frozen=True)
class Row:
    """``label``: the line that it belongs to; ``{shots}`` and other fields may stand in it · ``control``: of ``fsslib evaluate``,
    instead of a model · ``model``, ``backbone``, ``weights``, ``size``,
    ``dataset``, ``fold``, ``shots``, ``ways``, ``protocol``, ``annotation``, ``options``: as in ``fsslib evaluate`` ·
    ``seed``: of the training · ``episodes``: a seed of the protocol · ``extractor``: of QGNet, or what a probe asks:
    ``imagenet``, ``random``, or the options of ``fsslib pretrain`` · ``training``: options of ``fsslib train``; empty: nothing
    is trained · ``testing``: further options of ``fsslib evaluate`` · ``gpu``: only a GPU does it in reasonable time.
    """
    label: str
    control: str | None = None
    model: str = "pfenet"
    dataset: str = "voc"
    backbone: str = "efficientnet_lite0"
    weights: str = "imagenet"
    size: int = 225
    fold: int = 0
    shots: int = 1
    ways: int = 1
    seed: int = 0
    protocol: str = "pfenet"
    episodes: int = 1000
    annotation: str = "mask"
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    extractor: Any = field(default=None, hash=False)
    extractor_backbone: str | None = None
    training: dict[str, Any] = field(default_factory=dict, hash=False)
    testing: dict[str, Any] = field(default_factory=dict, hash=False)
    gpu: bool = False

    @property
    def key(self):
        """What finds it in a stored table."""
        return self.label, self.fold, self.seed

    @property
    def name(self):
        return f"{self.label}, fold {self.fold}, seed {self.seed}"


def last_job(row, kind):
    """The Job whose result is the row's; ``kind``: of its table, "segmentation", "maps" or "probe"."""
    if kind == "probe":
        return _probe(row)
    if row.control:
        return Job("evaluate", f"{row.control}-{row.dataset}-fold{row.fold}-{row.shots}shot-{row.protocol}", {
            "control": row.control, "dataset": row.dataset, "fold": row.fold, "shots": row.shots, "protocol": row.protocol,
            "episodes": row.episodes, **row.testing}, {})
    network = {"model": row.model, "backbone": row.backbone, "dataset": row.dataset, "size": row.size}
    if row.weights != "imagenet":
        network["weights"] = row.weights
    if row.options:
        network["option"] = [f"{name}={str(value).lower()}" for name, value in row.options.items()]
    if row.extractor_backbone:
        network["extractor-backbone"] = row.extractor_backbone
    needs, extractor = {}, {}
    if row.extractor in UNTRAINED:
        extractor = {"extractor": row.extractor}
    elif row.extractor:
        needs = {"extractor": (pretraining(row), EXTRACTOR)}
    name = f"{row.model}-{row.dataset}-{row.backbone}-fold{row.fold}"
    if row.training:
        where = {} if "classes" in row.training else {"fold": row.fold}            # two folds may share a training
        part = f"classes{row.training['classes']}" if "classes" in row.training else f"fold{row.fold}"
        trained = Job("train", f"{row.model}-{row.dataset}-{row.backbone}-{part}-seed{row.seed}", {**network, **extractor, **where, "seed": row.seed, **row.training}, needs,
                      row.gpu)
        needs, extractor = {"checkpoint": (trained, CHECKPOINT)}, {}
    frozen = row.model != "panet" or not row.training
    asked = {"fold": row.fold, "shots": row.shots, "ways": row.ways, "protocol": row.protocol, "episodes": row.episodes,
             "annotation": row.annotation, **({"keep-bank": True} if frozen and not row.gpu else {}), **row.testing}
    if kind == "maps":
        asked["maps"] = True
    return Job("evaluate", f"{name}-{row.shots}shot-{row.protocol}", {**network, **extractor, **asked}, needs, row.gpu)


def pretraining(row):
    """The Job that pretrains a row's prior extractor."""
    backbone = row.extractor_backbone or row.backbone
    return Job("pretrain", f"{row.dataset}-{backbone}", {"dataset": row.dataset, "backbone": backbone, **row.extractor}, {}, row.gpu)


def _probe(row):
    if row.extractor not in UNTRAINED:
        return pretraining(row)
    weights = {"imagenet": "imagenet", "random": "none"}[row.extractor]
    return Job("probe", f"{row.dataset}-{row.backbone}-{row.extractor}",
               {"dataset": row.dataset, "backbone": row.backbone, "weights": weights}, {}, row.gpu)
