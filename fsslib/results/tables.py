"""Stored tables as lines of cells, ready for a page, a terminal or a file: every display is (caption, header, lines)."""

from .published import label as published_label
from .published import published

FOLDS = range(4)
FEWER = "°"              # behind a number that rests on fewer episodes than the table's
MISSING = "-"


def displays(table):
    """The displays of a checked table (``schema.check_table``): list of (caption, header, lines of text)."""
    if table["kind"] == "probe":
        return [("probe, accuracy %", *probes(table))]
    if table["kind"] == "maps":
        return [("region maps, %", *maps(table)), ("recall and its price", *recall(table))]
    found = [("mIoU %", *scores(table))] + ([("paired differences in points", *gaps(table))] if table["differences"] else [])
    if "support" in table:
        found.append(("the support test, %", *support(table)))
        found += [(f"{name}: paired differences in points", *gaps({**table, **table["support"][name]}))
                  for name in ("crowded AUC", "empty") if table["support"][name]["differences"]]
    return found


def support(table, measures=None):
    """(header, lines) of the support test (``evaluation.support.MEASURES``), a column a measure: the mean over the four folds, or
    over the one that was run. ``measures``: these alone."""
    names, lines = measures or list(table["support"]), []
    for label in table["labels"]:
        means = [support_mean(table, name, label) for name in names]
        cells = [cell(mean["miou"], mean["interval"]) if mean and mean["miou"] is not None else MISSING for mean in means]
        if set(cells) != {MISSING}:
            lines.append([label, *cells])
    return ["support test, %", *names], lines


def scores(table, labels=None, papers=True):
    """(header, lines): mIoU ± half its 95 % interval, a line a label, on each fold and in the mean over the four.

    *(n)* behind a number: the mean of so many training seeds. ``labels``: these lines only; by default all that have a number ·
    ``papers``: with the published rows that belong to the table.
    """
    lines = []
    for label in table["labels"] if labels is None else labels:
        cells = [_score(table, label, fold) for fold in (*FOLDS, -1)]
        if labels is not None or set(cells) != {MISSING}:
            lines.append([label, *cells])
    own, header = list(lines), ["mIoU %", *(f"fold {fold}" for fold in FOLDS), "mean"]
    for row in table["published"] if papers else ():
        lines.append([published_label(row), *(f"{v:.1f}" for v in row.get("folds", [MISSING] * 4)), f"{row['mean']:.1f}"])
    return _without_empty_columns(header, lines, own)


def support_mean(table, measure, label):
    """The mean over the four folds of a line's measure, or over the one fold that was run; None if there is none."""
    means = [mean for mean in table["support"][measure]["means"] if mean["label"] == label]
    return next((mean for mean in means if mean["fold"] == -1), means[0] if len(means) == 1 else None)


def gaps(table, labels=None):
    """(header, lines): paired differences with their 95 % intervals; with several seeds their single differences in brackets.
    ``labels``: those of these lines only."""
    pairs = dict.fromkeys((d["label"], d["minus"]) for d in table["differences"] if labels is None or d["label"] in labels)
    lines = []
    for label, minus in pairs:
        found = {d["fold"]: gap(d) for d in table["differences"] if (d["label"], d["minus"]) == (label, minus)}
        lines.append([difference_label(label, minus), *(found.get(fold, MISSING) for fold in (*FOLDS, -1))])
    return _without_empty_columns(["points", *(f"fold {fold}" for fold in FOLDS), "mean"], lines, lines)


def _without_empty_columns(header, lines, own):
    """A table of one fold shows one column: those in which none of the lines ``own`` has a number go."""
    kept = [at for at in range(len(header)) if at == 0 or not own or any(line[at] != MISSING for line in own)]
    return [header[at] for at in kept], [[line[at] for at in kept] for line in lines]


def difference_label(label, minus):
    """"A, 1-shot" less "B, 1-shot" is called "A - B, 1-shot"."""
    (one, _, tail), (other, _, end) = label.rpartition(", "), minus.rpartition(", ")
    return f"{one} - {other}, {tail}" if tail == end and one and other else f"{label} - {minus}"


