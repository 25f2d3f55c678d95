"""Tables from stored result files: as text for a terminal, as HTML for a notebook."""

from ..basics.errors import InputError
from .decoders import ablation_table, choices_table, differences_table, systems_table


def published():
    """Numbers of the papers that the kit's tables stand beside: rows (method, backbone, shots, four folds, mean,
    protocol, source). PASCAL-5i, mIoU in percent."""
    own = "PANet: images of the training list, scored at 417"
    return [
        ("PANet", "vgg16", 1, (42.3, 58.0, 51.1, 41.2), 48.1, own, "QGNet paper, Table 1"),
        ("PANet", "vgg16", 5, (51.8, 64.6, 59.8, 46.5), 55.7, own, "QGNet paper, Table 1"),
        ("PANet", "resnet50", 1, None, 49.1, own, "QGNet paper, Table 1"),
        ("PANet", "resnet50", 5, None, 59.3, own, "QGNet paper, Table 1")]


def select(table, **columns):
    """Rows of a study's table whose columns have these values, by fold."""
    return sorted((row for row in table["rows"] if all(row[k] == v for k, v in columns.items())),
                  key=lambda row: row["fold"])


def fold_table(table, settings):
    """Lines of a table fold by fold: ``settings`` is a list of (label, columns to select).

    Returns (header, rows of text): each cell is mIoU ± half the 95 % interval; the last column is the mean over the
    four folds with the interval of the mean. A setting that did not run says "not run".
    """
    rows = []
    for label, columns in settings:
        found = {row["fold"]: row for row in select(table, **columns)}
        cells = [_cell(found[f]["miou"], found[f]["intervals"]["miou"]) if f in found else "not run" for f in range(4)]
        mean = [m for m in table["means"] if all(m[k] == v for k, v in columns.items())]
        rows.append([label, *cells, _cell(mean[0]["miou"], mean[0]["interval"]) if mean else "not run"])
    return ["mIoU %", "fold 0", "fold 1", "fold 2", "fold 3", "mean"], rows


def contrast_table(table):
    """(header, rows of text) of a study of prior extractors: the probe's accuracy ± half its 95 % interval, the paired
    difference to the start that it was trained from, and the mean accuracy over the base classes of each fold, the
    one number a choice for that fold may rest on."""
    gain = {d["run"]: d for d in table["differences"] if "-none-" in d["against"]}
    rows = []
    for row in table["rows"]:
        change = "{difference:+.1f} ({interval[0]:+.1f} to {interval[1]:+.1f})".format(**gain[row["name"]]) \
            if row["name"] in gain else "-"
        rows.append([extractor_name(row), _cell(row["accuracy"], row["interval"]), change,
                     *(f"{value:.1f}" for value in row["base"]),
                     f"{row['seconds'] / 60:.0f}" if "seconds" in row else "-"])
    rows += [[f"{name}", *["not run"] * 7] for name in table["not_run"]]
    return ["probe, accuracy %", "20 classes", "change", *(f"base {fold}" for fold in range(4)), "minutes"], rows


def extractor_name(row):
    """What tells a row of a contrast study from the others, in words."""
    how = "as it is" if row["loss"] == "none" else row["loss"]
    how += f", {row['patches']}" if row["loss"] in ("local", "both") else ""
    how += "" if row["lr"] == 0.03 else f", lr {row['lr']:g}"
    return f"{row['start']} start, {how}" + (", frozen batch norm" if row["batch_norm"] == "eval" else "")


TABLE_7 = {"guided": (99.9, 99.9, 99.3, 96.0, 85.6, 65.6, 39.6, 15.5, 2.2),
           "prior": (99.9, 99.9, 99.1, 96.5, 89.7, 76.2, 54.7, 28.2, 6.6)}       # QGNet paper, fold 0, recall %


