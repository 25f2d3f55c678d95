"""One training loop for all episodic models: fixed schedule, base classes only, resumed to the same result."""

import contextlib
import hashlib
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from .basics.checkpoints import refuse_infinite, restore, save_checkpoint
from .basics.config import at_least, finite
from .basics.engine import agreed, loader, start
from .basics.errors import InputError
from .basics.interrupts import held
from .basics.logs import RunLog, refuse_other_files
from .basics.seeds import stream
from .basics.storage import writable_folder
from .episodes.batches import EpisodeTensors, collate
from .episodes.protocols import get_protocol
from .episodes.sampler import EpisodeSampler
from .episodes.transforms import check_geometry
from .evaluation.scoring import evaluate


@dataclass(frozen=True)
class TrainingConfig:
    """``steps``: optimiser steps · ``batch``: episodes a step and device · ``size``: input px · ``protocol``: rules
    that draw training queries and decide the input geometry · ``optimizer``: ``"sgd"`` with ``momentum``, or
    ``"adamw"``; both with ``lr`` and ``weight_decay`` ·
    ``lr_times_ten``: ten times ``lr``, which PFENet's and QGNet's released code does (``index_split=-1``), whatever
    their papers say · ``schedule``: ``"step"`` (x0.1 at a third and two thirds, PANet) or ``"poly"`` ((1 - t/T)^0.9,
    PFENet) · ``views``: see ``batches.EpisodeTensors`` ·
    ``validation``: share of the training images held out; their base-class episodes are the only ones a choice may
    rest on · ``validate_every``: steps, 0 for never · ``checkpoint_every``: steps."""
    steps: int = 1000
    batch: int = 4
    shots: int = 1
    ways: int = 1
    size: int = 225
    protocol: str = "panet"
    optimizer: str = "sgd"
    lr: float = 1e-3
    lr_times_ten: bool = False
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step"
    seed: int = 0
    views: int = 2
    validation: float = 0.1
    validate_every: int = 100
    validation_episodes: int = 100
    checkpoint_every: int = 50
    precision: str = "auto"
    devices: int = 1


