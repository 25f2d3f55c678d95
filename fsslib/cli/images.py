"""``fsslib data``: download, check and segment data sets."""

import sys

import click

from ..basics.interrupts import exit_status
from . import cli
from .options import DATASET, ROOT


@cli.group()
def data():
    """Download and check data sets."""


@data.command()
@click.argument("name")
@ROOT
def fetch(name, root):
    """Download a data set (voc: VOC 2012 and SBD, about 3.4 GB)."""
    from ..datasets.download import fetch as run
    from ..basics.storage import data_dir
    click.echo(f"{name} is in {run(name, root or data_dir())}")


@data.command()
@click.argument("name")
@ROOT
def check(name, root):
    """Read every file of a data set: what is there, missing, damaged."""
    from ..datasets import check as checking
    rows = checking.check(name, root)
    click.echo(checking.table(rows))
    sys.exit(1 if any(row.state == "damaged" for row in rows) else 0)


@data.command()
@DATASET
@ROOT
@click.option("--split", type=click.Choice(["train", "val"]), default="train", help="Images to segment.")
@click.option("--method", type=click.Choice(["slic", "felzenszwalb"]), default="slic", help="Kind of superpixels.")
@click.option("--segments", "n_segments", type=int, help="slic: about how many patches an image (else 50).")
@click.option("--compactness", type=float, help="slic: larger is squarer (else 10).")
@click.option("--scale", type=float, help="felzenszwalb: larger gives larger patches (else 100).")
@click.option("--sigma", type=float, help="felzenszwalb: smoothing beforehand in px (else 0.8).")
@click.option("--min-size", type=int, help="felzenszwalb: smallest patch in px (else 300).")
@click.option("--workers", type=int, help="Processes (else one a core).")
def superpixels(dataset, root, split, method, workers, **parameters):
    """Segment every image into patches, once; interrupted, the same command goes on.

    `fsslib pretrain` reads those of --split train with the default numbers.
    """
    from ..datasets import open_dataset
    from ..superpixels.cache import PatchCache
    given = {name: value for name, value in parameters.items() if value is not None}
    cache = PatchCache(open_dataset(dataset, root, split), method, **given)
    try:
        made = cache.fill(workers)
    except KeyboardInterrupt as error:
        click.echo("\ninterrupted: the same command goes on where this one stopped", err=True)
        sys.exit(exit_status(error))
    click.echo(f"{made} images segmented, {len(cache) - made} were there; {cache.folder}")
