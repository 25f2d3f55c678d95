"""What a stored table holds: checked whenever one is read or written."""

from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import read_json

VERSION = 1
TABLE = {"schema": int, "table": str, "title": str, "shows": str, "kind": str, "command": str, "settings": dict, "labels": list,
         "rows": list, "means": list, "differences": list, "curves": list, "missing": list, "published": list}
ROW = {"segmentation": ("label", "fold", "seed", "miou", "intervals", "commands"),
       "probe": ("label", "seed", "accuracy", "interval", "base", "commands"),
       "maps": ("label", "fold", "map", "inside", "outside", "gap", "recall", "precision", "area", "iou", "commands")}
MEAN = ("label", "fold", "miou", "interval")
DIFFERENCE = ("label", "minus", "difference", "interval")
FOLDER = Path(__file__).parents[2] / "figures" / "results"


def check_table(table, where="table"):
    """``table``, a dict of plain values, if it holds what every stored table holds; else InputError naming ``where``.

    ``table``: its name · ``title``, ``shows``: a line and a sentence · ``kind``: of its rows, a key of ``ROW`` · ``command``:
    what writes it again · ``labels``: lines in their order · ``rows``: one a fold and seed of a line, with the ``commands``
    that make it · ``means``: over seeds, and over the folds as fold -1 · ``differences``: paired, ``label`` less ``minus`` ·
    ``missing``: rows that wait · ``published``: the papers' rows beside them. A row with ``older`` was measured under an earlier
    rule (``tables.foot`` says which). Scores are in percent, intervals are 95 %.
    """
    def refuse(found, expected):
        raise InputError(where, found, expected, "Give a table of figures/results; `fsslib results run NAME` writes it again.")
    if not isinstance(table, dict) or table.get("schema") != VERSION:
        refuse("no table of this version", f"schema {VERSION}")
    for name, kind in TABLE.items():
        if not isinstance(table.get(name), kind):
            refuse(f"{name!r} {'missing' if name not in table else 'of another type'}", f"{kind.__name__} {name!r}")
    if table["kind"] not in ROW:
        refuse(f"rows of kind {table['kind']!r}", f"one of {', '.join(ROW)}")
    for part, needed in (("rows", ROW[table["kind"]]), ("means", MEAN), ("differences", DIFFERENCE)):
        for at, entry in enumerate(table[part]):
            if lacking := [name for name in needed if name not in entry]:
                refuse(f"entry {at} of {part} without {lacking[0]!r}", f"{', '.join(needed)}")
            if entry["label"] not in table["labels"]:
                refuse(f"the label {entry['label']!r} in {part}", "one of its labels")
    return table


def open_table(name, folder=None):
    """The stored table ``name`` of ``folder``, by default the checkout's ``figures/results``; a missing one raises InputError."""
    path = Path(folder or FOLDER) / f"{name}.json"
    return check_table(read_json(path, f"Write it with fsslib results run {name}."), path)