def learning_rate(config, step):
    """The rate at ``step`` 0..steps-1 of a fixed schedule."""
    lr = config.lr * (10 if config.lr_times_ten else 1)
    if config.schedule == "poly":
        return lr * (1 - step / config.steps) ** 0.9
    if config.schedule == "step":
        return lr * 0.1 ** (3 * step // config.steps)
    raise InputError("schedule", repr(config.schedule), "'step' or 'poly'", "Correct the name.")


def build_optimizer(model, config):
    """The optimiser of everything in ``model`` that learns; an unknown name raises InputError."""
    learning = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(learning, config.lr, config.momentum, weight_decay=config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(learning, config.lr, weight_decay=config.weight_decay)
    raise InputError("optimizer", repr(config.optimizer), "'sgd' or 'adamw'", "Correct the name.")


def check_config(config):
    """Raises InputError for a number that no training can use."""
    at_least(config, steps=1, batch=1, validate_every=0, validation_episodes=1, checkpoint_every=1, devices=1)
    finite(config, "lr", "momentum", "weight_decay")
    if not 0 <= config.validation < 1 or (config.validate_every and not config.validation):
        raise InputError("validation", repr(config.validation), "a share above 0 and below 1",
                         "Correct it, or set validate_every to 0.")
    if not 0 <= config.seed < 2 ** 31:
        raise InputError("seed", repr(config.seed), "0..2147483647", "Choose a smaller seed.")
    check_geometry(config.size, get_protocol(config.protocol).resize)
    learning_rate(config, 0)
    build_optimizer(torch.nn.Linear(1, 1), config)


def split_validation(dataset, share):
    """(training indices, validation indices): an image's side depends on its id alone, never on a seed."""
    held_out = np.array([int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < share * 2 ** 32 for name in dataset.ids], bool)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def halves(dataset, classes):
    """(indices to learn from, indices to test on): of the images that show one of ``classes``, which a training does not
    learn, half are tested, by their id. For choices that rest on base classes alone."""
    shows = (dataset.areas[:, list(classes)] > 0).any(1)
    half = np.array([hashlib.sha256(f"choice {name}".encode()).digest()[0] < 128 for name in dataset.ids])
    return np.flatnonzero(~(shows & half)), np.flatnonzero(shows & half)


def curve(rows):
    """Plain values of a training's log: the loss, mean of every tenth of its steps, and each validation."""
    losses = [row["loss"] for row in rows if "loss" in row]
    seen = [row for row in rows if "val_miou" in row]
    return {"loss": [round(float(np.mean(part)), 4) for part in np.array_split(losses, 10) if len(part)],
            "step": [row["step"] for row in seen], "val_miou": [row["val_miou"] for row in seen],
            **({"val_distance": [row["val_distance"] for row in seen]} if seen and "val_distance" in seen[0] else {})}


def fit(model, dataset, classes, config=TrainingConfig(), out=None, resume=False, novel=(), bank=None, images=None,
        progress=True, report=None, start_digest=None):
    """Trains ``model`` on episodes of ``classes`` (base classes) and leaves it with the last step's weights.

    ``out``: folder for ``checkpoint.pt``, ``log.csv``, ``config.json`` and TensorBoard events; None keeps nothing ·
    ``resume``: go on from ``out/checkpoint.pt``, to the same result as without the interruption (bitwise on CPU) ·
    ``novel``: classes whose images are dropped from training (BAM's rule; default: kept as background, PFENet's) ·
    ``images``: indices of the training images to use, by default all ·
    ``bank``: a ModelBank of this model, data and size; its frozen networks are then not run in the loop ·
    ``report``: called with each row of the log · ``start_digest``: of the weights that ``model`` comes with,
    where a checkpoint gave them; a resumed run must have the same.

    Ctrl-C and SIGTERM end the run behind the step, which is kept. Returns the rows: dicts with ``step``, ``loss``, each loss, ``lr``,
    ``seconds`` and, every ``validate_every`` steps, ``val_miou`` (percent) and ``val_distance``; row 0 holds the
    validation before the first step.

    A loss that is not finite raises InputError naming the last good checkpoint.
    """
    check_config(config)
    fabric = start(config.devices, config.precision)
    train_images, validation_images = (part if images is None else np.intersect1d(part, images)
                                       for part in split_validation(dataset, config.validation))
    sampler = EpisodeSampler(dataset, classes, config.shots, config.seed, config.protocol, config.ways,
                             images=train_images, exclude=novel, shuffle=True)
    validation = None
    if config.validate_every:
        try:
            drawn = EpisodeSampler(dataset, classes, config.shots, 0, config.protocol, config.ways, images=validation_images,
                                   exclude=novel, scarce="skipped")   # a tenth of the images may lack a class
        except InputError as error:
            share = _enough_held_out(dataset, classes, config, novel, images)
            raise InputError(f"validation on held-out images, {error.where}", error.found, error.expected, "Add images, "
                             + (f"hold out more of them (validation: {share} in a file for --config), " if share else "")
                             + "or train without (--validate-every 0).") from error
        validation = drawn.take(config.validation_episodes)
    optimizer = build_optimizer(model, config)
    data = {"dataset": dataset.name, "digest": dataset.digest, "classes": [int(c) for c in classes],
            "names": [dataset.class_names[c - 1] for c in classes], "dropped": [int(c) for c in novel],
            **({"start": start_digest} if start_digest else {})}
    first, rows, checkpoint = 0, [], out and writable_folder(out, "Give another --out.") / "checkpoint.pt"
    if checkpoint and checkpoint.exists() and not resume:
        raise InputError(checkpoint, "a checkpoint of an earlier run", "a folder without one",
                         "Go on with it (--resume), give another --out, or delete it.")
    if checkpoint and not checkpoint.exists():
        refuse_other_files(checkpoint.parent, config)
    engine, optimizer = fabric.setup(model, optimizer)         # from here on the model lies on its device
    if bank is not None:
        _fill_bank(bank, model, dataset, sampler, validation, config)
    if resume and checkpoint and checkpoint.exists():          # after setup: the momentum must lie on the device
        first, rows = restore(checkpoint, model, optimizer, config, data)
    log = RunLog(out, rows, config, first, ("val_miou", "val_distance")) if out and fabric.is_global_zero else None
    if validation and not rows and fabric.is_global_zero:
        rows.append({"step": 0, **_validate(model, validation, drawn.classes, config, fabric.device, bank)})
        if log:
            log.add(rows[0])
    tensors = EpisodeTensors(sampler, config.size, sampler.protocol.resize, config.views, config.seed, bank=bank)
    batches = loader(tensors, fabric, config.batch, first, config.steps, collate)
    bar = tqdm(range(first, config.steps), desc="train", unit="step", initial=first, total=config.steps,
               disable=not progress or not fabric.is_global_zero)
    with held() as stop, log or contextlib.nullcontext():
        for step in bar:
            began = time.perf_counter()
            engine.train()
            torch.manual_seed(stream(config.seed, (step << 8) + fabric.global_rank))      # dropout: nothing to restore
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            losses = engine(next(batches).to(fabric.device)).losses
            loss = sum(losses.values())
            refuse_infinite(loss.item(), step, learning_rate(config, step), checkpoint)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
            row = {"step": step + 1, "loss": loss.item(), **{k: v.item() for k, v in losses.items()},
                   "lr": learning_rate(config, step), "seconds": time.perf_counter() - began}
            if validation and ((step + 1) % config.validate_every == 0 or step + 1 == config.steps):
                if fabric.is_global_zero:
                    row |= _validate(model, validation, drawn.classes, config, fabric.device, bank)
                fabric.barrier()
            rows.append(row)
            bar.set_postfix(loss=f"{row['loss']:.3f}", **{k: v for k, v in row.items() if k == "val_miou"}, refresh=False)
            if report:
                report(row)
            stopped = agreed(fabric, stop.asked)
            if log:
                log.add(row)
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps or stopped:
                    save_checkpoint(checkpoint, architecture=model.architecture, config=asdict(config), data=data,
                                    step=step + 1, model=model.state_dict(), optimizer=optimizer.state_dict(), rows=rows)
            if stopped and step + 1 < config.steps:
                fabric.barrier()
                stop.deliver()
    return rows


def _enough_held_out(dataset, classes, config, novel, images):
    """The smallest share of validation images that leaves episodes on both sides, or None."""
    for share in (0.2, 0.3, 0.4, 0.5):
        with contextlib.suppress(InputError):
            for part, scarce in zip(split_validation(dataset, share), ("refused", "skipped")):
                EpisodeSampler(dataset, classes, config.shots, 0, config.protocol, config.ways, exclude=novel, scarce=scarce,
                               images=part if images is None else np.intersect1d(part, images))
            return share
    return None


def _fill_bank(bank, model, dataset, sampler, validation, config):
    """Every view of every image that training can meet; a bank of other features raises InputError."""
    bank.refuse_other(model, dataset, config.size, sampler.protocol.resize)
    if not getattr(model, "frozen", False) or model.backbone.batch_norm == "train":
        raise InputError("feature bank", "a backbone that changes in training", "a frozen one, batch norm included",
                         "Train with frozen=True and batch_norm=\"eval\", or without the bank.")
    bank.fill(sampler.images, views=range(config.views))
    if validation:
        bank.fill([e.query for e in validation], [j for e in validation for j in sum(e.support, ())])


@torch.no_grad()
def _validate(model, episodes, classes, config, device, bank):
    result = evaluate(model, episodes, classes, config.protocol, config.size, bank=bank or True, device=device,
                      progress=False)
    distance = {"val_distance": result["prototype_distance"]} if "prototype_distance" in result else {}
    return {"val_miou": result["miou"], **distance}
