"""Brings a run's outputs back into the checkout: clean notebooks in ``notebooks/``, pictures in ``figures/``."""

import base64
import copy
import io
import json
import re

from ..basics.errors import InputError, apart
from ..basics.storage import atomic_path, read_json, writable_folder, write_json

LARGEST = 400_000         # bytes of a notebook with its outputs
COLOURS = 128             # of a stored picture: a fifth of the bytes, and hardly another look
PATHS = re.compile(r"(?<![\w.:/~-])/(?:home|root|work|tmp|Users|private|mnt|opt|usr|var)/"
                   r"|\b[A-Z]:\\(?i:users|windows|program|documents|data|temp)")       # not C:\mathbb{R}
_PROGRESS = re.compile(r"\d+%\|.*\|.*\[|\?(?:it|[a-z]+)/s")     # what tqdm's bars look like as text
_WIDGET = "application/vnd.jupyter.widget-view+json"
_METADATA = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
             "language_info": {"name": "python"}}


def publish_run(name, plan, project, folder, state):
    """Stores the executed notebooks of ``plan`` and the figures they wrote; all is checked before the first copy.

    What each took goes to ``figures/results/reproduce_NAME.json``, where README and cost tables have it from.

    A parameter that differs from the notebook's own default, an absolute path in an output, a notebook over
    400 kB and a figure that is gone raise InputError, and nothing is changed.
    """
    texts, figures = {}, []
    for run, notebook in plan:
        for key, value in run.parameters.items():
            if json.dumps(value) != json.dumps(notebook.parameters[key]):        # YAML knows no tuples
                raise InputError(f"--publish, notebook {run.name}", f"{key} = {value!r} in the profile",
                                 f"{notebook.parameters[key]!r} as in the notebook",
                                 "Published outputs must belong to the code above them: make the two equal.")
        texts[notebook.path] = _text(run.name, read_json(folder / f"{run.name}.ipynb"))
        figures += [folder / "figures" / name for name in state[run.name]["figures"]]
    for figure in figures:
        if not figure.exists():
            raise InputError(figure, "no such file", "the figure its notebook wrote", "Run it again with --force.")
    target = writable_folder(project / "figures", "Make it writable.")
    for path, text in texts.items():
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8")
    for figure in figures:
        with atomic_path(target / figure.name) as part:
            part.write_bytes(fewer_colours(figure.read_bytes()))
    measured = project / "figures" / "results" / f"reproduce_{name}.json"
    records = read_json(measured)["notebooks"] if measured.exists() else {}                # --only: the others stay
    records |= {run: {key: record[key] for key in ("seconds", "cells", "machine", "versions")}
                for run, record in state.items() if record["status"] == "completed"}
    here = {run: records[run] for run in sorted(records) if (project / "notebooks" / f"{run}.ipynb").exists()}
    write_json(measured, {"command": f"fsslib reproduce --profile {name} --publish", "notebooks": here})
    print(f"published: {len(texts)} notebooks, {len(figures)} figures", flush=True)


def _text(name, executed):
    text = json.dumps(cleaned(executed, name), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if len(text.encode()) > LARGEST:
        size, most = apart(len(text.encode()) / 1000, LARGEST / 1000, 0)
        raise InputError(f"--publish, notebook {name}", f"{size} kB with outputs", f"at most {most} kB", "Save its figures with fewer pixels.")
    return text


def cleaned(executed, name):
    """A copy of an executed notebook as it is stored: what the reader needs, and the same on every machine.

    Gone: papermill's cell and metadata, stderr, progress bars, widgets and their state, times, most colours.
    Counts run 1..n; ids are ``<number>-<position>``.
    """
    notebook, count, cells = copy.deepcopy(executed), 0, []
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:
            continue
        cell["metadata"] = {"tags": tags} if tags else {}
        cell["id"] = f"{name.split('_')[0]}-{len(cells):02d}"
        if cell["cell_type"] == "code":
            count += cell["execution_count"] is not None
            cell["execution_count"] = count if cell["execution_count"] is not None else None
            cell["outputs"] = [_output(output, count, f"--publish, notebook {name}, cell {len(cells) + 1}")
                               for output in cell["outputs"] if not _debris(output)]
        cells.append(cell)
    return {"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}


def _debris(output):
    if output["output_type"] == "stream":
        return output["name"] == "stderr" or bool(_PROGRESS.search(_joined(output["text"])))
    data = output.get("data", {})
    return _WIDGET in data or bool(_PROGRESS.search(_joined(data.get("text/plain", ""))))


def _output(output, count, where):
    if "execution_count" in output:
        output["execution_count"] = count
    if picture := output.get("data", {}).get("image/png"):
        output["data"]["image/png"] = base64.b64encode(fewer_colours(base64.b64decode(picture))).decode()
    texts = [output.get("text", ""), *(value for kind, value in output.get("data", {}).items()
                                       if kind.startswith("text/"))]
    for text in map(_joined, texts):
        found = PATHS.search(text)
        if found:
            line = next(line for line in text.splitlines() if PATHS.search(line))
            raise InputError(where, f"a path of this machine in the output ({line.strip()[:80]!r})",
                             "outputs that are the same everywhere", "Print the file's name only.")
    return output


def fewer_colours(png):
    """PNG bytes -> PNG bytes with a palette of ``COLOURS``; kept as it is if that is no smaller."""
    from PIL import Image
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(buffer, "PNG", optimize=True)
    return min(png, buffer.getvalue(), key=len)


def _joined(text):
    return text if isinstance(text, str) else "".join(text)
