"""``fsslib train``, ``pretrain`` and ``probe``."""

from pathlib import Path

import click

from ..basics.errors import InputError
from . import cli
from .options import (DATASET, EPISODES, MODEL, ROOT, RUN, about, build, class_ids, folder_of, interrupted, refuse_no_extractor,
                      refuse_unused, weights_of)
from .paths import NAME_OR_PATH, PATH


@cli.command()
@MODEL
@DATASET
@ROOT
@EPISODES
@click.option("--checkpoint", type=PATH, help="A checkpoint.pt of fsslib train whose weights are the start; step 0 of a schedule of "
              "its own.")
@click.option("--config", type=PATH, help="YAML file with fields of TrainingConfig.")
@click.option("--steps", type=int, help="Optimiser steps.")
@click.option("--batch", type=int, help="Episodes a step and device.")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), help="sgd, as the papers, or adamw (else the model's).")
@click.option("--lr", type=float, help="Learning rate at the first step.")
@click.option("--weight-decay", type=float, help="Of the optimiser (else the model's).")
@click.option("--lr-times-ten/--lr-as-written", default=None, help="Ten times --lr, as the released code of PFENet and "
              "QGNet does (else the model's default).")
@click.option("--schedule", type=click.Choice(["step", "poly"]), help="Of the learning rate (else the model's).")
@click.option("--views", type=int, help="Fixed views an image: 1 plain, 2 mirrored too (default), more PFENet's "
              "augmentation; 0: new ones each time, without a bank.")
@click.option("--crowded", type=float, help="Share of the episodes whose query shows a second learned class (else the "
              "model's: whichnet 0.4).")
@click.option("--absent", type=float, help="Share of the episodes whose query does not show the asked class (else none).")
@click.option("--validate-every", type=int, help="Steps between two scores on held-out base images; 0: never.")
@click.option("--validation-episodes", type=int, help="Episodes of such a score (else 100).")
@click.option("--images", type=click.Choice(["all", "learned"]), default="all", help="learned: leaves out half of the images that "
              "show other than the learned classes, for evaluate --images held-out.")
@click.option("--bank/--no-bank", default=None, help="Compute frozen features once, keep them on disk (default where "
              "the backbone is frozen and views are fixed).")
@click.option("--drop-novel", is_flag=True, help="Drop training images with classes that are not learned (BAM) "
              "instead of calling them background (PFENet).")
