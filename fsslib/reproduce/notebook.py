"""A notebook as plain JSON: what the runner must know of it before Jupyter is loaded."""

import ast
from dataclasses import dataclass
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import read_json


@dataclass(frozen=True)
class Notebook:
    """``cells``: the file's cells; ``parameters``: {name: default} of the cell tagged ``parameters``."""
    path: Path
    cells: list
    parameters: dict

    @classmethod
    def read(cls, path):
        """Reads a notebook of format 4; anything else raises InputError."""
        cure = "Correct the profile, or put the notebook back (git checkout)."
        content = read_json(path, cure)
        if not isinstance(content, dict) or content.get("nbformat") != 4 or "cells" not in content:
            raise InputError(path, "no notebook of format 4", "a notebook", cure)
        return cls(Path(path), content["cells"], _parameters(content["cells"], path))

    @property
    def name(self):
        return self.path.stem

    @property
    def title(self):
        """The first heading; the file's name where there is none."""
        lines = [line for cell in self.cells if cell["cell_type"] == "markdown" for line in source(cell).split("\n")]
        return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), self.name)

    @property
    def recipe(self):
        """What decides the outcome: kind, source and tags of each cell; no outputs, counts or ids."""
        return [[cell["cell_type"], source(cell), cell["metadata"].get("tags", [])] for cell in self.cells]


def source(cell):
    """A cell's text; in the file it is a string or a list of lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def runs(cell):
    """Whether a cell is code that the kernel has to execute."""
    return cell["cell_type"] == "code" and bool(source(cell).strip())


def _parameters(cells, path):
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if not tagged:
        return {}
    try:
        return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source(tagged[0])).body}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise InputError(path, "a cell tagged 'parameters' with more than literals", "lines 'name = literal  # help'",
                         "Move everything else into the next cell.") from error
