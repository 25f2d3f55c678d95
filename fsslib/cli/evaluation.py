"""``fsslib evaluate``: a model on fixed episodes; its maps; its masks as files."""

from pathlib import Path

import click

from ..basics.errors import InputError
from . import cli
from .options import (DATASET, EPISODES, MODEL, ROOT, about, build, class_ids, folder_of, own_classes, refuse_no_extractor,
                      refuse_unused, tell, tell_one)
from .paths import PATH

NETWORK = ("model", "backbone", "weights", "batch_norm", "extractor", "extractor_backbone", "options", "size", "annotation",
           "keep_small", "checkpoint", "bank", "keep_bank", "support_test", "maps", "save_masks")       # what a control has no use for


@cli.command()
@MODEL
@DATASET
@ROOT
@EPISODES
@click.option("--protocol", default="pfenet", help="pfenet, qgnet, panet, hsnet, bam or symnet.")
@click.option("--split", type=click.Choice(["train", "val"]), help="Images to score on (else the protocol's).")
@click.option("--images", type=click.Choice(["all", "held-out"]), default="all", help="held-out, with --split train: the half "
              "that a training with --images learned leaves out.")
@click.option("--episodes", type=int, help="Number a seed (else the protocol's).")
@click.option("--seed", type=int, multiple=True, help="Episode seed, may be repeated (else the protocol's).")
@click.option("--annotation", type=click.Choice(["mask", "scribble", "box"]), default="mask", help="Of the support.")
@click.option("--keep-small", is_flag=True, help="Do not enlarge images below the size, as PFENet's test_Resize (42 of VOC val at 473 "
              "px); for protocols that pad.")
@click.option("--control", type=click.Choice(["everything", "outlined"]), help="Instead of a model: all pixels as the object, or each "
              "labelled thing outlined exactly.")
@click.option("--checkpoint", type=PATH, help="A checkpoint.pt of fsslib train.")
@click.option("--bank/--no-bank", default=True, help="Compute each image's features once; scores are identical.")
@click.option("--keep-bank", is_flag=True, help="Keep the features in the cache folder, in half precision, for the next call.")
@click.option("--support-test", is_flag=True, help="Also ask whether the answers depend on the support: crowded queries, wrong supports, "
              "classes that are not there.")
@click.option("--maps", is_flag=True, help="Measure the region maps (pfenet, qgnet) instead of the masks.")
@click.option("--save-masks", type=PATH, metavar="DIR", help="One PNG an episode number, at the size that "
              "is scored; `fsslib score` reads them.")
