"""Folders of jobs from several machines joined into one; what two of them hold differently is named, never chosen."""

import shutil
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import read_json, writable_folder
from .jobs import RESULT

SAME = ("miou", "fb_iou", "probe", "maps", "scores", "curve")


def merge(folders, out):
    """Copies every finished job of ``folders`` that ``out`` lacks, times of files included; returns how many.

    A job that two of them hold must have one result; others raise InputError naming them all, and nothing is copied.
    """
    out, coming, unlike = writable_folder(out, "Give another --out."), {}, []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(folder, "no such folder", "a folder of jobs, as runs/grid", "Correct the path.")
        found = sorted(folder.glob(f"*/*/{RESULT}"))
        if not found:
            raise InputError(folder, f"no {RESULT} two folders below it", "a folder of jobs, as runs/grid", "Correct the path.")
        for path in found:
            name = path.parent.relative_to(folder)
            others = [other / RESULT for other in (coming.get(name), out / name) if other and (other / RESULT).exists()]
            unlike += [str(name) for other in others if _outcome(path) != _outcome(other)]
            coming.setdefault(name, path.parent)
    if unlike:
        raise InputError(out, f"another outcome of {', '.join(dict.fromkeys(unlike))}", "one outcome of one command",
                         "Keep one folder of each and delete the other.")
    new = {name: source for name, source in coming.items() if not (out / name / RESULT).exists()}
    for name, source in new.items():                     # copy2 keeps times, so nothing looks newer; the result comes last
        shutil.copytree(source, out / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns(RESULT))
        shutil.copy2(source / RESULT, out / name / RESULT)
    return len(new)


def _outcome(path):
    found = read_json(path, "Delete its folder.")
    if not isinstance(found, dict):
        raise InputError(path, "no result", "what a command of the kit writes", "Delete its folder.")
    return {name: found.get(name) for name in SAME}
