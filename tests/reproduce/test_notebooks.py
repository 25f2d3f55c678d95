"""Notebook hygiene is code: shape, order, size, ids and links of every stored notebook."""

import ast
import copy
import io
import json
import re
import tokenize
from pathlib import Path

import pytest

from fsslib.reproduce.profile import PROFILES, load_profile, planned
from fsslib.reproduce.publish import PATHS

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def text(cell):
    return "".join(cell["source"])


def faults(path, content, siblings):
    """Every way in which a stored notebook departs from the shape that readers and tools rely on."""
    cells = content["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    prose = [cell for cell in cells if cell["cell_type"] == "markdown"]
    words = "\n".join(map(text, prose))
    checks = {
        "15-45 cells": 15 <= len(cells) <= 45,
        "prose : code from 1 : 2 to 2 : 1": len(code) <= 2 * len(prose) and len(prose) <= 2 * len(code),
        "40-250 lines of code": 40 <= sum(len(text(cell).splitlines()) for cell in code) <= 250,
        "cells of at most 25 lines": all(len(text(cell).splitlines()) <= 25 for cell in code),
        "at most 3 definitions": sum(len(re.findall(r"^\s*(?:async def|def|class) ", text(cell), re.M))
                                     for cell in code) <= 3,
        "at most 600 kB": len(json.dumps(content, ensure_ascii=False).encode()) <= 600_000,
        "a title and a question first": cells[0]["cell_type"] == "markdown" and "?" in text(cells[0])
                                        and bool(re.match(r"# \w", text(cells[0]))),
        "a table of costs in the first three cells": any(re.search(r"^\|.*minutes.*\|$", text(cell), re.M)
                                                         for cell in cells[:3]),
        "exercises with folded answers": bool(re.search(r"^#+ .*Exercise", words, re.M)) and "<details>" in words,
        "a summary": bool(re.search(r"^#+ .*Summary", words, re.M)),
        "references": bool(re.search(r"^#+ .*References", words, re.M)),
        "counts 1..n in order": [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)],
        "no error outputs": not any(o["output_type"] == "error" for cell in code for o in cell["outputs"]),
        "no debris on stderr": not any(o.get("name") == "stderr" for cell in code for o in cell["outputs"]),
        "a figure inside the file": any("image/png" in o.get("data", {}) for cell in code for o in cell["outputs"]),
        "no pictures from elsewhere": not re.search(r"!\[[^\]]*\]\(\s*(?:https?:|//)|<img[^>]*src=.?https?:", words),
        "ids <number>-<position>": [cell["id"] for cell in cells] == [f"{path.stem[:2]}-{i:02d}"
                                                                      for i in range(len(cells))],
        "only kernelspec and language_info as metadata": set(content["metadata"]) <= {"kernelspec", "language_info"},
    }
    found = [f"expected {rule}" for rule, holds in checks.items() if not holds]
    found += [f"a path of one machine: {line.strip()[:100]}" for line in readable(cells) if PATHS.search(line)]
    return found + parameter_faults(code) + link_faults(path, words, siblings)


def readable(cells):
    """The lines of sources and of textual outputs (no pictures)."""
    for cell in cells:
        yield from text(cell).splitlines()
        for output in cell.get("outputs", []):
            yield from "".join(output.get("text", "")).splitlines()
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield from "".join(value).splitlines()


