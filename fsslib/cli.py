"""The command line ``fsslib``. Commands import what they need when they run, so that --help answers at once."""

import errno
import os
import re
import sys
from pathlib import Path

import click

from . import __version__
from .errors import InputError

# Threads that wait for each other sleep instead of spinning: beside a loading worker or any other job a step is twice
# as fast, alone no slower. Read by the OpenMP of torch when it is first imported, also in the notebooks' kernels.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


def main():
    """Entry point: bad input, a full or closed disk, a missing package: one sentence on stderr and exit code 2."""
    try:
        cli(prog_name="fsslib")
    except InputError as error:
        _refuse(error)
    except ModuleNotFoundError as error:
        if (error.name or "fsslib").startswith("fsslib"):
            raise
        _refuse(InputError("Python", f"no package {error.name!r}", "every package of pyproject.toml",
                           "Install the kit again (pip install -e .); `fsslib doctor` lists what is missing."))
    except OSError as error:
        if error.errno not in DISK:
            raise
        _refuse(InputError(error.filename or "disk", error.strerror, "a place with room that may be read and written",
                           "Make room, or choose another folder; what was written before is whole."))


def _refuse(error):
    click.echo(f"fsslib: {error}", err=True)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def cli():
    """Few-shot segmentation to read, run and reproduce.

    Start with `fsslib doctor`, then `fsslib reproduce`.
    """


def _options(*options):
    """Several click options as one decorator."""
    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function
    return decorate


DATASET = click.option("--dataset", default="shapes", help="shapes, voc, or (to evaluate) folder: all its classes.")
ROOT = click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set (else $FSSLIB_DATA).")
MODEL = _options(
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
                 "prior=false, projection=learned (qgnet)."))
EPISODES = _options(
    click.option("--fold", type=int, default=0, help="0 to 3; its five classes are novel."),
    click.option("--shots", type=int, default=1, help="K, support images a way."),
    click.option("--ways", type=int, default=1, help="N, classes an episode."),
    click.option("--size", type=int, help="Input side in px (else the protocol's)."))


def _build(model, backbone, weights, batch_norm, extractor, extractor_backbone, options, seed=0):
    """The model; a random start (--weights none) is the same for the same seed."""
    import torch

    from .config import parse_options
    from .models import build_model, model_class
    options = parse_options(options, model_class(model).OPTIONS)
    torch.manual_seed(seed)
    return build_model(model, backbone, _weights(weights), batch_norm, _weights(extractor), extractor_backbone, **options)


def _weights(name):
    return None if name == "none" else name


@cli.command()
@click.option("--profile", default="demo", help="demo, or the path of a profile file.")
@click.option("--publish", is_flag=True, help="Also update notebooks/ and figures/ from this run.")
@click.option("--force", is_flag=True, help="Run again what is up to date.")
@click.option("--only", multiple=True, metavar="NAME", help="Run these notebooks only; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder instead of runs/PROFILE.")
def reproduce(profile, publish, force, only, out):
    """Run the notebooks in order and write runs/PROFILE/index.html."""
    from .reproduce import reproduce as run
    sys.exit(run(profile, publish=publish, force=force, only=list(only) or None, out=out))


@cli.group()
def data():
    """Download and check data sets."""


@data.command()
@click.argument("name")
@ROOT
def fetch(name, root):
    """Download a data set (voc: VOC 2012 and SBD, about 3.4 GB)."""
    from .datasets.download import fetch as run
    from .storage import data_dir
    click.echo(f"{name} is in {run(name, root or data_dir())}")


@data.command()
@click.argument("name")
@ROOT
def check(name, root):
    """Read every file of a data set: what is there, missing, damaged."""
    from .datasets import check as checking
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
    from .datasets import open_dataset
    from .superpixels.cache import PatchCache
    given = {name: value for name, value in parameters.items() if value is not None}
    cache = PatchCache(open_dataset(dataset, root, split), method, **given)
    try:
        made = cache.fill(workers)
    except KeyboardInterrupt:
        click.echo("\ninterrupted: the same command goes on where this one stopped", err=True)
        sys.exit(130)
    click.echo(f"{made} images segmented, {len(cache) - made} were there; {cache.folder}")


def _refuse_no_extractor(model, extractor, checkpoint):
    if model == "qgnet" and not extractor and not checkpoint:
        raise InputError("--extractor", "none given", "the prior extractor of qgnet",
                         "Give the extractor.safetensors of fsslib pretrain, imagenet, or none for a random start.")


