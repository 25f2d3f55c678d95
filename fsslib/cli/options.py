"""Options that several commands share."""

import sys
from pathlib import Path

import click

from ..basics.errors import InputError


def options_of(*options):
    """Several click options as one decorator."""
    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function
    return decorate


DATASET = click.option("--dataset", default="shapes", help="shapes, voc, or (to evaluate) folder: all its classes.")
ROOT = click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set (else $FSSLIB_DATA).")
MODEL = options_of(
    click.option("--model", default="panet", help="panet, pfenet or qgnet."),
    click.option("--backbone", default="efficientnet_lite0", help="efficientnet_lite0, vgg16, resnet50, resnet101."),
    click.option("--weights", default="imagenet", help="imagenet, none, or a .safetensors or .pth file."),
    click.option("--batch-norm", type=click.Choice(["eval", "train"]), default="eval",
                 help="Of the encoder while training; train: batch statistics, as in PFENet's released code."),
    click.option("--extractor", help="qgnet's prior extractor: a file of fsslib pretrain, imagenet, or none (random); "
                 "not needed with --checkpoint."),
    click.option("--extractor-backbone", help="Of the extractor, if it is another one."),
    click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Of the model, may be repeated: "
                 "align=false (panet); width=64, guided=false, masked_pass=true, frozen=false (pfenet, qgnet); "
                 "foreground_weight=2 (pfenet, qgnet); prior=false, projection=learned (qgnet)."))
EPISODES = options_of(
    click.option("--fold", type=int, default=0, help="0 to 3; its five classes are novel."),
    click.option("--shots", type=int, default=1, help="K, support images a way."),
    click.option("--ways", type=int, default=1, help="N, classes an episode."),
    click.option("--size", type=int, help="Input side in px (else the protocol's)."))


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


def refuse_no_extractor(model, extractor, checkpoint):
    if model == "qgnet" and not extractor and not checkpoint:
        raise InputError("--extractor", "none given", "the prior extractor of qgnet",
                         "Give the extractor.safetensors of fsslib pretrain, imagenet, or none for a random start.")


def interrupted(checkpoint):
    click.echo(f"\ninterrupted: the same command with --resume goes on from {checkpoint}" if checkpoint.exists()
               else "\ninterrupted before the first checkpoint", err=True)
    sys.exit(130)


def percent(value):
    return "     -" if value is None else f"{value:6.2f} %"
