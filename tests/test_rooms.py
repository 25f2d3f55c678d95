"""The house: every room says what it is for, and no import runs upwards."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fsslib"
ORDER = ("basics", "datasets", "superpixels", "episodes", "metrics", "regions", "models", "evaluation", "training", "contrast",
         "predict", "results", "grid", "explorers", "bench", "reproduce", "doctor", "cli")
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in ORDER)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path, source):
    """Rooms of fsslib that a file imports from, at its head or inside of a function."""
    package = ["fsslib", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) + 1 - node.level] if node.level else []
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        for name in names:
            if name.startswith("fsslib.") and name.split(".")[1] in ORDER:
                yield name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_runs_upwards(path):
    own = ORDER.index(room(path))
    assert [name for name in imported(path, path.read_text(encoding="utf-8")) if ORDER.index(name) > own] == []


def test_an_upward_import_is_seen():
    for line in ("from ..models import build_model", "from .. import models", "import fsslib.models.fem",
                 "def f():\n    from ..models.bank import ModelBank"):
        assert list(imported(PACKAGE / "episodes" / "x.py", line)) == ["models"]


def test_every_room_is_in_the_order_and_says_what_it_is_for():
    for init in PACKAGE.glob("*/__init__.py"):
        assert init.parent.name in ORDER
        first = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))).splitlines()[0]
        assert len(first) > 30 and first.endswith((".", "``."))
