"""``fsslib results``: the comparisons behind the tables."""

import re
import sys
from pathlib import Path

import click

from ..basics.errors import InputError
from ..basics.interrupts import exit_status
from . import cli
from .paths import NAME_OR_PATH, PATH

OUT = click.option("--out", type=PATH, default=Path("runs/grid"), help="Folder of the jobs.")
RESULTS = click.option("--results", "folder", type=PATH, default=Path("figures/results"),
                       help="Folder of the tables.")


@cli.group()
def results():
    """Run the comparisons behind the notebooks' tables, print them, join those of several machines."""


@results.command("run")
@click.argument("table", type=NAME_OR_PATH)
@click.option("--only", help="Regular expression: only rows whose name (label, fold, seed) matches.")
@click.option("--cores", type=click.IntRange(1), default=2, help="Jobs at once, one core each; with an executor, jobs in its queue.")
@click.option("--dry-run", "dry", is_flag=True, help="Tell jobs, hours and disk; start nothing.")
@click.option("--executor", help="slurm: hand the jobs to a cluster instead of this machine.")
@click.option("--yes", is_flag=True, help="Start without asking.")
@click.option("--again", is_flag=True, help="Run stored rows, too: whose numbers stand in the table and whose results lie elsewhere.")
@OUT
@RESULTS
def run_table(table, only, cores, dry, executor, yes, again, out, folder):
    """Run what is missing of TABLE, a name or a YAML file of your own, and write the table.

    A call that was interrupted or killed goes on where it stopped; finished jobs are never repeated. `fsslib results list`
    names the tables.
    """
    from ..basics.storage import writable_folder
    from ..grid import load_table
    from ..grid.collect import collect
    from ..grid.plan import make_plan
    from ..grid.run import run
    from ..results import write_table
    try:
        re.compile(only or "")
    except re.error as error:
        raise InputError("--only", f"{only!r} ({error})", "a regular expression", "Correct it.") from error
    asked = load_table(table)
    for job in {job.folder: job for row in asked.rows for job in asked.job(row).chain()}.values():
        words = [word for pair in job.pairs(out) for word in pair]
        cli.commands[job.command].make_context(f"{asked.name}: fsslib {job.command}", words)       # a wrong option is refused here
    for path, option in ((out, "--out"), (folder, "--results")) if not dry else ():
        writable_folder(path, f"Give another {option}.")
    plan = make_plan(asked, out, folder, only, again, bool(executor))
    click.echo(plan.text(cores))
    if dry:
        for job in plan.jobs:
            click.echo(f"{plan.seconds[job.folder] / 60:7.1f} min  {job.line(out)}")
        if executor and plan.jobs:
            click.echo(run(plan, out, cores, executor, dry=True)[0])
        return
    failed = []
    if plan.jobs:
        if not yes and not click.confirm("start?", default=True):
            sys.exit(1)
        try:
            failed = run(plan, out, cores, executor)
        except KeyboardInterrupt as error:
            click.echo("\ninterrupted: the same command goes on where this one stopped", err=True)
            sys.exit(exit_status(error))
    write_table(collect(plan, out, folder, f"fsslib results run {table}"), folder)
    click.echo(folder / f"{asked.name}.json")
    for line in failed:
        click.echo(f"failed: {line}", err=True)
    sys.exit(1 if failed else 0)


@results.command("list")
@RESULTS
def list_tables(folder):
    """Name the tables, with the rows that stand and those that wait."""
    from ..grid import NAMES, load_table
    from ..grid.plan import stored_key
    from ..results import open_table
    for name in NAMES:
        table = load_table(name)
        stored = {stored_key(row) for row in open_table(name, folder)["rows"]} if (folder / f"{name}.json").exists() else set()
        count = sum(row.key in stored for row in table.rows)
        click.echo(f"{name:16}{count:3} of {len(table.rows):3} rows  {table.title}")


@results.command()
@click.argument("name", type=NAME_OR_PATH)
@RESULTS
def show(name, folder):
    """Print a table by its name, or any table or result.json by its path."""
    from ..basics.storage import read_json
    from ..results import as_text
    path = folder / f"{name}.json" if (folder / f"{name}.json").is_file() else Path(name)
    click.echo(as_text(read_json(path, "Write it with fsslib results run or fsslib evaluate."), path))


@results.command()
@click.argument("folders", nargs=-1, required=True, type=PATH)
@OUT
def merge(folders, out):
    """Join FOLDERS of jobs from other machines into this one's; a job with two outcomes is named and nothing is copied."""
    from ..grid.merge import merge as run
    click.echo(f"{run(folders, out)} jobs copied to {out}; `fsslib results run TABLE` writes the tables from them")
