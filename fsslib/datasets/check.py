"""What is there of a data set, what is missing, what is damaged: every file read once, one table."""

from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..basics.errors import InputError
from .reading import read_image, read_mask
from .voc_lists import COUNTS, LISTS, build_list, find_files, find_tree

SHOWN = 5


@dataclass(frozen=True)
class Row:
    """``state``: "ok", "less" (fewer than published), "missing", "damaged", or "look": read, but is it meant so?"""
    what: str
    found: str
    expected: str
    state: str
    note: str = ""


def check(name, root=None):
    """Reads every file of the data set ``name`` ("voc" or "folder") in ``root``; returns a list of Rows.

    Raises InputError only where nothing can be checked (no such folder, unknown name); what is wrong inside is
    told in the rows.
    """
    if name == "voc":
        return _check_voc(find_tree(root))
    if name == "folder":
        from .check_folder import check_folder
        return check_folder(root)
    raise InputError("data set", repr(name), "'voc' or 'folder'",
                     "Correct the name; 'shapes' checks itself when it is opened.")


def table(rows):
    """The rows as plain text, one line each, columns aligned."""
    lines = [("what", "found", "expected", "state", "note")]
    lines += [(row.what, row.found, row.expected, row.state, row.note) for row in rows]
    widths = [max(len(line[k]) for line in lines) for k in range(4)]
    lines.insert(1, tuple("-" * width for width in widths) + ("----",))
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[4]]).rstrip()
                     for line in lines)


def _check_voc(tree):
    rows, every = [Row("VOC2012", str(tree.voc), "", "ok"),
                   Row("SBD", str(tree.sbd or "none"), "", "ok" if tree.sbd else "missing",
                       "" if tree.sbd else "only its merged masks, if any, are used")], {}
    images, masks = tree.sources()
    for folder, suffix in images + masks:
        count = sum(1 for _ in folder.glob(f"*{suffix}"))
        rows.append(Row(f"{folder.name}/*{suffix}", str(count), "", "ok" if count else "missing"))
    for name in LISTS["val"] + LISTS["train"]:
        expected = str(COUNTS.get(name, "any"))
        try:
            ids = build_list(tree, name)
        except InputError as error:
            rows.append(Row(f"list {name}", "none", expected, "missing", f"{error.where}: {error.found}"))
            continue
        whole = len(ids) == COUNTS.get(name, len(ids))
        rows.append(Row(f"list {name}", str(len(ids)), expected, "ok" if whole else "less",
                        "" if whole else "numbers measured with it are not those of the full list"))
        for what, lost in find_files(tree, ids)[1].items():
            if lost:
                rows.append(Row(f"  entries without {what}", str(len(lost)), "0", "missing", _some(lost)))
        every.update(dict.fromkeys(ids))
    pairs, _ = find_files(tree, every)
    return rows + read_all([pair for pair in pairs if all(pair)], _read_pair)


def _read_pair(pair):
    read_mask(pair[1], 20, read_image(pair[0]).shape[:2])


def read_all(items, read, what="images and masks read"):
    """One row with the count, and one for each file that cannot be used (the first few by name)."""
    damaged = []
    for item in tqdm(items, desc="check", unit="image", disable=None):
        try:
            read(item)
        except InputError as error:
            damaged.append(error)
    rows = [Row(what, str(len(items)), "", "damaged" if damaged else "ok", _count(damaged))]
    return rows + [Row(f"  {Path(error.where).name}", error.found, error.expected, "damaged", error.cure)
                   for error in damaged[:SHOWN]]


def _count(damaged):
    if not damaged:
        return "every file is whole"
    return f"{len(damaged)} cannot be used" + (f", the first {SHOWN}:" if len(damaged) > SHOWN else ":")


def _some(ids):
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
