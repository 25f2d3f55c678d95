"""Runs the notebooks of a profile, leaves out what is up to date, and goes on where it was interrupted."""

import time

import filelock

from ..basics.errors import InputError
from ..basics.interrupts import exit_status
from ..basics.storage import read_json, sha256_file, writable_folder, write_json
from . import fingerprint
from .environment import at_home
from .execution import NotebookFailed, execute
from .profile import load_profile, planned, project_folder


def reproduce(profile="demo", publish=False, force=False, only=None, out=None):
    """Runs the notebooks of ``profile`` in order and writes ``runs/<profile>/index.html``.

    ``profile``: a name (``demo``) or the path of a YAML file. ``publish``: afterwards, if all is green,
    renew ``figures/`` and the outputs stored in ``notebooks/``. ``force``: run even what is up to date.
    ``only``: names or numbers of the notebooks to run (``"01_episodic_sampling"`` or ``"01"``). ``out``: a
    folder instead of ``runs/<profile>``. Returns the exit status: 0 all completed, 1 a notebook failed, 130
    interrupted (143 by SIGTERM). Bad input (profile, parameter, name) raises InputError before anything runs.
    """
    profile = load_profile(profile)
    project = project_folder()
    plan = planned(profile, project, [only] if isinstance(only, str) else only)
    folder = writable_folder(out or project / "runs" / profile.name, "Choose another folder.").resolve()
    home = at_home(folder / ".home")
    lock = filelock.FileLock(folder / ".lock")      # held by the process: a killed one leaves no lock behind
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(folder, "another 'fsslib reproduce' at work there", "one at a time",
                         "Wait for it, or give this one another folder.") from error
    try:
        with home:
            return _run(profile, plan, project, folder, publish, force)
    except KeyboardInterrupt as error:
        print("\ninterrupted: the same command goes on with the notebook that was running", flush=True)
        return exit_status(error)
    finally:
        lock.release()


def _run(profile, plan, project, folder, publish, force):
    clock, state, changed = time.monotonic(), _read_state(folder / "state.json"), False
    shared, width = fingerprint.surroundings(project), max(len(run.name) for run, _ in plan)
    print(f"profile {profile.name}: {len(plan)} notebooks, {folder}", flush=True)
    for run, notebook in plan:
        key, label = fingerprint.key(notebook, run.parameters, shared), run.name.ljust(width)
        if not force and _up_to_date(state.get(run.name), key, folder / f"{run.name}.ipynb"):
            print(f"{label}  up to date", flush=True)
            continue
        if state.pop(run.name, None):        # killed from here on, the notebook counts as not run
            write_json(folder / "state.json", state)
        state[run.name], changed = _attempt(run, notebook, folder, profile.cell_timeout, key), True
        write_json(folder / "state.json", state)
        print(f"{label}  {_summary(state[run.name])}", flush=True)
    if changed or not (folder / "index.html").exists():
        from .report import write_report
        write_report(profile, folder, state)
    failed = [run.name for run, _ in plan if state[run.name]["status"] != "completed"]
    if publish and not failed:
        from .publish import publish_run
        publish_run(profile.name, plan, project, folder, state)
    _conclude(profile, plan, folder, state, failed, time.monotonic() - clock)
    return 1 if failed else 0


def _attempt(run, notebook, folder, cell_timeout, key):
    """The record of one run, completed or failed. A failed one holds no sha256, so it is never up to date."""
    clock = time.monotonic()
    try:
        record = {"status": "completed", **execute(notebook, run.parameters, folder, cell_timeout)}
        record["sha256"] = sha256_file(folder / f"{run.name}.ipynb")
    except NotebookFailed as error:
        record = {"status": "failed", "error": str(error), "seconds": round(time.monotonic() - clock, 1)}
    return {"key": key, "machine": fingerprint.machine(), "title": notebook.title, "parameters": run.parameters,
            "versions": fingerprint.versions(), **record}


def _up_to_date(record, key, executed):
    """Same recipe, parameters and surroundings, completed, and the executed notebook still as it was written."""
    if not record or record["status"] != "completed" or record["key"] != key:
        return False
    return executed.exists() and sha256_file(executed) == record["sha256"]


def _read_state(path):
    if not path.exists():
        return {}
    try:
        return dict(read_json(path))
    except (InputError, TypeError, ValueError) as error:
        print(f"{error} Everything runs again.", flush=True)
        return {}


def _summary(record):
    minutes = f"{record['seconds'] / 60:.1f} min"
    if record["status"] == "completed":
        return f"completed  {record['cells']} cells  {minutes}"
    return f"FAILED after {minutes}: {record['error']}"


def _conclude(profile, plan, folder, state, failed, seconds):
    total = sum(state[run.name]["seconds"] for run, _ in plan) / 60
    if total > profile.budget_minutes:
        print(f"over budget: {total:.1f} min of computing, {profile.budget_minutes:g} planned", flush=True)
    outcome = f"failed: {', '.join(failed)}" if failed else "all completed"
    print(f"{outcome}; {seconds / 60:.1f} min; report: {folder / 'index.html'}", flush=True)
