"""The report of a run: one self-contained page, and each executed notebook as a page of its own."""

import base64
import html
import json
import re
import struct
from datetime import datetime
from pathlib import Path

from ..basics.storage import atomic_path
from .notebook import source

TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(profile, folder, state):
    """Writes ``folder/index.html``, and ``folder/<name>.html`` for every notebook that has run.

    ``state``: {name: record} as in state.json. Figures are embedded, so that the page can be sent by mail.
    """
    import jinja2

    cards = [_card(run.name, folder, state.get(run.name)) for run in profile.notebooks]
    command = "fsslib reproduce" + (f" --profile {profile.name}" if profile.name != "demo" else "")
    ran = [record for record in state.values() if record]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        profile=profile, cards=cards, total=sum(record["seconds"] for record in ran) / 60,
        versions=ran[-1]["versions"] if ran else {}, machines=sorted({record["machine"] for record in ran}),
        written=datetime.now().strftime("%Y-%m-%d %H:%M"), command=command)
    with atomic_path(folder / "index.html") as part:
        part.write_text(page, encoding="utf-8")


def _card(name, folder, record):
    """What the template shows of one notebook; ``record`` None where it has not run."""
    card = {"name": name, "title": name, "status": "not run", **(record or {}),
            "page": None, "question": "", "figures": [], "tables": [], "slowest": None}
    executed = folder / f"{name}{'.failed' if card['status'] == 'failed' else ''}.ipynb"
    if record and executed.exists():
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
        card |= {"question": _question(cells), "page": _page(executed, folder / f"{name}.html")}
        card["figures"], card["tables"] = _shown(cells)
    return card


def _question(cells):
    """The first line of prose below the title."""
    text = next((source(cell) for cell in cells if cell["cell_type"] == "markdown"
                 and "papermill-error-cell-tag" not in cell["metadata"].get("tags", [])), "")
    lines = [line.strip() for line in text.splitlines()]
    return next((re.sub(r"[*_`]", "", line) for line in lines if line and not re.match(r"[#|<!$-]", line)), "")


def _shown(cells):
    """The PNG figures [{png, caption, wide}] and HTML tables [{table, caption}] among the outputs."""
    figures, tables, heading = [], [], ""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#{2,}\s+(.*)$", source(cell), re.MULTILINE)
            heading = headings[-1] if headings else heading
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                png = "".join(data["image/png"]).replace("\n", "")
                figures.append({"png": png, "caption": heading, "wide": _is_wide(png)})
            table = "".join(data.get("text/html", ""))
            if "<table" in table:
                tables.append({"table": table, "caption": heading})
    return figures, tables


def _is_wide(png):
    """Whether a picture is so wide that it needs a row of its own; a PNG's bytes 16-24 are its width, height."""
    width, height = struct.unpack(">II", base64.b64decode(png[:32])[16:24])
    return width > 1.9 * height


def _page(executed, path):
    """The executed notebook as HTML beside it; its file name."""
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)                     # dead without a kernel, and their scripts are remote
    exporter = HTMLExporter(require_js_url="", mermaid_js_url="")
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": executed.stem}})
    body = body.replace('<script src=""></script>', "")        # the empty tag left of require.js
    with atomic_path(path) as part:
        part.write_text(body, encoding="utf-8")
    return html.escape(path.name)
