"""Tables as text, Markdown, CSV and HTML, all from the same lines of cells."""

import csv
import html
import io
from collections import Counter
from pathlib import Path
from string import Template

from ..basics.errors import InputError
from ..basics.storage import atomic_path, write_json
from .schema import check_table
from .tables import displays, foot

PAGE = Path(__file__).with_name("page.html")         # its columns sort


def to_html(header, lines, caption=""):
    """A plain HTML table; the first column to the left, the others to the right."""
    def line(cells, tag):
        return "<tr>" + "".join(f'<{tag} style="text-align:{"left" if i == 0 else "right"}">{html.escape(str(cell))}</{tag}>'
                                for i, cell in enumerate(cells)) + "</tr>"
    body = "".join(line(row, "td") for row in lines)
    return f"<table><caption>{caption}</caption><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def to_text(header, lines):
    """The same with spaces, for a terminal."""
    rows = [header, *lines]
    widths = [max(len(str(row[i])) for row in rows if i < len(row)) for i in range(len(header))]
    return "\n".join("  ".join(str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))) for row in rows)


def to_markdown(header, lines):
    """The same as Markdown."""
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
                     for row in [header, ["---"] * len(header), *lines])


def write_table(table, folder):
    """Writes a checked ``table`` as NAME.json, and from it NAME.md, NAME.csv and NAME.html, a page whose columns sort."""
    folder, name = Path(folder), check_table(table)["table"]
    shown = displays(table)
    rows = io.StringIO()
    for _, header, lines in shown:
        csv.writer(rows, lineterminator="\n").writerows([header, *lines, []])
    texts = {
        "md": f"# {table['title']}\n\n{table['shows']}\n\n`{table['command']}`\n\n"
              + "\n\n".join([*(f"{caption}:\n\n{to_markdown(header, lines)}" for caption, header, lines in shown), *foot(table)])
              + "\n",
        "csv": rows.getvalue().rstrip("\n") + "\n",
        "html": Template(PAGE.read_text(encoding="utf-8")).substitute(title=html.escape(table["title"]), shows=html.escape(table["shows"]), command=table["command"],
                            tables="".join(to_html(header, lines, caption) for caption, header, lines in shown) + "".join(f"<p>{line}</p>" for line in foot(table)))}
    for kind, text in texts.items():
        with atomic_path(folder / f"{name}.{kind}") as part:
            part.write_text(text, encoding="utf-8")
    write_json(folder / f"{name}.json", table)          # last: what the others were made from


def as_text(stored, where="result file"):
    """A stored table or a single result.json as text; anything else raises InputError naming ``where``."""
    if isinstance(stored, dict) and "schema" in stored:
        table = check_table(stored, where)
        lines = Counter(name.rpartition(", fold")[0] for name in table["missing"])
        waiting = ["waiting: " + "; ".join(f"{label} ({count})" for label, count in lines.items())] if lines else []
        return "\n\n".join([f"{table['title']}\n{table['shows']}", *(to_text(header, lines) for _, header, lines in displays(table)),
                            *foot(table), *waiting])
    try:
        if stored["miou"] is None:
            return "mIoU not defined: a class never occurred; score more episodes"
        low, high = stored["intervals"]["miou"]
        return f"mIoU {stored['miou']:.2f} % (95 % interval {low:.2f} to {high:.2f}), FB-IoU {stored['fb_iou']:.2f} %"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(where, "neither a table nor a result", "a file of figures/results or a result.json",
                         "Give a file written by fsslib results run or fsslib evaluate.") from error
