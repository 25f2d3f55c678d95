"""Folders of jobs from several machines joined into one; what two of them hold differently is named, never chosen."""

import shutil
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import read_json, writable_folder
from .jobs import RESULT

SAME = ("command", "miou", "fb_iou", "probe", "maps", "scores", "curve")


def merge(folders, out):
    """Copies every finished job of ``folders`` that ``out`` lacks, times of files included; returns how many.

    A job that both hold must have one result; others raise InputError naming them, and nothing is copied.
    """
    out, coming = writable_folder(out, "Give another --out."), {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(folder, "no such folder", "a folder of jobs, as runs/grid", "Correct the path.")
        found = sorted(folder.glob(f"*/*/{RESULT}"))
        if not found:
            raise InputError(folder, f"no {RESULT} two folders below it", "a folder of jobs, as runs/grid", "Correct the path.")
        for path in found:
            name = path.parent.relative_to(folder)
            for other in (coming.get(name), out / name):
                if other is not None and (other / RESULT).exists() and not _same(path, other / RESULT):
                    raise InputError(path.parent, "another result", f"that of {other}: one command, two outcomes",
                                     "Keep one of the two folders and delete the other.")
            coming.setdefault(name, path.parent)
    new = {name: source for name, source in coming.items() if not (out / name / RESULT).exists()}
    for name, source in new.items():
        shutil.copytree(source, out / name, dirs_exist_ok=True)              # copy2: times stay, so nothing looks newer
    return len(new)


def _same(one, other):
    one, other = read_json(one), read_json(other)
    return all(one.get(name) == other.get(name) for name in SAME)
