"""Studies: the comparisons behind ``figures/results/*.json``, each run again by ``fsslib results run NAME``.

A study is a module with ``runs(name)``, a list of frozen dataclasses with a ``name``;
``perform(name, row, out, kept)``, which writes ``out/ROW/result.json`` and may hand something costly to the next row;
``tabulate(name, out, results)``.
"""

import importlib
import re
from dataclasses import asdict, fields
from pathlib import Path

from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import read_json

STUDIES = {"panet_shapes": "panet", "panet_voc": "panet", "contrast_voc": "contrast", "contrast_shapes": "contrast",
           "contrast_vgg": "contrast",
           "qgnet_shapes": "decoders", "qgnet_voc": "decoders", "qgnet_vgg": "decoders",
           "qgnet_vgg321": "decoders", "qgnet_vgg473": "decoders", "ablation_voc": "decoders",
           "blind_voc": "decoders", "blind_shapes": "decoders", "chosen_voc": "decoders",
           "maps_shapes": "maps", "maps_voc": "maps",
           "choices_voc": "choices"}


def run_study(name, out, results, only=None):
    """Runs what is missing of a study under ``out/NAME``, then writes ``results/NAME.json`` and returns its path.

    Every finished run is kept as ``result.json`` and every training as checkpoints, so an interrupted call goes on
    where it stopped. ``only``: a regular expression; runs whose name does not match wait for another call.
    """
    if name not in STUDIES:
        raise InputError("study", repr(name), f"one of {', '.join(STUDIES)}", "Correct the name.")
    study = importlib.import_module(f".{STUDIES[name]}", __name__)
    rows, out, results = study.runs(name), Path(out) / name, Path(results)
    _refuse_smaller_table(rows, out, results / f"{name}.json", only)
    kept = None
    for row in tqdm(rows, desc=name, unit="run"):
        if (only and not re.search(only, row.name)) or (out / row.name / "result.json").exists():
            continue
        tqdm.write(row.name)
        kept = study.perform(name, row, out, kept)
    return study.tabulate(name, out, results)


def _refuse_smaller_table(rows, out, path, only):
    """A stored table may hold runs whose single results lie on another machine: it is never replaced by less."""
    if not path.exists():
        return
    stored = {tuple(row.get(field.name, field.default) for field in fields(rows[0])) for row in read_json(path).get("rows", [])}
    coming = {tuple(asdict(row).values()) for row in rows
              if not only or re.search(only, row.name) or (out / row.name / "result.json").exists()}
    if lost := len(stored - coming):
        raise InputError(path, f"{lost} rows that {out} does not hold and this call does not run", "none",
                         "Give another folder with --results, or leave out --only.")