def maps_table(table):
    """(header, rows of text) of a study of region maps: mean value on object and background, their paired gap, and the
    region above one half, in percent; ± is half a 95 % interval."""
    half, rows = list(table["thresholds"]).index(0.5), []
    for row in sorted(table["rows"], key=lambda row: row["map"]):
        value, low, high = row["gap"]
        rows.append([map_name(row), *(_cell(row[k][0], row[k][1:]) for k in ("inside", "outside")),
                     f"{value:+.1f} ({low:+.1f} to {high:+.1f})",
                     *(f"{row[k][half][0]:.1f}" for k in ("recall", "precision", "area", "iou"))])
    rows += [["prior, " + name.split("-")[0], *["not run"] * 7] for name in table["not_run"]]
    return ["map, %", "on object", "on background", "gap", *(f"{k} at 0.5" for k in ("recall", "precision", "area", "IoU"))], rows


def recall_table(table, extractor="global"):
    """(header, rows of text): the paper's Table 7, then recall, area and precision over the thresholds of the guided map,
    of ``extractor``'s prior map and of its complement, and the share of episodes with an IoU above each threshold."""
    rows = [[f"paper, Table 7, {name}: recall", *(f"{v:.1f}" for v in values)] for name, values in TABLE_7.items()]
    found = {row["map"]: row for row in table["rows"] if row["map"] == "guided" or row["extractor"] == extractor}
    for name in ("guided", "prior", "1 - prior"):
        rows += [[f"{map_name(found[name])}: {key}", *(f"{v[0]:.1f}" for v in found[name][key])]
                 for key in ("recall", "area", "precision")]
    rows += [[f"{map_name(found[name])}: IoU of V > 0.5 above α", *(f"{v:.1f}" for v in found[name]["share_above"])]
             for name in ("guided", "prior", "1 - prior")]
    return ["%, α =", *(f"{t:.1f}" for t in table["thresholds"])], rows


def map_name(row):
    return row["map"] if row["map"] == "guided" else f"{row['map']}, {row['extractor']}"


def _cell(value, interval):
    return f"{value:.1f} ± {(interval[1] - interval[0]) / 2:.1f}"


def to_html(header, rows, caption=""):
    """A plain HTML table; the first column to the left, the others to the right."""
    def line(cells, tag):
        return "<tr>" + "".join(f'<{tag} style="text-align:{"left" if i == 0 else "right"}">{cell}</{tag}>'
                                for i, cell in enumerate(cells)) + "</tr>"
    body = "".join(line(row, "td") for row in rows)
    return f"<table><caption>{caption}</caption><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def to_text(header, rows):
    """The same with spaces, for a terminal."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join("  ".join(str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))) for row in [header, *rows])


def as_text(stored, where="result file"):
    """A study's table or a single result.json as text; anything else raises InputError naming ``where``."""
    try:
        return _as_text(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(where, "neither a study's table nor a result", "a file of figures/results or result.json",
                         "Give a file written by fsslib results run or fsslib evaluate.") from error


def _as_text(stored):
    if stored.get("study", "").startswith("contrast"):
        return to_text(*contrast_table(stored))
    if stored.get("study", "").startswith(("qgnet", "blind", "chosen")):
        return "\n\n".join(to_text(*table(stored)) for table in (systems_table, differences_table))
    if stored.get("study", "").startswith("ablation"):
        return to_text(*ablation_table(stored))
    if stored.get("study", "").startswith("maps"):
        return "\n\n".join(to_text(*table(stored)) for table in (maps_table, recall_table))
    if stored.get("study", "").startswith("choices"):
        return to_text(*choices_table(stored))
    if "study" in stored:
        keys = ["backbone", "size", "training", "shots", "ways", "protocol", "annotation", "seed"]
        seen = list(dict.fromkeys(tuple(row[k] for k in keys) for row in stored["rows"]))
        header, rows = fold_table(stored, [(" ".join(map(str, v)), dict(zip(keys, v))) for v in seen])
        return to_text([" ".join(keys), *header[1:]], rows)
    if stored["miou"] is None:
        return "mIoU not defined: a class never occurred; score more episodes"
    low, high = stored["intervals"]["miou"]
    return f"mIoU {stored['miou']:.2f} % (95 % interval {low:.2f} to {high:.2f}), FB-IoU {stored['fb_iou']:.2f} %"
