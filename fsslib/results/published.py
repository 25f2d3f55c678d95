"""The papers' numbers, read from ``published.yaml``: each with its source and place."""

import functools
from pathlib import Path

import yaml


@functools.cache
def _papers():
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def published(table, **columns):
    """Rows of the QGNet paper's table ``table`` ("1" to "7") whose ``columns`` have these values.

    Each is a dict with ``method``, ``shots``, ``mean`` and, where printed, ``backbone``, ``size``, ``folds`` (four numbers) or
    ``thresholds``, a ``note``; ``source`` and ``place`` say where it stands.
    """
    found = _papers()[str(table)]
    return [{**row, "source": found["source"], "place": found["place"]} for row in found["rows"]
            if all(row.get(name) == value for name, value in columns.items())]


def label(row):
    """How a published row is named in a table."""
    parts = [row["method"], row.get("backbone"), row.get("size") and str(row["size"])]
    return f"published: {' '.join(part for part in parts if part)}, {row['shots']}-shot" + (f" ({row['note']})" if "note" in row else "")
