"""The grid: every comparison as rows of data, their jobs as commands of the kit, run by Snakemake."""

from .rows import Row
from .tables import NAMES, Table, load_table

__all__ = ["NAMES", "Row", "Table", "load_table"]
