"""One list of requirements for pip and conda users, and imports that stay light."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import fsslib

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = ("matplotlib", "IPython", "ipywidgets", "jupyterlab", "jupyter_client", "papermill", "skimage")


def conda():
    return (REPOSITORY / "environment.yml").read_text(encoding="utf-8")


def bounds(requirements):
    return dict(re.fullmatch(r"([A-Za-z0-9_-]+)>=([\d.]+)", line).groups() for line in requirements)


def test_pip_and_conda_have_the_same_list():
    pip = bounds(PROJECT["dependencies"]) | bounds(PROJECT["optional-dependencies"]["test"])
    *packages, itself = yaml.safe_load(conda())["dependencies"][-1]["pip"]
    assert bounds(packages) == pip and itself == "-e ."
    assert f"python{PROJECT['requires-python']}" in yaml.safe_load(conda())["dependencies"]


def test_every_line_of_the_conda_list_has_a_reason():
    lines = [line for line in conda().splitlines() if re.match(r"\s+- (?!pip:)", line)]
    assert len(lines) == len(PROJECT["dependencies"]) + len(PROJECT["optional-dependencies"]["test"]) + 4
    assert [line for line in lines if not re.search(r"  +# \w.{5,}", line)] == []


def test_package_data_and_script():
    assert PROJECT["scripts"] == {"fsslib": "fsslib.cli:main"}
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    shipped = {file for package, patterns in settings["package-data"].items() for pattern in patterns
               for file in REPOSITORY.joinpath(*package.split(".")).glob(pattern)}
    others = {file for file in (REPOSITORY / "fsslib").rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert shipped == others and len(shipped) > 20


def test_what_the_grid_needs_is_tested():
    extras = PROJECT["optional-dependencies"]
    assert set(extras["grid"]) < set(extras["test"])


def test_licence():
    text = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0" in text and "The fsslib authors" in text
    assert PROJECT["license"] == "Apache-2.0"


PACKAGE = REPOSITORY / "fsslib"
LIGHT = [name for name in ("", "basics", "reproduce", "datasets", "episodes", "models", "training", "evaluation", "predict", "results",
                           "grid", "cli")
         if (PACKAGE / name / "__init__.py").exists() or (PACKAGE / f"{name}.py").exists()]
SCRIPT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(name, *sorted({name.split('.')[0] for name in sys.modules}))
"""


def test_imports_are_light():
    names = [f"fsslib.{name}".rstrip(".") for name in LIGHT]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)})
    assert done.returncode == 0, done.stderr
    loaded = {name: set(modules) for name, *modules in map(str.split, done.stdout.splitlines())}
    assert list(loaded) == names
    assert {name: modules & set(HEAVY) for name, modules in loaded.items() if modules & set(HEAVY)} == {}
    assert "torch" not in loaded["fsslib.reproduce"]                 # "up to date" is said in seconds


def test_version_is_read_from_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+", fsslib.__version__) and PROJECT["dynamic"] == ["version"]
