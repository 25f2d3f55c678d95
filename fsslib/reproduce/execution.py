"""Runs one notebook in a fresh kernel, watches it, and believes only what it has checked."""

import contextlib
import json
import os
import threading
import time
from datetime import datetime, timezone

from tqdm.auto import tqdm

from ..basics.storage import write_json
from .environment import changed, for_kernel
from .notebook import runs, source
from .profile import PACKAGE

QUIET_SECONDS = 30       # in a log (no terminal), a line this often while a notebook runs


class NotebookFailed(Exception):
    """A notebook did not complete; the message names it, the cell, the error and where the pieces lie."""


def execute(notebook, parameters, folder, cell_timeout):
    """Runs ``notebook`` with ``parameters`` in ``folder``; the executed one is ``folder/<name>.ipynb``.

    That file appears only when every cell has completed; until then it is ``<name>.part.ipynb``, after a
    failure ``<name>.failed.ipynb``. A cell that takes longer than ``cell_timeout`` seconds, raises, exits or
    loses its kernel raises NotebookFailed. Returns the record for state.json: seconds, cells, figures, ...
    """
    name = notebook.name
    part, failed, done = (folder / f"{name}{kind}.ipynb" for kind in (".part", ".failed", ""))
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    before = _stamps(figures)
    for leftover in (part, failed, done):
        leftover.unlink(missing_ok=True)
    started, clock = datetime.now(timezone.utc), time.monotonic()
    try:
        with _kernel(folder, FSSLIB_FIGURES=str(figures)), Progress(notebook, parameters) as progress:
            _papermill(notebook, parameters, part, folder, cell_timeout, progress)
        timings = _check(part, progress)
    except NotebookFailed as error:
        if part.exists():
            os.replace(part, failed)
            error = NotebookFailed(f"{error} The notebook as far as it came: {failed}")
        raise error from None
    os.replace(part, done)
    return {"seconds": round(time.monotonic() - clock, 1), "cells": progress.total, "started": started.isoformat(),
            "slowest_cell_seconds": round(max(timings, default=0), 1),
            "figures": sorted(file for file, stamp in _stamps(figures).items() if before.get(file) != stamp)}


def _papermill(notebook, parameters, part, folder, cell_timeout, progress):
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    def path(value):                         # papermill formats its paths: a brace in a folder's name is no field
        return str(value).replace("{", "{{").replace("}", "}}")

    try:
        papermill.execute_notebook(
            path(notebook.path), path(part), parameters=dict(parameters) or None, kernel_name="python3", cwd=folder,
            progress_bar=False, start_timeout=180, execution_timeout=cell_timeout,
            on_cell_execute=progress.start, on_cell_executed=progress.complete)
    except papermill.PapermillExecutionError as error:
        text = " ".join(f"{error.ename}: {error.evalue}".strip().splitlines()[-1:])
        raise NotebookFailed(f"{progress.where(error.cell_index)}: {text or error.ename}.") from error
    except CellTimeoutError as error:
        raise NotebookFailed(f"{progress.where()}: still running after {cell_timeout} s, taken for stuck (longer "
                             "cells: raise 'cell_timeout' in the profile).") from error
    except DeadKernelError as error:
        raise NotebookFailed(f"{progress.where()}: the kernel died (out of memory, or a crash in a library).") \
            from error


def _check(path, progress):
    """Seconds of each cell; NotebookFailed unless every code cell ran, in order, to its end, without error.

    papermill reports success after ``sys.exit(0)``, and marks the cells behind it as completed.
    """
    timings, count = [], 0
    for i, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if not runs(cell):
            continue
        count += 1
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                raise NotebookFailed(f"{progress.where(i)}: {output['ename']}: {output['evalue']} ends the run "
                                     "before its last cell.")
        status = cell["metadata"].get("papermill", {})
        if cell["execution_count"] != count or status.get("status") != "completed":
            raise NotebookFailed(f"{progress.where(i)}: not completed (In [{cell['execution_count'] or ' '}], "
                                 f"expected In [{count}]).")
        timings.append(status.get("duration") or 0)
    return timings


@contextlib.contextmanager
def _kernel(folder, **environment):
    """A kernel "python3" that is this very Python with this very fsslib, whatever kernels a user has installed."""
    from ipykernel.kernelspec import get_kernel_dict

    environment |= {**for_kernel(PACKAGE.parent), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    # ERROR: each kernel would warn that its traffic, which stays on 127.0.0.1, is not encrypted
    write_json(folder / ".jupyter" / "kernels" / "python3" / "kernel.json",
               {**get_kernel_dict(["--log-level=ERROR"]), "env": environment})
    own = os.environ.get("JUPYTER_PATH")                     # a user's own folder comes second
    with changed(JUPYTER_PATH=os.pathsep.join(filter(None, [str(folder / ".jupyter"), own]))):
        yield


def _stamps(folder):
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*.png")}


class Progress:
    """Cells done of total, and the time: a bar on a terminal, now and then a line in a log."""

    def __init__(self, notebook, parameters):
        self.notebook = notebook
        self._injected = self._injected_at(parameters)
        self.total = sum(map(runs, notebook.cells)) + bool(parameters)
        self.done, self._current, self._stop = 0, 0, threading.Event()

    def __enter__(self):
        self._clock = time.monotonic()
        self._bar = tqdm(total=self.total, desc=self.notebook.name, unit="cell", leave=False, disable=None)
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._ticker.join()
        self._bar.close()

    def start(self, cell, cell_index):
        self._current = cell_index

    def complete(self, cell, cell_index, execute_reply):
        self.done += 1
        self._bar.update()

    def where(self, index=None):
        """Notebook, number and first line of the executed cell ``index`` (by default the current one)."""
        index = self._current if index is None else index
        position = index - (self._injected is not None and index >= self._injected)
        line = next((line for line in source(self.notebook.cells[position]).splitlines() if line.strip()), "")
        return f"{self.notebook.name}, cell {position + 1} ({line.strip()[:60]!r})"

    def _injected_at(self, parameters):
        """Where papermill puts its cell of parameters: behind the tagged one."""
        tags = [cell["metadata"].get("tags", []) for cell in self.notebook.cells]
        return next(i for i, tag in enumerate(tags) if "parameters" in tag) + 1 if parameters else None

    def _tick(self):
        while not self._stop.wait(QUIET_SECONDS if self._bar.disable else 1):
            if self._bar.disable:
                print(f"{self.notebook.name}: cell {self.done}/{self.total}, "
                      f"{time.monotonic() - self._clock:.0f} s ...", flush=True)
            else:
                self._bar.refresh()