@click.option("--out", type=PATH, help="Folder of result.json.")
@click.pass_context
def evaluate(context, dataset, root, fold, classes, shots, ways, size, protocol, split, images, episodes, seed, annotation,
             keep_small, control, checkpoint, bank, keep_bank, support_test, maps, save_masks, out, model, backbone, weights, **described):
    """Score a model, or a control, on the novel classes of a fold; writes result.json."""
    from ..basics.checkpoints import fill, load_checkpoint, refuse_seen
    from ..basics.storage import at_work
    from ..datasets import open_dataset
    from ..episodes.folds import novel_classes
    from ..episodes.protocols import get_protocol
    from ..evaluation import protocol_episodes
    rules = get_protocol(protocol)
    asked = class_ids(classes, dataset, root) if classes is not None else None if dataset == "folder" else novel_classes(dataset, fold)
    for beside, is_there, names in (("--dataset folder", dataset == "folder", ("fold",)), ("--no-bank", not bank, ("keep_bank",)),
                                    ("--maps", maps, ("annotation", "save_masks", "ways", "bank", "keep_small", "support_test")),
                                    ("--checkpoint", checkpoint, ("extractor",)),
                                    ("--control", control, NETWORK)):
        refuse_unused(context, beside, *names if is_there else ())
    if keep_small and rules.resize != "pad":
        raise InputError("--keep-small", f"beside --protocol {protocol}, which takes every image to one square",
                         "a protocol that pads", "Leave it out, or choose --protocol pfenet.")
    if not control:
        refuse_no_extractor(model, described["extractor"], checkpoint)
    if maps and model not in ("pfenet", "qgnet"):
        raise InputError("--maps", model, "pfenet or qgnet, which have region maps", "Choose another --model.")
    network, state = None if control else build(model, backbone, weights, **described), {}
    if checkpoint:
        state = load_checkpoint(checkpoint, network.architecture)
        fill(checkpoint, state, network)
    pictures = open_dataset(dataset, root, split or rules.split)
    asked = asked or own_classes(pictures)
    if checkpoint:
        refuse_seen(checkpoint, state, pictures, asked)
    held = _held_out(pictures, state) if images == "held-out" else None
    drawn = protocol_episodes(pictures, asked, shots, protocol, ways, episodes, seed or None, held)
    told = about(context, pictures.digest)
    part = f"-{len(asked)}classes" if classes else "" if dataset == "folder" else f"-fold{fold}"
    named = {} if classes or dataset == "folder" else {"fold": fold}
    system = f"{control}-{dataset}" if control else f"{model}-{dataset}-{backbone}"
    out = folder_of(out, "evaluate", f"{system}{part}-{shots}shot-{protocol}", told)
    with at_work(out):
        if control:
            from ..evaluation.controls import evaluate_control
            _tell(evaluate_control(control, drawn, asked, protocol, out, told, **named), pictures, drawn, out)
            return
        size = rules.size.get(dataset, rules.size["voc"]) if size is None else size
        resize = "pad_down" if keep_small else rules.resize
        if keep_bank:
            from ..models import ModelBank
            bank = ModelBank(network, pictures, size, "pad" if maps else resize, dtype="float16")
        if maps:
            from ..evaluation.maps import evaluate_maps
            result = evaluate_maps(network, drawn, size, bank if keep_bank else None, out, told)
            for name, values in result["maps"].items():
                click.echo("{:10} on the object {:5.1f} %, elsewhere {:5.1f} %".format(name, values["inside"][0], values["outside"][0]))
            return
        from ..episodes.annotations import annotator
        from ..evaluation import evaluate as run
        steps = [row for row in state.get("rows", ()) if "loss" in row]
        seconds = sum(row.get("seconds", 0) for row in state.get("rows", ()))          # those before the first step, too
        trained = {"training_seconds": round(seconds, 1), "training_steps": len(steps)} if steps else {}
        lists = _support_lists(pictures, asked, shots, held, state) if support_test else None
        result = run(network, drawn, asked, protocol, size, annotator(annotation), bank, out, about=told, resize=resize,
                     masks=save_masks, support_test=lists, **named, annotation=annotation,
                     weights=Path(weights).name, checkpoint=checkpoint and checkpoint.name, **trained)
    _tell(result, pictures, drawn, out)


def _tell(result, pictures, drawn, out):
    tell(result, pictures.class_names)
    if "support_test" in result:
        from ..evaluation.support import MEASURES
        for name, (kind, value, says) in MEASURES.items():
            found = result["support_test"][kind][value]
            tell_one(name, found["value"], found["interval"], f"   {says}")
    click.echo(f"{len(drawn)} episodes in {result['seconds']:.0f} s; {out / 'result.json'}")


def _support_lists(pictures, asked, shots, held, state):
    """The support test's; of ``held`` images only those without classes that are neither learned nor asked for, a fold's own."""
    from ..episodes.support_test import SupportLists
    if held is not None:
        others = [c for c in range(1, len(pictures.class_names) + 1) if c not in state["data"]["classes"] and c not in asked]
        held = held[~(pictures.areas[held][:, others] > 0).any(1)]
    return SupportLists(pictures, asked, shots, held)


def _held_out(pictures, state):
    """Indices of the training images that the run behind a checkpoint's ``state`` left out."""
    from ..basics.errors import InputError
    from ..training import halves
    learned = state.get("data", {}).get("classes")
    if not learned or pictures.split != "train":
        raise InputError("--images", "held-out without a --checkpoint, or not with --split train", "both",
                         "Give the checkpoint of a training with --images learned, and --split train.")
    return halves(pictures, [c for c in range(1, len(pictures.class_names) + 1) if c not in learned])[1]
