"""Options that several commands share, and a call as a person would type it."""

import re
import sys
import unicodedata
from pathlib import Path

import click
from click.core import ParameterSource

from ..basics.commands import PLACES
from ..basics.errors import InputError
from ..basics.interrupts import exit_status
from ..basics.storage import read_json
from .paths import NAME_OR_PATH, PATH


def options_of(*options):
    """Several click options as one decorator."""
    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function
    return decorate


DATASET = click.option("--dataset", default="shapes", help="shapes, voc, or folder (own images).")
ROOT = click.option("--root", type=PATH, help="Folder of the data set (else $FSSLIB_DATA).")
MODEL = options_of(
    click.option("--model", default="panet", help="panet, pfenet, qgnet, symnet or whichnet."),
    click.option("--backbone", default="efficientnet_lite0",
                 help="efficientnet_lite0 (to 2), vgg16, resnet50, resnet101, or timm's name of a vision transformer."),
    click.option("--weights", type=NAME_OR_PATH, default="imagenet", help="imagenet, none, or a .safetensors or .pth file."),
    click.option("--batch-norm", type=click.Choice(["eval", "train"]), default="eval",
                 help="Of the encoder while training; train: batch statistics, as in PFENet's released code."),
    click.option("--extractor", type=NAME_OR_PATH, help="qgnet's prior extractor: a file of fsslib pretrain, imagenet, or random; "
                 "not needed with --checkpoint."),
    click.option("--extractor-backbone", help="Of the extractor, if it is another one."),
    click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Of the model, may be repeated: "
                 "align=false (panet); width=64, guided=false, masked_pass=true, frozen=false, foreground_weight=2, blind=true "
                 "(never sees its support), keys=layer4, start=he, base=true (pfenet, qgnet, symnet, whichnet); prior=false, "
                 "projection=learned (qgnet); cosines=false, known=none or all (whichnet); spm, apa, triplet=false, tdc=blocks or "
                 "none, text=none, random or a file (symnet)."))
EPISODES = options_of(
    click.option("--fold", type=int, default=0, help="0 to 3; its five classes are novel."),
    click.option("--classes", help="Classes instead of a fold's, ids as 6-10,16 or names as cup,bowl: learned by train, scored by evaluate; "
                 "of own images evaluate scores all that a mask shows."),
    click.option("--shots", type=int, default=1, help="K, support images a way."),
    click.option("--ways", type=int, default=1, help="N, classes an episode."),
    click.option("--size", type=int, help="Input side in px (else the protocol's)."))

RUN = options_of(
    click.option("--seed", type=int, help="Of the start, the order of episodes or images, and their views."),
    click.option("--precision", type=click.Choice(["auto", "32", "bf16"]), help="auto: bf16 where a GPU has it."),
    click.option("--devices", type=int, help="GPUs, or processes on a CPU."),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out."))


def build(model, backbone, weights, batch_norm, extractor, extractor_backbone, options, seed=0):
    """The model; a random start (--weights none) is the same for the same seed."""
    import torch

    from ..basics.config import parse_options
    from ..models import build_model, model_class
    options = parse_options(options, model_class(model).OPTIONS)
    torch.manual_seed(seed)
    return build_model(model, backbone, weights_of(weights), batch_norm, weights_of(extractor), extractor_backbone, **options)


def weights_of(name):
    return None if name == "none" else name


def class_ids(text, dataset=None, root=None):
    """``"6-10,16"`` -> (6, 7, 8, 9, 10, 16); other words are names of the data set's classes. Anything else raises InputError."""
    parts = [unicodedata.normalize("NFC", part.strip()) for part in text.split(",")]
    ids = [re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part) for part in parts]
    words = [part for part, found in zip(parts, ids) if not found]
    names = ()
    if dataset and any(re.search(r"[^\d\s-]", word) for word in words):
        from ..datasets import open_dataset
        names = open_dataset(dataset, root).class_names
    for word in words:
        if word not in names:
            raise InputError("--classes", repr(word), "class ids such as 6-10,16" + (
                f", or names of {dataset}: {', '.join(map(repr, names[:20]))}{', ...' if len(names) > 20 else ''}" if names else ""),
                "Correct the list.")
    found = [c for part, of in zip(parts, ids)
             for c in (range(int(of[1]), int(of[2] or of[1]) + 1) if of else [names.index(part) + 1])]
    if not found or len(set(found)) < len(found):
        raise InputError("--classes", repr(text), "each class once, at least one", "Correct the list.")
    return tuple(found)


