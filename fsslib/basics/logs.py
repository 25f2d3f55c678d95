"""The log of a run: a CSV file for people, TensorBoard events for curves."""

import csv
from dataclasses import asdict

from .errors import InputError
from .storage import read_json, user_path, write_json


def refuse_other_files(out, config):
    """Raises InputError for a ``config.json`` or ``log.csv`` in ``out`` that no run with such a ``config`` wrote; what one left
    that was stopped before its first checkpoint may be replaced."""
    try:
        found = read_json(out / "config.json") if (out / "config.json").exists() else asdict(config)
        ours = isinstance(found, dict) and set(found) == set(asdict(config))
    except InputError:
        ours = False
    name = "config.json"
    if ours and (log := out / "log.csv").exists():
        with open(log, "rb") as file:
            name, ours = log.name, file.read(5) in (b"", b"step,")
    if not ours:
        raise InputError(out / name, "a file that is not of this run", "a folder of the run's own", "Give another --out.")


class RunLog:
    """``log.csv``, ``config.json`` and TensorBoard events in ``out``; a resumed run rewrites the rows of its
    checkpoint first. ``later``: columns that only some rows have."""

    def __init__(self, out, rows, config, first, later=()):
        from torch.utils.tensorboard import SummaryWriter
        out = user_path(out)
        write_json(out / "config.json", asdict(config))
        self.file = open(out / "log.csv", "w", newline="", encoding="utf-8")
        self.table, self.start, self.later = None, None, later
        self.board = SummaryWriter(str(out), purge_step=first + 1 if rows else 0)
        for row in rows:
            self._line(row)

    def _line(self, row):
        if self.table is None and "loss" not in row:           # before the first step no loss has a name yet
            self.start = row
            return
        if self.table is None:
            names = list(dict.fromkeys([*row, *self.later]))
            self.table = csv.DictWriter(self.file, names, restval="")
            self.table.writeheader()
            if self.start:
                self.table.writerow(self.start)
        self.table.writerow(row)
        self.file.flush()

    def add(self, row):
        self._line(row)
        for name, value in row.items():
            if name != "step" and value is not None:           # no mIoU where a class was never asked for
                self.board.add_scalar(name, value, row["step"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.board.close()
