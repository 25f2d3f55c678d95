"""``fsslib results``: the comparisons behind the tables."""

import re
from pathlib import Path

import click

from ..basics.errors import InputError
from . import cli


@cli.group()
def results():
    """Run the comparisons behind the notebooks' tables, and print them."""


@results.command("run")
@click.argument("study")
@click.option("--only", help="Regular expression: only runs whose name matches.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/studies"), help="Folder of the single runs.")
@click.option("--results", "folder", type=click.Path(path_type=Path), default=Path("figures/results"),
              help="Folder of the table.")
def run_study(study, only, out, folder):
    """Run what is missing of STUDY, then write its table as JSON.

    Studies: panet_, contrast_, maps_, qgnet_ and blind_, each with shapes or voc at its end; ablation_voc, choices_voc,
    chosen_voc; qgnet_vgg on a CPU; contrast_vgg, qgnet_vgg321 and qgnet_vgg473 on a GPU.
    """
    from ..basics.storage import writable_folder
    from ..studies import run_study as run
    try:
        re.compile(only or "")
    except re.error as error:
        raise InputError("--only", f"{only!r} ({error})", "a regular expression", "Correct it.") from error
    for path, option in ((out, "--out"), (folder, "--results")):
        writable_folder(path, f"Give another {option}.")
    click.echo(run(study, out, folder, only))


@results.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file):
    """Print a table of figures/results, or a single result.json."""
    from ..results.tables import as_text
    from ..basics.storage import read_json
    click.echo(as_text(read_json(file, "Write it with fsslib results run or fsslib evaluate."), file))
