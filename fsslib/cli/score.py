"""``fsslib score``: episode lists for any other code base, and the scores of the masks that it predicted."""

import click

from . import cli
from .options import DATASET, ROOT, class_ids, own_classes, refuse_unused, tell, tell_one
from .paths import PATH


@cli.group()
def score():
    """Score masks that any other code predicted, on fixed episodes.

    First `fsslib score episodes`, then your own code, then `fsslib score masks`.
    """


@score.command()
@DATASET
@ROOT
@click.option("--fold", type=int, default=0, help="0 to 3; its five classes are novel.")
@click.option("--classes", help="Classes instead of a fold's, ids as 6-10,16 or names as cup,bowl.")
@click.option("--shots", type=int, default=1, help="K, support images a way.")
@click.option("--ways", type=int, default=1, help="N, classes an episode.")
@click.option("--protocol", default="pfenet", help="pfenet, qgnet, panet, hsnet, bam or symnet.")
@click.option("--episodes", type=int, help="Number a seed (else the protocol's).")
@click.option("--seed", type=int, multiple=True, help="Episode seed, may be repeated (else the protocol's).")
@click.option("--out", type=PATH, required=True, help="The list, a JSON file.")
@click.pass_context
def episodes(context, dataset, root, fold, classes, shots, ways, protocol, episodes, seed, out):
    """Write the episodes of a protocol as a list with a digest.

    An entry of "episodes" is [class ids], [[ids of the support images] a way], id of the query image.
    """
    from ..datasets import open_dataset
    from ..episodes.folds import novel_classes
    from ..episodes.protocols import get_protocol
    from ..evaluation.masks import mask_path
    from ..evaluation.outside import write_list
    if classes or dataset == "folder":
        refuse_unused(context, "--classes" if classes else "--dataset folder", "fold")
    chosen = class_ids(classes, dataset, root) if classes is not None else None if dataset == "folder" else novel_classes(dataset, fold)
    pictures = open_dataset(dataset, root, get_protocol(protocol).split)
    listed = write_list(out, pictures, chosen or own_classes(pictures), shots, protocol, ways, episodes, seed or None,
                        None if classes or dataset == "folder" else fold)
    count, size = len(listed["episodes"]), listed["size"]
    click.echo(f"{count} episodes of {dataset} {listed['split']}; {out}")
    click.echo(f"digest  {listed['list_digest']}")
    click.echo(f"masks   one PNG an episode in the order of the list, {mask_path('', 0)} to {mask_path('', count - 1)}")
    click.echo("values  0 background, " + ("1 object" if ways == 1 else f"1 to {ways} the object of way 1 to {ways}"))
    click.echo("size    " + (
        "that of each query image" if listed["scored"] == "original" else
        f"{size}x{size} px, to which images are resized" if listed["resize"] == "square" else
        f"{size}x{size} px: the long side resized to {size}, both sides down to a multiple of 8, the rest below and right"))


@score.command()
@click.argument("folder", type=PATH)
@click.option("--list", "list_path", type=PATH, required=True, help="A file of fsslib score episodes.")
@ROOT
@click.option("--against", type=PATH, metavar="FOLDER2", help="Other masks on the same list; prints the "
              "mIoU of FOLDER less theirs, paired episode by episode.")
@click.option("--out", type=PATH, help="The result, a JSON file.")
def masks(folder, list_path, root, against, out):
    """Score the masks in FOLDER, one PNG an episode of the list."""
    from ..basics.storage import write_json
    from ..datasets import open_dataset
    from ..evaluation.outside import refuse_other_result, score_masks
    if out:
        refuse_other_result(out, list_path)
    result = score_masks(folder, list_path, root, against)
    if out:
        write_json(out, result)
    tell(result, open_dataset(result["config"]["dataset"], root, result["config"]["split"]).class_names)
    if against:
        tell_one("difference", result["difference"]["miou"], result["difference"]["interval"])
    click.echo(f"{result['config']['episodes']} episodes; " + (f"{out}" if out else f"list {result['digests']['list'][:12]}"))

