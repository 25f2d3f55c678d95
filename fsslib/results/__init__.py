"""Results: stored tables and the papers' numbers; pooled scores; tables as text, Markdown, CSV and pages."""

from .formats import as_text, to_html, to_markdown, to_text, write_table
from .published import published
from .schema import check_table, open_table
from .tables import displays, gaps, maps, probes, recall, scores

__all__ = ["as_text", "check_table", "displays", "gaps", "maps", "open_table", "probes", "published", "recall", "scores",
           "to_html", "to_markdown", "to_text", "write_table"]
