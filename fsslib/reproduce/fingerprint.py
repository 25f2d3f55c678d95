"""What a notebook's outcome depends on, as one key; and the machine it ran on. Loads neither torch nor Jupyter."""

import functools
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from ..basics.machine import versions
from ..basics.storage import sha256_file, sha256_json
from .profile import PACKAGE


def surroundings(project):
    """What all notebooks of a checkout share: versions, the package's sources, the stored results they read."""
    results = [file for file in project.glob("figures/results/*.json") if not file.name.startswith("reproduce_")]
    files = [*PACKAGE.rglob("*.py"), *results]               # without the timings that --publish writes itself
    return [versions(), sorted([_relative(file, project), sha256_file(file)] for file in files)]


def key(notebook, parameters, shared):
    """sha256 (hex) over a notebook's recipe, its parameters and ``shared`` (from ``surroundings``)."""
    return sha256_json([notebook.recipe, parameters, shared])


def _relative(file, project):
    return str(file.relative_to(PACKAGE if PACKAGE in file.parents else project))


@functools.cache
def machine():
    """One line: processor, usable cores, memory, GPU, system."""
    return " · ".join(filter(None, [_processor(), f"{_cores()} cores", _memory(), _gpu(),
                                    f"{platform.system()} {platform.release()}"]))


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory():
    if sys.platform == "win32":
        return None
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def _gpu():
    """From the driver's own tool: asking torch would load it, which takes longer than "up to date" should."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return "no GPU"
    answer = subprocess.run([tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, encoding="utf-8", errors="replace")
    return ", ".join(answer.stdout.split("\n")).strip(", ") if answer.returncode == 0 else "no GPU"
