"""What jobs cost: seconds from measured throughput, here or in the stored tables, and room for features on disk."""

import csv
import functools
import statistics
from pathlib import Path

from ..basics.storage import read_json
from ..episodes.support_test import DRAWS
from .jobs import RESULT, SECONDS

UNKNOWN = {"pretrain": 60.0}     # seconds a unit where nothing like it was ever measured, else 0.5
MEMORY_MB = 6000
SUPPORT_TEST = 1500              # episodes of a support test, more or less: its lists depend on the data
FEATURE_SECONDS = 4.7e-4, 1.3e-4      # a place of the maps, one core: VGG-16 at 321 px 1.26 images/s, lite0 at 225 px 9


def units(job):
    """How much a job does: optimiser steps, test episodes, or passes over a thousand images."""
    options = job.options
    if job.command == "train":
        return options.get("steps", 1000)
    if job.command == "evaluate":
        from ..episodes.protocols import get_protocol
        drawn = options["episodes"] * (1 if "seed" in options else len(get_protocol(options["protocol"]).seeds))
        return drawn + SUPPORT_TEST * options.get("support-test", False)
    return options.get("epochs", 10) * 1.5 if job.command == "pretrain" else 1


class Rates:
    """Seconds a unit of finished jobs under ``out`` and of the rows of the stored tables in ``results``."""

    def __init__(self, out, results):
        self.known = [*_measured(Path(out)), *_stored(Path(results))]

    def seconds(self, job):
        """Of a control, which runs no network, next to nothing; else the
        median of those most like the job: same command, then backbone, then model; scaled by the pixels."""
        if "control" in job.options:
            return 0.001 * units(job)
        like = [rate for rate in self.known if rate["command"] == job.command]
        for name in ("backbone", "gpu", "model"):
            wanted = job.gpu if name == "gpu" else job.options.get(name)
            like = [rate for rate in like if rate[name] == wanted] or like
        size = job.options.get("size", 128 if job.command == "pretrain" else 225)
        rates = [rate["seconds"] * (size / rate["size"]) ** 2 for rate in like]
        return units(job) * (statistics.median(rates) if rates else UNKNOWN.get(job.command, 0.5))


def _tested(test):
    """Episodes of a support test, as a result or a stored row tells it; 0 without one."""
    if not test:
        return 0
    return sum(test[kind]["episodes"] for kind in ("crowded", "absent", "present")) + test["crowded"]["episodes"] // DRAWS


def _measured(out):
    """Rates of this machine: what Snakemake wrote beside each result."""
    for path in out.glob(f"*/*/{SECONDS}"):
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        result = path.with_name(RESULT)
        if rows and result.exists():
            found = read_json(result)
            config = found["config"]
            work = {"train": config.get("steps"),
                    "evaluate": (config.get("episodes") or found.get("episodes", 0)) + _tested(found.get("support_test")),
                    "pretrain": 1.5 * (config.get("epochs") or 1)}.get(path.parts[-3])
            if work and "backbone" in config:           # a control runs no network
                yield {"command": path.parts[-3], "backbone": config["backbone"], "model": config.get("model"),
                       "size": config.get("size", 225), "gpu": not found["hardware"].startswith("CPU"),
                       "seconds": max(float(rows[-1]["s"]), found.get("seconds", 0)) / work}       # the last attempt, or all of a resumed one


def _stored(results):
    for path in results.glob("*.json"):
        table = read_json(path)
        if not isinstance(table, dict) or "schema" not in table:
            continue
        gpu = not (table.get("hardware") or "CPU").startswith("CPU")
        if table.get("kind") == "probe":
            yield from ({"command": "pretrain", "backbone": row["backbone"], "gpu": gpu, "model": None, "size": table["settings"]["training"]["size"],
                         "seconds": row["seconds"] / 1.5 / table["settings"]["training"]["epochs"]}
                        for row in table["rows"] if row.get("seconds") and "training" in table["settings"])
        if table.get("kind") != "segmentation":
            continue
        for row in table["rows"]:
            about = {"backbone": row.get("backbone") or table["settings"].get("backbone", "efficientnet_lite0"), "gpu": gpu,
                     "model": (row.get("model") or "panet").split("-")[0], "size": row.get("size") or table["settings"].get("size", 225)}
            if row.get("seconds") and row.get("episodes") and row.get("backbone", "") is not None:      # None: a control
                yield {"command": "evaluate", **about, "seconds": row["seconds"] / (row["episodes"] + _tested(row.get("support")))}
            if row.get("training_steps"):
                yield {"command": "train", **about, "seconds": row["training_seconds"] / row["training_steps"]}


def features(jobs):
    """(GB, seconds) of the features that these jobs compute once and keep: every image of a split for a network, size and view."""
    kept = {}
    for job in jobs:
        options = job.options
        if options.get("keep-bank") or (job.command == "train" and options["model"] != "panet" and options.get("bank", True)):
            place = (*job.data, options["backbone"], options["size"])
            kept[place] = max(kept.get(place, 0), options.get("views", 2) if job.command == "train" else 1)
    gb = seconds = 0.0
    for (name, split, backbone, size), views in kept.items():
        places = _images(name, split) * views * ((size - 1) // 8 + 1) ** 2
        gb += places * _channels(backbone) * 2 / 1e9
        seconds += places * FEATURE_SECONDS[backbone.startswith("efficientnet")]
    return gb, seconds


@functools.cache
def _images(name, split):
    from ..datasets import open_dataset
    return len(open_dataset(name, split=split))


@functools.cache
def _channels(backbone):
    from ..models import build_backbone
    return sum(build_backbone(backbone, None).channels[layer] for layer in ("layer2", "layer3", "layer4"))
