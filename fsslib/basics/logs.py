"""The log of a run: a CSV file for people, TensorBoard events for curves."""

import csv
from dataclasses import asdict

from .storage import user_path, write_json


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