def own_classes(pictures):
    """The classes of own images that a mask shows; the others are told."""
    from ..episodes.folds import shown_classes
    shown = shown_classes(pictures)
    left = [name for c, name in enumerate(pictures.class_names, 1) if c not in shown]
    if left:
        click.echo(f"left out, since no mask shows them: {', '.join(left)}")
    return shown


def refuse_no_extractor(model, extractor, checkpoint):
    if model == "qgnet" and not extractor and not checkpoint:
        raise InputError("--extractor", "none given", "the prior extractor of qgnet",
                         "Give the extractor.safetensors of fsslib pretrain, imagenet, or random.")


def given(context):
    """What was given at a call, in the order of --help but for ``PLACES``: [option] or [option, value] each."""
    pairs = []
    for option in context.command.params:
        if option.opts[0][2:] in PLACES or context.get_parameter_source(option.name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[option.name]
        if option.is_flag:
            pairs.append([option.opts[0] if value else option.secondary_opts[0]])
        else:
            pairs += [[option.opts[0], str(item)] for item in (value if option.multiple else (value,))]
    return pairs


def about(context, data):
    """{"command", "job"} of a result: the call as typed, and its digest with that of the ``data`` set."""
    from ..basics.commands import job_digest, typed
    return {"command": typed(context.info_name, given(context)), "job": job_digest(context.info_name, given(context), data)}


def refuse_unused(context, beside, *names):
    """Raises InputError for one of these options with another value than by default, where ``beside`` makes it mean nothing."""
    for option in context.command.params:
        if option.name in names and context.params[option.name] not in (option.get_default(context), None, ()):
            raise InputError(option.opts[0], f"{option.opts[0]} beside {beside}, where nothing reads it", "one of the two",
                             "Leave one of them out.")


def folder_of(out, kind, name, told, resumable=False):
    """``--out``, else ``runs/KIND/NAME-DIGEST``: another call has another folder. One that holds the result of another call
    raises InputError: nothing is replaced by the result of other options, files or data. ``resumable``: a checkpoint there will
    say whether it is of this call; then a result of the same command may stand."""
    if out is None:
        return Path("runs") / kind / f"{name}-{told['job'][:8]}"
    path = out / "result.json"
    if path.exists():
        stored = read_json(path, "Delete it, or give another --out.")
        found = stored if isinstance(stored, dict) else {}
        command = found.get("command") or "not of this command line"
        if found.get("digests", {}).get("job") != told["job"] and not (resumable and command.startswith(f"fsslib {kind}")):
            raise InputError(path, f"the result of another call ({command})",
                             "none, or one of the same options, files and data", "Give another --out, or delete it.")
    return out


def interrupted(error, checkpoint):
    click.echo(f"\ninterrupted: the same command with --resume goes on from {checkpoint}" if checkpoint.exists()
               else "\ninterrupted before the first checkpoint", err=True)
    sys.exit(exit_status(error))


def percent(value):
    return "     -" if value is None else f"{value:6.2f} %"


def tell(result, class_names):
    """Prints the scores of a result: mIoU and FB-IoU with their intervals, then each class."""
    for name, key in (("mIoU", "miou"), ("FB-IoU", "fb_iou")):
        tell_one(name, result[key], result["intervals"][key])
    for c, value in result["per_class"].items():
        click.echo(f"  {class_names[int(c) - 1]:12}{percent(value)}")


def tell_one(name, value, interval, says=""):
    click.echo(f"{name:18}{percent(value)}   95 % interval {' to '.join(map(percent, interval))}{says}")