def probes(table, labels=None):
    """(header, lines) of prior extractors: the probe's accuracy, its paired change against the start (the first pair of a
    line), the mean over the base classes of each fold, which a choice for that fold may rest on, and minutes of training."""
    change = {}
    for d in table["differences"]:
        change.setdefault(d["label"], gap(d))
    lines = [[row["label"], cell(row["accuracy"], row["interval"]), change.get(row["label"], MISSING),
              *(f"{value:.1f}" for value in row["base"]), f"{row['seconds'] / 60:.0f}" if row.get("seconds") else MISSING]
             for row in table["rows"] if labels is None or row["label"] in labels]
    return ["probe, accuracy %", "all classes", "change", *(f"base {fold}" for fold in FOLDS), "minutes"], lines


def maps(table):
    """(header, lines) of region maps: mean value on object and background, their paired gap, and the region above one half."""
    half, lines = table["settings"]["thresholds"].index(0.5), []
    for row in sorted(table["rows"], key=lambda row: row["map"]):
        value, low, high = row["gap"]
        lines.append([map_name(row), *(cell(row[k][0], row[k][1:]) for k in ("inside", "outside")),
                      f"{value:+.1f} ({low:+.1f} to {high:+.1f})",
                      *(f"{row[k][half][0]:.1f}" for k in ("recall", "precision", "area", "iou"))])
    return ["map, %", "on object", "on background", "gap", *(f"{k} at 0.5" for k in ("recall", "precision", "area", "IoU"))], lines


def recall(table, extractor="global"):
    """(header, lines): the paper's Table 7, then recall, area and precision over the thresholds of the guided map, of
    ``extractor``'s prior map and of its complement, and the share of episodes with an IoU above each threshold."""
    lines = [[f"paper, Table 7, {row['method']}: recall", *(f"{v:.1f}" for v in row["thresholds"])] for row in published("7")]
    found = {row["map"]: row for row in table["rows"] if row["map"] == "guided" or row["extractor"] == extractor}
    for name in (name for name in ("guided", "prior", "1 - prior") if name in found):
        lines += [[f"{map_name(found[name])}: {key}", *(f"{v[0]:.1f}" for v in found[name][key])]
                  for key in ("recall", "area", "precision")]
        lines.append([f"{map_name(found[name])}: IoU of V > 0.5 above α", *(f"{v:.1f}" for v in found[name]["share_above"])])
    return ["%, α =", *(f"{t:.1f}" for t in table["settings"]["thresholds"])], lines


def map_name(row):
    return row["map"] if row["map"] == "guided" else f"{row['map']}, {row['extractor']}"


def cell(value, interval):
    return f"{value:.1f} ± {(interval[1] - interval[0]) / 2:.1f}"


def gap(difference):
    """A paired difference as text."""
    if difference["difference"] is None:
        return MISSING
    (low, high), seeds = difference["interval"], difference.get("seeds") or []
    return f"{difference['difference']:+.1f} ({low:+.1f} to {high:+.1f})" + (
        f" [{' '.join(f'{v:+.1f}' for v in seeds)}]" if len(seeds) > 1 else "")


def _score(table, label, fold):
    rows = [row for row in table["rows"] if row["label"] == label and fold in (row["fold"], -1)]
    found = next((m for m in table["means"] if (m["label"], m["fold"]) == (label, fold)), None)
    if found is None and len(rows) == 1 and fold >= 0:
        found = {"miou": rows[0]["miou"], "interval": rows[0]["intervals"]["miou"]}
    if found is None or found["miou"] is None:
        return MISSING
    wanted = table["settings"].get("episodes", 0)
    fewer = any(row.get("episodes", wanted) < wanted for row in rows)
    seeds = len(found.get("seeds") or ())
    return cell(found["miou"], found["interval"]) + (f" ({seeds})" if seeds > 1 else "") + FEWER * fewer


def foot(table):
    """Sentences below a table: which of its rows an earlier rule measured."""
    older = sum(bool(row.get("older")) for row in table["rows"])
    return [f"{older} of {len(table['rows'])} rows were measured before labels were resized as the official code does (they took "
            "a neighbouring pixel for some 5 of an image's) and PANet's FB-IoU left out what a query does not show."] if older else []