def parameter_faults(code):
    """papermill's inspector reads lines ``name = literal  # help`` and misreads much else."""
    tagged = [text(cell) for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        return [f"expected one cell tagged 'parameters', found {len(tagged)}"]
    try:
        statements = ast.parse(tagged[0]).body
    except SyntaxError as error:
        return [f"parameters: {error}"]
    comments = {token.start[0] for token in tokenize.generate_tokens(io.StringIO(tagged[0]).readline)
                if token.type == tokenize.COMMENT}
    found = []
    for statement in statements:
        line = ast.get_source_segment(tagged[0], statement)
        single = isinstance(statement, ast.Assign) and len(statement.targets) == 1 \
            and isinstance(statement.targets[0], ast.Name) and statement.lineno == statement.end_lineno
        try:
            literal = single and (ast.literal_eval(statement.value), True)[1]
        except ValueError:
            literal = False
        if not (literal and statement.lineno in comments):
            found.append(f"parameters: expected 'name = literal  # help', found {line!r}")
    if len({statement.lineno for statement in statements}) < len(statements):
        found.append("parameters: expected one a line")
    return found


def link_faults(path, words, siblings):
    """Links to notebooks must exist, and the neighbours must be among them."""
    linked = re.findall(r"\]\((?:\./)?([^)#\s]+\.ipynb)", words)
    found = [f"a link to the missing {name}" for name in linked if name not in siblings]
    place = siblings.index(path.name)
    for neighbour in siblings[max(place - 1, 0):place] + siblings[place + 1:place + 2]:
        if neighbour not in linked:
            found.append(f"expected a link to its neighbour {neighbour}")
    return found


def test_there_are_notebooks():
    assert NOTEBOOKS, f"no notebooks in {FOLDER}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_shape(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert faults(path, content, [notebook.name for notebook in NOTEBOOKS]) == []


@pytest.mark.parametrize("profile", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_profiles_fit_their_notebooks(profile):
    plan = planned(load_profile(profile.stem), REPOSITORY)           # raises for an unknown parameter or notebook
    assert [run.name for run, _ in plan] == sorted(run.name for run, _ in plan)


# The checks themselves: a notebook without fault has none, and each fault is found.

def markdown(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source, *outputs, tags=()):
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source, "outputs": list(outputs)}


def sound():
    figure = {"output_type": "display_data", "data": {"image/png": "aGk=", "text/plain": ["<Figure>"]}, "metadata": {}}
    cells = [markdown("# One\n\nWhat is it?"), markdown("| needs | minutes |\n|---|---|\n| a | 1 |"),
             code("seed = 0  # of the draw\nsize = (1, 2)  # pixels", tags=["parameters"])]
    for i in range(5):
        cells += [markdown(f"## Part {i}"), code("x = 1\n" * 9, figure)]
    cells += [markdown("## Exercises\n<details>yes</details>"), markdown("## Summary\n- a\n- b\n- c"),
              markdown("## References\n[before](00_a.ipynb) [next](02_c.ipynb)")]
    counts = iter(range(1, 99))
    for i, cell in enumerate(cells):
        cell["id"] = f"01-{i:02d}"
        if cell["cell_type"] == "code":
            cell["execution_count"] = next(counts)
    return {"cells": cells, "metadata": {"kernelspec": {}}, "nbformat": 4, "nbformat_minor": 5}


def in_cell(number, **change):
    return lambda content: content["cells"][number].update(change)


def output(**fields):
    return lambda content: content["cells"][4]["outputs"].append({"output_type": "stream", "name": "stdout", **fields})


@pytest.mark.parametrize("change, message", [
    (lambda c: None, None),
    (lambda c: c["cells"].pop(10), "counts"),
    (in_cell(4, execution_count=7), "counts"),
    (in_cell(4, source="x = 1\n" * 26), "25 lines"),
    (in_cell(4, source="def a(): 0\ndef b(): 0\nclass C:\n    def d(self): 0\n"), "3 definitions"),
    (in_cell(4, source="x"), "lines of code"),
    (in_cell(0, source="# One"), "question"),
    (in_cell(1, source="| needs |"), "costs"),
    (in_cell(2, metadata={}), "one cell tagged"),
    (in_cell(2, source="seed = 0"), "found 'seed = 0'"),
    (in_cell(2, source="seed: int | None = 0  # a"), "found 'seed: int"),
    (in_cell(2, source="seed = 2 * 3  # a"), "found 'seed = 2"),
    (in_cell(2, source="a = 1; b = 2  # a"), "one a line"),
    (in_cell(3, source="![figure](https://example.org/a.png)"), "pictures from elsewhere"),
    (in_cell(3, source="in `/home/ada/data`"), "/home/ada"),
    (in_cell(13, source="## Exercises"), "folded"),
    (in_cell(15, source="## References\n[before](00_a.ipynb)"), "neighbour 02_c"),
    (in_cell(15, source="## References\n[before](00_a.ipynb) [next](02_c.ipynb) [x](09_x.ipynb)"), "missing 09_x"),
    (in_cell(5, id="abc"), "ids"),
    (output(text=["saved C:\\data\n"]), "C:"),
    (output(name="stderr", text="0%"), "stderr"),
    (output(output_type="error"), "error"),
    (output(text="x" * 600_000), "600 kB"),
    (lambda c: c["metadata"].update(widgets={}), "metadata"),
    (lambda c: [cell.update(outputs=[]) for cell in c["cells"] if "outputs" in cell], "a figure inside"),
    (lambda c: c["cells"].extend([copy.deepcopy(c["cells"][3]) for _ in range(12)]), "prose : code"),
])
def test_faults_are_found(change, message):
    content = sound()
    change(content)
    found = "\n".join(faults(Path("01_b.ipynb"), content, ["00_a.ipynb", "01_b.ipynb", "02_c.ipynb"]))
    assert message in found if message else found == ""


def test_cost_tables_say_what_was_measured():
    """Minutes on 2 CPU cores in a notebook's table: the stored measurement, rounded up to a whole minute or two."""
    measured = json.loads((REPOSITORY / "figures" / "results" / "reproduce_demo.json").read_text())["notebooks"]
    assert set(measured) == {path.stem for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        (said,) = re.findall(r"^\|[^|]+\|[^|]+\| *(\d+) *\|[^|]+\|$", text(json.loads(path.read_text())["cells"][0]), re.M)
        minutes = measured[path.stem]["seconds"] / 60
        assert minutes <= int(said) <= minutes + 2, f"{path.name}: {said} said, {minutes:.1f} measured"