@click.option("--out", type=PATH, help="Folder of checkpoints and logs.")
@RUN
@click.pass_context
def train(context, model, backbone, weights, batch_norm, extractor, extractor_backbone, options, dataset, root, fold, classes,
          shots, ways, size, checkpoint, config, bank, drop_novel, images, out, resume, **changes):
    """Train a model on the base classes of a fold; writes checkpoint.pt and, at the end, result.json."""
    from contextlib import nullcontext
    from dataclasses import asdict, replace

    from ..basics.checkpoints import fill, load_checkpoint, refuse_other_start, weights_digest
    from ..basics.config import load
    from ..basics.engine import leads
    from ..basics.machine import hardware, versions
    from ..basics.storage import at_work, write_json
    from ..datasets import open_dataset
    from ..episodes.folds import base_classes
    from ..episodes.protocols import get_protocol
    from ..models import ModelBank, model_class
    from ..training import TrainingConfig, check_config, curve, fit, halves
    changes |= {"shots": shots, "ways": ways, "size": size}
    recipe = model_class(model).TRAINING
    settings = replace(load(TrainingConfig, config, defaults=recipe) if config else TrainingConfig(**recipe),
                       **{k: v for k, v in changes.items() if v is not None})
    if dataset == "folder" and classes is None:
        raise InputError("--classes", "none given", "the classes to learn from own images, such as 1-3 or cup,bowl",
                         "Give them, and leave some to score: fsslib evaluate --classes.")
    refuse_unused(context, "--classes", *["fold"] if classes else ())
    refuse_unused(context, "--checkpoint", *["extractor"] if checkpoint else ())
    learned = class_ids(classes, dataset, root) if classes is not None else base_classes(dataset, fold)
    out = out or Path("runs") / "train" / f"{model}-{dataset}-{backbone}-fold{fold}-{shots}shot"
    kept = out / "checkpoint.pt"
    click.echo("  ".join(f"{k}={v}" for k, v in asdict(settings).items()))
    if resume and not kept.exists():
        click.echo(f"{kept}: not there yet, starting with the first step")
    check_config(settings)
    refuse_no_extractor(model, extractor, checkpoint)
    network = build(model, backbone, weights, batch_norm, extractor, extractor_backbone, options, settings.seed)
    pictures = open_dataset(dataset, root, "train")
    if checkpoint:
        state = load_checkpoint(checkpoint, network.architecture)
        refuse_other_start(checkpoint, state, pictures, learned)
        fill(checkpoint, state, network)
    others = [c for c in range(1, len(pictures.class_names) + 1) if c not in learned]
    if bank is None:
        bank = getattr(network, "frozen", False) and batch_norm == "eval" and settings.views > 0
    if bank:
        bank = ModelBank(network, pictures, settings.size, get_protocol(settings.protocol).resize, dtype="float16")
    told, lead = about(context, pictures.digest), leads(settings.devices)
    folder_of(out, "train", "", told, kept.exists())
    with at_work(out) if lead else nullcontext():
        try:
            rows = fit(network, pictures, learned, settings, out, resume, others if drop_novel else (), bank or None,
                       halves(pictures, others)[0] if images == "learned" else None,
                       start_digest=weights_digest(network) if checkpoint else None)
        except KeyboardInterrupt as error:
            interrupted(error, kept)
        if not lead:
            return
        write_json(out / "result.json", {                    # last of all files: the training is whole where it stands
            "command": told["command"], "config": {**network.architecture, **asdict(settings)}, "versions": versions(),
            "hardware": hardware(), "seconds": round(sum(row.get("seconds", 0) for row in rows), 1), "curve": curve(rows),
            "digests": {"job": told["job"], "data": pictures.digest}})
    click.echo(f"last checkpoint: {kept}")


@cli.command()
@click.option("--backbone", default="efficientnet_lite0",
              help="efficientnet_lite0, vgg16, resnet18, resnet50, resnet101.")
@click.option("--weights", type=NAME_OR_PATH, default="imagenet", help="The start: imagenet, none (random), or a file.")
@click.option("--batch-norm", type=click.Choice(["train", "eval"]), show_default="eval, or train from a random start",
              help="eval: statistics of the start, frozen; train: of the batch, as MoCo.")
@DATASET
@ROOT
@click.option("--images", type=click.Choice(["train", "all"]), default="train",
              help="all: validation images too, one reading of the paper's \"entire dataset\"; scores then leak.")