def _interrupted(checkpoint):
    click.echo(f"\ninterrupted: the same command with --resume goes on from {checkpoint}" if checkpoint.exists()
               else "\ninterrupted before the first checkpoint", err=True)
    sys.exit(130)


def _percent(value):
    return "     -" if value is None else f"{value:6.2f} %"


@cli.command()
@MODEL
@DATASET
@ROOT
@EPISODES
@click.option("--protocol", default="pfenet", help="pfenet, qgnet, panet, hsnet, bam or symnet.")
@click.option("--split", type=click.Choice(["train", "val"]), help="Images to score on (else the protocol's).")
@click.option("--episodes", type=int, help="Number a seed (else the protocol's).")
@click.option("--seed", type=int, multiple=True, help="Episode seed, may be repeated (else the protocol's).")
@click.option("--annotation", type=click.Choice(["mask", "scribble", "box"]), default="mask", help="Of the support.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="A checkpoint.pt of fsslib train.")
@click.option("--bank/--no-bank", default=True, help="Compute each image's features once; scores are identical.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of result.json.")
def evaluate(dataset, root, fold, shots, ways, size, protocol, split, episodes, seed, annotation, checkpoint, bank,
             out, model, backbone, weights, **described):
    """Score a model on the novel classes of a fold; writes result.json."""
    from .annotations import annotator
    from .checkpoints import fill, load_checkpoint, refuse_seen
    from .datasets import open_dataset
    from .evaluation import evaluate as run
    from .evaluation import protocol_episodes
    from .folds import novel_classes
    from .protocols import get_protocol
    rules = get_protocol(protocol)
    classes = None if dataset == "folder" else novel_classes(dataset, fold)
    _refuse_no_extractor(model, described["extractor"], checkpoint)
    network = _build(model, backbone, weights, **described)
    if checkpoint:
        state = load_checkpoint(checkpoint, network.architecture)
        fill(checkpoint, state, network)
        refuse_seen(checkpoint, state, dataset, classes or ())
    images = open_dataset(dataset, root, split or rules.split)
    classes = classes or range(1, len(images.class_names) + 1)               # own images: every class is novel
    drawn = protocol_episodes(images, classes, shots, protocol, ways, episodes, seed or None)
    out = out or Path("runs") / "evaluate" / f"{model}-{dataset}-{backbone}-fold{fold}-{shots}shot-{protocol}"
    result = run(network, drawn, classes, protocol, size, annotator(annotation), bank, out, fold=fold,
                 annotation=annotation, weights=Path(weights).name, checkpoint=checkpoint and checkpoint.name)
    for name, key in (("mIoU", "miou"), ("FB-IoU", "fb_iou")):
        low, high = map(_percent, result["intervals"][key])
        click.echo(f"{name:14}{_percent(result[key])}   95 % interval {low} to {high}")
    for c, value in result["per_class"].items():
        click.echo(f"  {images.class_names[int(c) - 1]:12}{_percent(value)}")
    click.echo(f"{len(drawn)} episodes in {result['seconds']:.0f} s; {out / 'result.json'}")


@cli.command()
@MODEL
@DATASET
@ROOT
@EPISODES
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with fields of TrainingConfig.")
@click.option("--steps", type=int, help="Optimiser steps.")
@click.option("--batch", type=int, help="Episodes a step and device.")
@click.option("--lr", type=float, help="Learning rate at the first step.")
@click.option("--seed", type=int, help="Seed of episodes and augmentation.")
@click.option("--precision", type=click.Choice(["auto", "32", "bf16"]), help="auto: bf16 where a GPU has it.")
@click.option("--devices", type=int, help="GPUs, or processes on a CPU.")
@click.option("--lr-times-ten/--lr-as-written", default=None, help="Ten times --lr, as the released code of PFENet and "
              "QGNet does (else the model's default).")
@click.option("--schedule", type=click.Choice(["step", "poly"]), help="Of the learning rate (else the model's).")
@click.option("--views", type=int, help="Fixed views an image: 1 plain, 2 mirrored too (default), more PFENet's "
              "augmentation; 0: new ones each time, without a bank.")
@click.option("--validate-every", type=int, help="Steps between two scores on held-out base images; 0: never.")
@click.option("--bank/--no-bank", default=None, help="Compute frozen features once, keep them on disk (default where "
              "the backbone is frozen and views are fixed).")
@click.option("--drop-novel", is_flag=True, help="Drop training images with novel classes (BAM) instead of "
              "calling them background (PFENet).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of checkpoints and logs.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
def train(model, backbone, weights, batch_norm, extractor, extractor_backbone, options, dataset, root, fold, shots,
          ways, size, config, bank, drop_novel, out, resume, **changes):
    """Train a model on the base classes of a fold."""
    from dataclasses import asdict, replace

    from .bank import ModelBank
    from .config import load
    from .datasets import open_dataset
    from .folds import base_classes, novel_classes
    from .models import model_class
    from .protocols import get_protocol
    from .training import TrainingConfig, check_config, fit
    changes |= {"shots": shots, "ways": ways, "size": size}
    settings = replace(load(TrainingConfig, config) if config else TrainingConfig(**model_class(model).TRAINING),
                       **{k: v for k, v in changes.items() if v is not None})
    classes = base_classes(dataset, fold)
    out = out or Path("runs") / "train" / f"{model}-{dataset}-{backbone}-fold{fold}-{shots}shot"
    checkpoint = out / "checkpoint.pt"
    click.echo("  ".join(f"{k}={v}" for k, v in asdict(settings).items()))
    if resume and not checkpoint.exists():
        click.echo(f"{checkpoint}: not there yet, starting with the first step")
    check_config(settings)
    _refuse_no_extractor(model, extractor, None)
    network = _build(model, backbone, weights, batch_norm, extractor, extractor_backbone, options, settings.seed)
    images = open_dataset(dataset, root, "train")
    if bank is None:
        bank = getattr(network, "frozen", False) and batch_norm == "eval" and settings.views > 0
    if bank:
        bank = ModelBank(network, images, settings.size, get_protocol(settings.protocol).resize, dtype="float16")
    try:
        fit(network, images, classes, settings, out, resume,
            novel=novel_classes(dataset, fold) if drop_novel else (), bank=bank or None)
    except KeyboardInterrupt:
        _interrupted(checkpoint)
    click.echo(f"last checkpoint: {checkpoint}")


@cli.command()
@click.option("--backbone", default="efficientnet_lite0",
              help="efficientnet_lite0, vgg16, resnet18, resnet50, resnet101.")
@click.option("--weights", default="imagenet", help="The start: imagenet, none (random), or a file.")
@click.option("--batch-norm", type=click.Choice(["train", "eval"]), show_default="eval, or train from a random start",
              help="eval: statistics of the start, frozen; train: of the batch, as MoCo.")
@DATASET
@ROOT
@click.option("--images", type=click.Choice(["train", "all"]), default="train",
              help="all: validation images too, one reading of the paper's \"entire dataset\"; scores then leak.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with fields of PretrainConfig.")
@click.option("--loss", type=click.Choice(["global", "local", "both"]), help="Whole images, patches, or both.")
@click.option("--patches", type=click.Choice(["slic", "felzenszwalb"]), help="Superpixels of the local loss.")
@click.option("--epochs", type=int, help="Passes over the images (else 10).")
@click.option("--batch", type=int, help="Images a step and device (else 32).")
@click.option("--size", type=int, help="Side of a global view in px (else 128).")
@click.option("--patch-size", type=int, help="Side of a local view in px (else 64).")
@click.option("--lr", type=float, help="Learning rate for 256 images a step, scaled with the batch (else 0.03).")
@click.option("--queue", type=int, help="Keys in each queue (else half the images learned from, at most 65 536).")
@click.option("--probe-every", type=int, help="Epochs between two probes on held-out images (else 5); 0: none.")
@click.option("--seed", type=int, help="Seed of the start, the order and the views.")
@click.option("--precision", type=click.Choice(["auto", "32", "bf16"]), help="auto: bf16 where a GPU has it.")
@click.option("--devices", type=int, help="GPUs, or processes on a CPU.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the extractor, checkpoints and logs.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
def pretrain(backbone, weights, batch_norm, dataset, root, images, config, out, resume, **changes):
    """Pretrain the prior extractor by global and local contrast; no mask is used but for the probe."""
    from dataclasses import asdict, replace

    import torch

    from .backbones import build_backbone
    from .config import load
    from .contrast import PretrainConfig
    from .contrast import pretrain as run
    from .contrast.pretraining import check_config
    from .datasets import open_dataset
    from .datasets.selection import Selection
    settings = replace(load(PretrainConfig, config) if config else PretrainConfig(),
                       **{k: v for k, v in changes.items() if v is not None})
    if images == "all":
        settings = replace(settings, held_out=0.0, probe_every=changes["probe_every"] or 0)
    check_config(settings)
    out = out or Path("runs") / "pretrain" / "-".join((dataset, backbone, Path(weights).stem, settings.loss,
                                                       settings.patches))
    click.echo("  ".join(f"{k}={v}" for k, v in asdict(settings).items()))
    torch.manual_seed(settings.seed)
    random = weights == "none"
    encoder = build_backbone(backbone, None if random else weights, 32, batch_norm or ("train" if random else "eval"))
    pictures = open_dataset(dataset, root, "train")
    if images == "all":
        pictures = Selection(pictures, open_dataset(dataset, root, "val"))
        click.echo("images=all: the extractor sees the validation images; say so beside every score on them")
    try:
        run(encoder, pictures, settings, out, resume)
    except KeyboardInterrupt:
        _interrupted(out / "checkpoint.pt")
    click.echo(f"extractor: {out / 'extractor.safetensors'}")


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

    Studies: panet_, contrast_, maps_ and qgnet_, each with shapes or voc at its end.
    """
    from .storage import writable_folder
    from .studies import run_study as run
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
    from .results import as_text
    from .storage import read_json
    click.echo(as_text(read_json(file, "Write it with fsslib results run or fsslib evaluate."), file))


@cli.group()
def bench():
    """Measure speed on this machine."""


@bench.command("data")
@DATASET
@ROOT
@click.option("--backbone", default="efficientnet_lite0", help="Of the evaluation that is timed.")
@click.option("--weights", default="imagenet", help="imagenet, none, or a file.")
@click.option("--size", type=int, default=225, help="Input side in px.")
@click.option("--episodes", type=int, default=60, help="Number of episodes timed.")
def bench_data(dataset, root, backbone, weights, size, episodes):
    """Images/s of the loader, episodes/s of evaluation, and where the time goes."""
    from .bench import data as run
    click.echo(run(dataset, root, backbone, None if weights == "none" else weights, size, episodes))


@bench.command("episodes")
@DATASET
@ROOT
@click.option("--model", type=click.Choice(["pfenet", "qgnet"]), default="qgnet", help="What is timed.")
@click.option("--backbone", default="efficientnet_lite0", help="Of both networks.")
@click.option("--weights", default="imagenet", help="imagenet, none, or a file.")
@click.option("--size", type=int, default=225, help="Input side in px.")
@click.option("--width", type=int, default=64, help="Channels of the decoder.")
@click.option("--episodes", type=int, default=1000, help="Test episodes with the bank.")
@click.option("--without", type=int, default=30, help="Test episodes without it.")
@click.option("--batch", type=int, default=8, help="Episodes a training step.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file of the numbers.")
def bench_episodes(dataset, root, model, backbone, weights, size, width, episodes, without, batch, out):
    """Training steps/s and test episodes/s, 1- and 5-shot, bank on and off; shares of backbone, maps, decoder."""
    from .episode_bench import measure, table
    from .storage import write_json
    result = measure(dataset, root, model, backbone, _weights(weights), size, width, episodes, without, batch=batch)
    if out:
        write_json(out, result)
    click.echo(table(result))


@bench.command("superpixels")
@DATASET
@ROOT
@click.option("--images", type=int, default=60, help="Number of images timed.")
def bench_superpixels(dataset, root, images):
    """Milliseconds to segment an image and to read its stored patches; images/s of filling the cache."""
    from .superpixels.bench import superpixels as run
    click.echo(run(dataset, root, images))


@bench.command("contrast")
@DATASET
@ROOT
@click.option("--backbone", default="efficientnet_lite0", help="Of the extractor.")
@click.option("--loss", type=click.Choice(["global", "local", "both"]), default="both", help="What is trained.")
@click.option("--batch", type=int, default=32, help="Images a step.")
@click.option("--steps", type=int, default=4, help="Steps timed of each kind.")
def bench_contrast(dataset, root, backbone, loss, batch, steps):
    """Images/s of pretraining from a random start; the shares of loading, forward and backward."""
    from .contrast.bench import contrast as run
    from .contrast.pretraining import PretrainConfig, check_config
    check_config(config := PretrainConfig(loss=loss, batch=batch))
    click.echo(run(dataset, root, backbone, None, config, steps))


@cli.command()
def doctor():
    """Check this machine: packages, devices, disk, data, and what they allow."""
    from .doctor import examine
    rows = examine()
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{'ok  ' if row.ok else 'LOOK'}  {row.name:{width}}  {row.found}" +
                   ("" if row.ok else f"\n{'':{width + 8}}{row.cure}"))
    sys.exit(0 if all(row.ok or not row.required for row in rows) else 1)
