"""``fsslib data``: download, check, convert and segment data sets."""

import sys

import click

from ..basics.interrupts import exit_status
from . import cli
from .options import DATASET, ROOT
from .paths import PATH


@cli.group()
def data():
    """Download, check, convert and segment data sets."""


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
    """Read every file of a data set (voc, folder): what is there, missing, damaged, odd."""
    from ..datasets import check as checking
    rows = checking.check(name, root)
    click.echo(checking.table(rows))
    sys.exit(1 if any(row.state == "damaged" for row in rows) else 0)


@data.command()
@click.argument("folder", type=PATH)
@click.option("--colours", type=PATH, metavar="LABELMAP", help="Text file, name:red,green,blue a line, as CVAT "
              "writes it; not needed for masks of 0 and 255.")
@click.option("--out", type=PATH, help="Folder of the new masks (else FOLDER_numbers); must be empty.")
def masks(folder, colours, out):
    """Write masks of colours, or of 0 and 255, as class numbers; the masks in FOLDER stay as they are."""
    from ..datasets.colours import convert_masks
    out, smoothed = convert_masks(folder, colours, out)
    for name, count in smoothed.items():
        click.echo(f"{name}: {count} px of other colours, as smoothed edges have them, are 255 (ignored)")
    click.echo(f"{out}: the masks with class numbers, named in {folder.parent / 'classes.txt'}. To use them rename {folder.name} "
               f"and call {out.name} {folder.name}.")


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
    from ..datasets.selection import Pictures
    from ..superpixels.cache import PatchCache
    given = {name: value for name, value in parameters.items() if value is not None}
    pictures = open_dataset(dataset, root, split, **({"need_masks": False} if dataset == "folder" else {}))
    cache = PatchCache(Pictures(pictures), method, **given)
    try:
        made = cache.fill(workers)
    except KeyboardInterrupt as error:
        click.echo("\ninterrupted: the same command goes on where this one stopped", err=True)
        sys.exit(exit_status(error))
    click.echo(f"{made} images segmented, {len(cache) - made} were there; {cache.folder}")


@data.command()
@click.option("--names", required=True, help="Names of classes, separated by commas.")
@click.option("--out", type=PATH, default="vectors.npz", show_default=True, help="File of the vectors.")
def vectors(names, out):
    """Write a vector for each name of a class, from a sentence encoder (extra `text`)."""
    from ..models.symnet.text import write_vectors
    names = [name.strip() for name in names.split(",") if name.strip()]
    write_vectors(out, names)
    click.echo(f"{out}: vectors of {', '.join(names)}")
