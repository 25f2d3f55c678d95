"""A profile: which notebooks run, in which order, with which parameters and limits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..basics import config
from ..basics.errors import InputError
from ..basics.storage import user_path
from .notebook import Notebook

PROFILES = Path(__file__).parent / "profiles"
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class NotebookRun:
    """One notebook of a profile: its file name without ``.ipynb``, and what papermill injects."""
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """``cell_timeout`` in seconds a cell; ``budget_minutes`` is told, not enforced."""
    name: str
    budget_minutes: float
    cell_timeout: int
    notebooks: tuple[NotebookRun, ...]


def load_profile(profile):
    """The Profile of that name in ``profiles/``, or of a YAML file given by its path (ending in .yaml)."""
    if str(profile).endswith((".yaml", ".yml")):
        path = user_path(profile)
    else:
        path = PROFILES / f"{profile}.yaml"
        known = sorted(file.stem for file in PROFILES.glob("*.yaml"))
        if profile not in known:
            raise InputError("profile", repr(profile), f"one of {', '.join(known)}, or the path of a .yaml file",
                             "Correct the name.")
    loaded = config.load(Profile, path)
    names = [run.name for run in loaded.notebooks]
    if len(set(names)) < len(names) or not names:
        raise InputError(path, f"the notebooks {', '.join(names) or '(none)'}", "each notebook once, at least one",
                         "Correct the list 'notebooks'.")
    if loaded.cell_timeout <= 0:
        raise InputError(path, f"cell_timeout {loaded.cell_timeout}", "seconds, more than 0", "Correct the value.")
    return loaded


def project_folder():
    """The checkout: the folder that holds ``notebooks/``, beside the package or the current one."""
    for folder in (PACKAGE.parent, Path.cwd()):
        if (folder / "notebooks").is_dir():
            return folder
    raise InputError("notebooks", f"no folder 'notebooks' in {PACKAGE.parent} or {Path.cwd()}", "the notebooks",
                     "Run it in a clone of the repository, installed there with 'pip install -e .'.")


def planned(profile, project, only=None):
    """[(NotebookRun, Notebook)] to run, checked: the files are there and know every parameter.

    ``only``: names (or their leading numbers, as ``"01"``) to choose; the profile's order is kept.
    """
    names = [run.name for run in profile.notebooks]
    for wanted in only or ():
        if not any(_matches(wanted, name) for name in names):
            raise InputError("notebook", repr(wanted), f"one of {', '.join(names)}", "Correct the name.")
    plan = []
    for run in profile.notebooks:
        if only and not any(_matches(wanted, run.name) for wanted in only):
            continue
        notebook = Notebook.read(project / "notebooks" / f"{run.name}.ipynb")
        for key in run.parameters:
            if key not in notebook.parameters:
                raise InputError(f"profile {profile.name}, notebook {run.name}", f"the unknown parameter {key!r}",
                                 f"one of {', '.join(notebook.parameters) or '(it has none)'}",
                                 "Correct the profile or the notebook's cell tagged 'parameters'.")
        plan.append((run, notebook))
    return plan


def _matches(wanted, name):
    return wanted in (name, name.split("_")[0], f"{name}.ipynb")