@click.option("--config", type=PATH, help="YAML file with fields of PretrainConfig.")
@click.option("--loss", type=click.Choice(["global", "local", "both"]), help="Whole images, patches, or both.")
@click.option("--patches", type=click.Choice(["slic", "felzenszwalb"]), help="Superpixels of the local loss.")
@click.option("--epochs", type=int, help="Passes over the images (else 10).")
@click.option("--batch", type=int, help="Images a step and device (else 32).")
@click.option("--size", type=int, help="Side of a global view in px (else 128).")
@click.option("--patch-size", type=int, help="Side of a local view in px (else 64).")
@click.option("--lr", type=float, help="Learning rate for 256 images a step, scaled with the batch (else 0.03).")
@click.option("--queue", type=int, help="Keys in each queue (else half the images learned from, at most 65 536).")
@click.option("--probe-every", type=int, help="Epochs between two probes on held-out images (else 5); 0: none.")
@click.option("--out", type=PATH, help="Folder of the extractor, checkpoints and logs.")
@RUN
@click.pass_context
def pretrain(context, backbone, weights, batch_norm, dataset, root, images, config, out, resume, **changes):
    """Pretrain the prior extractor by global and local contrast; no mask is used but for the probe."""
    from contextlib import nullcontext
    from dataclasses import asdict, replace

    import torch

    from ..basics.config import load
    from ..basics.engine import leads
    from ..basics.storage import at_work
    from ..contrast import PretrainConfig
    from ..contrast import pretrain as run
    from ..contrast.pretraining import check_config
    from ..datasets import open_dataset
    from ..datasets.selection import Pictures, Selection
    from ..models import build_backbone
    settings = replace(load(PretrainConfig, config) if config else PretrainConfig(),
                       **{k: v for k, v in changes.items() if v is not None})
    if images == "all":
        settings = replace(settings, held_out=0.0, probe_every=changes["probe_every"] or 0)
    check_config(settings)
    refuse_unused(context, "--loss global", *["patches"] if settings.loss == "global" else ())
    out = out or Path("runs") / "pretrain" / "-".join((dataset, backbone, Path(weights).stem, settings.loss,
                                                       settings.patches))
    click.echo("  ".join(f"{k}={v}" for k, v in asdict(settings).items()))
    torch.manual_seed(settings.seed)
    encoder = build_backbone(backbone, weights_of(weights), 32, batch_norm or ("train" if weights == "none" else "eval"))
    pictures = open_dataset(dataset, root, "train", **({"need_masks": False} if dataset == "folder" else {}))
    if images == "all":
        pictures = Selection(pictures, open_dataset(dataset, root, "val"))
        click.echo("images=all: the extractor sees the validation images; say so beside every score on them")
    told, lead = about(context, Pictures(pictures).digest), leads(settings.devices)
    folder_of(out, "pretrain", "", told, (out / "checkpoint.pt").exists())
    with at_work(out) if lead else nullcontext():
        try:
            run(encoder, pictures, settings, out, resume, about=told)
        except KeyboardInterrupt as error:
            interrupted(error, out / "checkpoint.pt")
    if not lead:
        return
    click.echo(f"extractor: {out / 'extractor.safetensors'}")


@cli.command()
@click.option("--backbone", default="efficientnet_lite0", help="efficientnet_lite0, vgg16, resnet50, resnet101.")
@click.option("--weights", type=NAME_OR_PATH, default="imagenet", help="imagenet, none (random), or a file, as of fsslib pretrain.")
@DATASET
@ROOT
@click.option("--seed", type=int, default=0, help="Of a random start.")
@click.option("--out", type=PATH, help="Folder of result.json.")
@click.pass_context
def probe(context, backbone, weights, dataset, root, seed, out):
    """Ask an extractor, as it is: do patches of one class lie near each other in images that it has not seen?"""
    from dataclasses import asdict, replace

    import torch

    from ..basics.machine import hardware, versions
    from ..basics.storage import at_work, writable_folder, write_json
    from ..contrast import PretrainConfig
    from ..contrast.pretraining import check_config, probe_of
    from ..contrast.probe import probe_summary
    from ..datasets import open_dataset
    from ..models import build_backbone
    refuse_unused(context, f"--weights {weights}", *["seed"] if weights != "none" else ())
    settings = replace(PretrainConfig(), seed=seed)
    check_config(settings)
    torch.manual_seed(seed)
    network, pictures = build_backbone(backbone, weights_of(weights)), open_dataset(dataset, root, "train")
    given = about(context, pictures.digest)
    out = folder_of(out, "probe", f"{dataset}-{backbone}-{Path(weights).stem}", given)
    with at_work(out):
        writable_folder(out, "Give another --out.")          # before the work, not after it
        found = probe_summary(probe_of(pictures, settings).score(network))
        write_json(out / "result.json", {
            "command": given["command"], "config": {**asdict(settings), "backbone": backbone}, "versions": versions(),
            "hardware": hardware(), "seconds": 0.0, "digests": {"digest": pictures.digest, "job": given["job"]},
            "probe": found, "rows": []})
    click.echo("accuracy {accuracy:.1f} %, 95 % interval {interval[0]:.1f} to {interval[1]:.1f}; {asked} patches".format(**found))
    click.echo(out / "result.json")
