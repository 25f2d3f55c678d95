"""``fsslib evaluate``, ``train`` and ``pretrain``."""

from pathlib import Path

import click

from . import cli
from .options import DATASET, EPISODES, MODEL, ROOT, build, interrupted, percent, refuse_no_extractor


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
    from ..episodes.annotations import annotator
    from ..basics.checkpoints import fill, load_checkpoint, refuse_seen
    from ..datasets import open_dataset
    from ..evaluation.scoring import evaluate as run
    from ..evaluation.scoring import protocol_episodes
    from ..episodes.folds import novel_classes
    from ..episodes.protocols import get_protocol
    rules = get_protocol(protocol)
    classes = None if dataset == "folder" else novel_classes(dataset, fold)
    refuse_no_extractor(model, described["extractor"], checkpoint)
    network = build(model, backbone, weights, **described)
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
        low, high = map(percent, result["intervals"][key])
        click.echo(f"{name:14}{percent(result[key])}   95 % interval {low} to {high}")
    for c, value in result["per_class"].items():
        click.echo(f"  {images.class_names[int(c) - 1]:12}{percent(value)}")
    click.echo(f"{len(drawn)} episodes in {result['seconds']:.0f} s; {out / 'result.json'}")


@cli.command()
@MODEL
@DATASET
@ROOT
@EPISODES
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with fields of TrainingConfig.")
@click.option("--steps", type=int, help="Optimiser steps.")
@click.option("--batch", type=int, help="Episodes a step and device.")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), help="sgd, as the papers (default), or adamw.")
@click.option("--lr", type=float, help="Learning rate at the first step.")
@click.option("--weight-decay", type=float, help="Of the optimiser (else the model's).")
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

    from ..models.bank import ModelBank
    from ..basics.config import load
    from ..datasets import open_dataset
    from ..episodes.folds import base_classes, novel_classes
    from ..models import model_class
    from ..episodes.protocols import get_protocol
    from ..training import TrainingConfig, check_config, fit
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
    refuse_no_extractor(model, extractor, None)
    network = build(model, backbone, weights, batch_norm, extractor, extractor_backbone, options, settings.seed)
    images = open_dataset(dataset, root, "train")
    if bank is None:
        bank = getattr(network, "frozen", False) and batch_norm == "eval" and settings.views > 0
    if bank:
        bank = ModelBank(network, images, settings.size, get_protocol(settings.protocol).resize, dtype="float16")
    try:
        fit(network, images, classes, settings, out, resume,
            novel=novel_classes(dataset, fold) if drop_novel else (), bank=bank or None)
    except KeyboardInterrupt:
        interrupted(checkpoint)
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

    from ..models.backbones import build_backbone
    from ..basics.config import load
    from ..contrast import PretrainConfig
    from ..contrast import pretrain as run
    from ..contrast.pretraining import check_config
    from ..datasets import open_dataset
    from ..datasets.selection import Selection
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
        interrupted(out / "checkpoint.pt")
    click.echo(f"extractor: {out / 'extractor.safetensors'}")
