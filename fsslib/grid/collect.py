"""A table from its rows: what was run here is pooled, what is stored is copied, what waits is named."""

from pathlib import Path

import numpy as np

from ..basics.storage import read_json
from ..episodes.folds import FOLDS, base_classes
from ..evaluation.support import MEASURES, Measure
from ..metrics import EpisodeScores
from ..results.pooled import Pooled
from ..results.schema import VERSION
from .plan import stored_key, valid

SHOWN = ("model", "dataset", "backbone", "size", "shots", "ways", "protocol", "annotation")


def collect(plan, out, results, command):
    """The table of a Plan as plain values (``results.check_table``), read from the jobs' folders and the stored table.

    A stored row's means, intervals and differences are copied, never computed: its episodes lie on another machine.
    """
    table, path = plan.table, Path(results) / f"{plan.table.name}.json"
    before = read_json(path) if path.exists() else {}
    here = {row for row in table.rows if valid(table.job(row), out)}
    copied = _copied(table, here, plan.stored)
    found = {row: table.job(row).result(out) for row in table.rows if row in here and row.key not in copied}
    rows = []
    for row in table.rows:
        if row.key in copied:
            rows += [line for line in before["rows"] if stored_key(line) == row.key]
        elif row in found:
            shown = any((line.get("map"), line["fold"]) == ("guided", row.fold) for line in rows)
            rows += _lines(table, row, found[row], not shown)
    means, differences = _pooled(table, found, copied, before)
    support = _support(table, found, copied, before.get("support", {}))
    newest = next(iter(found.values()), {})
    settings = {**(before.get("settings", {}) if copied else {}), **table.settings}
    if table.kind == "maps":
        settings["thresholds"] = newest.get("thresholds") or settings.get("thresholds")
    return {"schema": VERSION, "table": table.name, "title": table.title, "shows": table.shows, "kind": table.kind,
            "command": command, "settings": settings, "labels": list(dict.fromkeys([*table.labels, *(line["label"] for line in rows)])),
            "rows": rows, "means": means, "differences": differences, **({"support": support} if support else {}),
            "curves": _curves(table, found, copied, before, out),
            "missing": [row.name for row in table.rows if row not in found and row.key not in copied],
            "published": list(table.published),
            **{name: (before if copied else newest).get(name) for name in ("versions", "hardware")}}


def _copied(table, here, stored):
    """Keys of rows whose stored numbers stand. Lines that differences link are replaced all together or not at all: what
    another table ran of them changes nothing here."""
    linked = {label: {label} for label in table.labels}
    for pair in table.differences:
        joined = set.union(*(linked[label] for label in pair))
        linked |= dict.fromkeys(joined, joined)
    behind = {row.label for row in table.rows if row.key in stored and row not in here}
    return {row.key for row in table.rows if row.key in stored and linked[row.label] & behind}


def _lines(table, row, result, first):
    """The entries of one row: one, or one a map; the guided map is the same for all extractors and stands once."""
    about = {"label": row.label, "fold": row.fold, "seed": row.seed, "hardware": result["hardware"],
             "commands": [job.line("runs/grid") for job in table.job(row).chain()]}
    if table.kind == "maps":
        extractor = row.extractor if isinstance(row.extractor, str) else row.label
        return [{**about, "label": name if name == "guided" else f"{name}, {row.label}", "row": row.label, "map": name,
                 "extractor": extractor, "shots": row.shots, "episodes": result["episodes"], **values}
                for name, values in result["maps"].items() if name != "guided" or first]
    if table.kind == "probe":
        return [{**about, **_probe(row, result)}]
    about |= {name: getattr(row, name) for name in SHOWN} | ({"model": row.control, "backbone": None, "size": None} if row.control else {})
    config = {k: v for k, v in result["config"].items() if k.startswith("training_")}
    measured = {k: result[k] for k in ("prototype_distance",) if k in result}
    if test := result.get("support_test"):
        measured["support"] = {kind: test[kind] for kind in ("crowded", "absent", "present")}
    return [{**about, **{k: result[k] for k in ("miou", "fb_iou", "intervals", "per_class", "seconds")}, **config, **measured,
             "episodes": result["config"]["episodes"], "episodes_digest": result["digests"]["episodes"]}]


