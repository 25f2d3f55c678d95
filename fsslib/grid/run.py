"""Runs what a plan lists with Snakemake: in parallel, resumed after a kill, on one machine or on a cluster."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import writable_folder, write_json
from .cost import MEMORY_MB
from .jobs import LOG, RESULT, STALE

PLAN, LOCK, SAID = "plan.json", ".lock", "snakemake.txt"


def run(plan, out, cores=2, executor=None, dry=False):
    """Makes the jobs of ``plan`` under ``out``; returns those that failed, as lines "job: last line of its log".

    ``executor``: None for this machine, or a Snakemake executor such as ``slurm`` · ``dry``: Snakemake only tells its jobs.
    A second call on the same folder raises InputError while the first one is alive.
    """
    try:
        import snakemake  # noqa: F401
    except ImportError as error:
        raise InputError("snakemake", "not installed", "the package that runs the grid", 'pip install -e ".[grid]"') from error
    out = writable_folder(out, "Give another --out.")
    with _alone(out) as lock:
        coming = {job.folder for job in plan.jobs}
        for job in plan.jobs if not dry else ():
            _make_ready(out / job.folder, any(need.folder in coming for need, _ in job.needs.values()))
        write_json(out / PLAN, {"wanted": [plan.table.job(row).folder for row in plan.rows("to run")],
                                "jobs": [_entry(job, plan, coming, out) for job in plan.jobs]})
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(resources.files(__package__) / "Snakefile"),
                   "--directory", str(out), "--rerun-incomplete", "--keep-going", "--rerun-triggers", "mtime", "input", "params",
                   "--nolock", *(["--executor", executor, "--jobs", str(cores)] if executor else
                                 ["--cores", str(cores), "--resources", "gpu=1"]),
                   *(["--dry-run"] if dry else []), "--config", f"plan={(out / PLAN).resolve()}", f"start={Path.cwd()}"]
        if dry:
            return [subprocess.run(command, encoding="utf-8", errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout]
        with open(out / SAID, "w", encoding="utf-8") as said:
            here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])     # this very fsslib
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, "PATH": here},
                                       pass_fds=[lock])
            _watch(process, plan, out)
    failed = [job for job in plan.jobs if not (out / job.folder / RESULT).exists()]
    if failed and not any((out / job.folder / LOG).exists() for job in failed) and process.returncode:
        raise InputError(out / SAID, "Snakemake stopped before the first job", "a run of the jobs", _last_line(out / SAID))
    return [f"{job.folder}: {_last_line(out / job.folder / LOG)}" for job in failed]


def _make_ready(folder, anew):
    """Clears a job's folder of a result that no longer fits, and of a start from files that come ``anew``; what a killed job
    left is kept, to be resumed."""
    if folder.exists() and (anew or (folder / RESULT).exists()):
        stale = (folder / RESULT).exists() or (folder / STALE).exists()
        shutil.rmtree(folder)
        folder.mkdir()
        if stale:
            (folder / STALE).touch()
    (folder / LOG).unlink(missing_ok=True)


def _entry(job, plan, coming, out):
    minutes = (3 * plan.seconds[job.folder] + plan.features[1]) / 60
    return {"folder": job.folder, "line": job.line(os.path.relpath(out)),
            "needs": [f"{need.folder}/{RESULT}" for need, _ in job.needs.values() if need.folder in coming],
            "resources": {"mem_mb": MEMORY_MB, "runtime": max(30, round(minutes)), "gpu": int(job.gpu)}}


def _watch(process, plan, out):
    """A bar of finished jobs while Snakemake works; an interruption is handed on, and its jobs end with it."""
    with tqdm(total=len(plan.jobs), desc=plan.table.name, unit="job", mininterval=0.5 if sys.stderr.isatty() else 60) as bar:
        try:
            while process.poll() is None:
                time.sleep(0.5)
                bar.update(sum((out / job.folder / RESULT).exists() for job in plan.jobs) - bar.n)
        except KeyboardInterrupt:            # SIGTERM, too: Snakemake would wait for its jobs
            process.send_signal(signal.SIGINT)
            process.wait()
            raise


@contextlib.contextmanager
def _alone(out):
    """Holds ``out`` for one call, from whatever container; a killed one holds nothing, but its Snakemake does while it works.

    Yields the number of the locked file, for Snakemake to inherit. Its own lock would outlive a kill.
    """
    import fcntl                             # Snakemake runs on Linux and macOS
    with open(out / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(out, "another call at work there", "one at a time",
                             "Wait for it, or give this one another --out.") from error
        yield file.fileno()


def _last_line(path):
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "not started, or no word of it"