def _probe(row, result):
    """A probe's entry; ``base``: the mean over each fold's base classes, which a choice for that fold may rest on."""
    probe, steps = result["probe"], [r for r in result["rows"] if "loss" in r]
    known = probe["per_class"]
    base = [np.mean([known[str(c)] for c in base_classes(row.dataset, fold) if str(c) in known]) for fold in range(FOLDS)]
    line = {**{k: probe[k] for k in ("accuracy", "interval", "per_class", "asked")}, "base": [round(float(v), 2) for v in base],
            "probes": [[r["step"], round(r["probe"], 2)] for r in result["rows"] if "probe" in r]}
    if steps:
        parts = [k for k in steps[0] if k in ("loss", "global", "local") or k.startswith("accuracy_")]
        line |= {"seconds": result["seconds"], "images": result["config"]["images"], "queue": result["config"]["queue"],
                 "steps": len(steps), "extractor": result["digests"]["extractor"],
                 "images_per_second": round(float(np.median([r["images_per_second"] for r in steps])), 2),
                 "curve": {part: [round(float(np.mean(v)), 4)
                                  for v in np.array_split([r[part] for r in steps], result["config"]["epochs"])] for part in parts}}
    return line


def _pooled(table, found, copied, before):
    """(means, differences): those of lines that were run here computed, those of stored lines copied. A fold counts with the seeds
    that were run, whose number is told, and the four with one at least of each; stored numbers beside new ones make no mean."""
    if table.kind == "maps":
        return [], []
    pooled = Pooled({row.key: EpisodeScores.from_dict((result["probe"] if table.kind == "probe" else result)["scores"])
                     for row, result in found.items()})
    means, gaps = _merged(table, pooled, found, copied, before)
    return ([] if table.kind == "probe" else means), gaps


def _support(table, found, copied, before):
    """dict name of a measure -> {"means", "differences"}, where rows were run with the support test; else empty."""
    tests = {row.key: result["support_test"] for row, result in found.items() if "support_test" in result}
    if not tests:
        return before
    parts = {}
    for name in MEASURES:
        pooled = Pooled({key: Measure(test, name) for key, test in tests.items()})
        parts[name] = dict(zip(("means", "differences"), _merged(table, pooled, found, copied, before.get(name, {}))))
    return parts


def _merged(table, pooled, found, copied, before):
    """(means, differences) of a Pooled beside the stored ones of ``before``."""
    kinds = {}
    for row in table.rows:
        kind = "stored" if row.key in copied else "new" if row in found else "missing"
        kinds.setdefault((row.label, row.fold), set()).add(kind)

    def whole(entries, kind):
        """The entries that rest on rows of this kind alone, seeds that wait left aside."""
        def rests(entry):
            folds = range(FOLDS) if entry.get("fold") == -1 else [entry.get("fold", 0)]
            return [kinds.get((label, fold)) for label in (entry["label"], entry.get("minus", entry["label"])) for fold in folds]
        return [entry for entry in entries if all((found or set()) - {"missing"} == {kind} for found in rests(entry))]
    means = whole(before.get("means", []), "stored") + whole(pooled.means(), "new")
    pairs = [d for d in before.get("differences", []) if (d["label"], d["minus"]) in table.differences]
    gaps = whole(pairs, "stored") + whole(pooled.differences(table.differences), "new")
    order = {label: at for at, label in enumerate(table.labels)}
    return (sorted(means, key=lambda m: (m["fold"] < 0, order[m["label"]], m["fold"])),
            sorted(gaps, key=lambda d: (table.differences.index((d["label"], d["minus"])), d.get("fold", 0) % 9)))


def _curves(table, found, copied, before, out):
    """The course of each training: of stored ones as they are stored, of new ones from their result."""
    curves, seen = [c for c in before.get("curves", []) if (c["label"], c["fold"], c["seed"]) in copied], set()
    for row in found:
        for job in table.job(row).chain():
            trained = job.result(out) if job.command == "train" and job.folder not in seen else None
            if trained:
                seen.add(job.folder)
                curves.append({"label": row.label, "fold": row.fold, "seed": row.seed, **trained["curve"]})
    return curves
