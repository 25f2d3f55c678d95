"""One training loop for all episodic models: fixed schedule, base classes only, resumed to the same result."""

import contextlib
import time
from dataclasses import asdict

import numpy as np
import torch
from tqdm.auto import tqdm

from ..basics.checkpoints import refuse_infinite, restore, save_checkpoint
from ..basics.engine import agreed, loader, start
from ..basics.errors import InputError
from ..basics.interrupts import held
from ..basics.logs import RunLog, refuse_other_files
from ..basics.seeds import stream
from ..basics.storage import writable_folder
from ..episodes.batches import EpisodeTensors, collate
from ..episodes.crowded import CrowdedSampler
from ..episodes.sampler import EpisodeSampler
from ..evaluation.scoring import evaluate, introduced
from .config import TrainingConfig, build_optimizer, check_config, learning_rate
from .known import fit_known
from .presence import fit_presence, presence_episodes
from .split import split_validation


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
    ``seconds`` and, every ``validate_every`` steps, ``val_miou`` (percent) and ``val_distance``; row 0 holds what came before the
    first step, the validation and the seconds of heads that learn first (``known``). A rule of presence is fitted behind the last.

    A loss that is not finite raises InputError naming the last good checkpoint.
    """
    check_config(config)
    if config.ways > getattr(model, "MOST_WAYS", config.ways):
        raise InputError("ways", f"{config.ways}", "1", "This decoder answers one class at a time; train panet.")
    fabric = start(config.devices, config.precision)
    train_images, validation_images = (part if images is None else np.intersect1d(part, images)
                                       for part in split_validation(dataset, config.validation))
    kind = CrowdedSampler if config.crowded or config.absent else EpisodeSampler
    sampler = kind(dataset, classes, config.shots, config.seed, config.protocol, config.ways, images=train_images, exclude=novel,
                   shuffle=True, **({"crowded": config.crowded, "absent": config.absent} if kind is CrowdedSampler else {}))
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
    optimizer = build_optimizer(introduced(model, dataset), config)
    data = {"dataset": dataset.name, "digest": dataset.digest, "classes": [int(c) for c in classes],
            "names": [dataset.class_names[c - 1] for c in classes], "dropped": [int(c) for c in novel],
            **({"start": start_digest} if start_digest else {})}
    first, rows, checkpoint = 0, [], out and writable_folder(out, "Give another --out.") / "checkpoint.pt"
    if checkpoint and checkpoint.exists() and not resume:
        raise InputError(checkpoint, "a checkpoint of an earlier run", "a folder without one",
                         "Go on with it (--resume), give another --out, or delete it.")
    if checkpoint and not checkpoint.exists():
        refuse_other_files(checkpoint.parent, config)
    tensors = EpisodeTensors(sampler, config.size, sampler.protocol.resize, config.views, config.seed, bank=bank)
    if bank is not None:
        _fill_bank(bank, model.to(fabric.device), dataset, sampler, validation, config)
    resumed, before = bool(checkpoint and checkpoint.exists()), {"step": 0}
    shown = presence_episodes(sampler, config) if getattr(model, "judges", False) else None
    if _lacks_heads(model, sampler.classes) and not resumed:   # before the setup, which gives all devices the same
        began = time.perf_counter()
        fit_known(model.to(fabric.device), tensors, sampler.images, sampler.classes, config, progress and fabric.is_global_zero)
        before["seconds"] = time.perf_counter() - began
    engine, optimizer = fabric.setup(model, optimizer)         # from here on the model lies on its device
    if resumed:                                                # after setup: the momentum must lie on the device
        first, rows = restore(checkpoint, model, optimizer, config, data)
        model.to(fabric.device)                                # and heads that only the checkpoint has brought
    elif getattr(model, "judges", False):
        model.rule.zero_()                                     # that of another decoder
    log = RunLog(out, rows, config, first, ("val_miou", "val_distance")) if out and fabric.is_global_zero else None

    def keep(step):
        save_checkpoint(checkpoint, architecture=model.architecture, config=asdict(config), data=data, step=step,
                        model=model.state_dict(), optimizer=optimizer.state_dict(), rows=rows)

    if first == 0 and fabric.is_global_zero:
        if "seconds" in before:
            rows.append(before)
            if log:
                keep(0)
        if validation and not any("val_miou" in row for row in rows):
            rows[:1] = [{**(rows[0] if rows else before),
                         **_validate(model, validation, drawn.classes, config, fabric.device, bank)}]
        if log and rows:
            log.add(rows[0])
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
            if step + 1 == config.steps and shown:
                fit_presence(model, shown, tensors, config, fabric.device, progress and fabric.is_global_zero)
                row["seconds"] = time.perf_counter() - began
            if log:
                log.add(row)
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps or stopped:
                    keep(step + 1)
            if stopped and step + 1 < config.steps:
                fabric.barrier()
                stop.deliver()
    return rows


def _lacks_heads(model, classes):
    """Whether ``model`` has heads of known things that have not learned these classes."""
    known = getattr(model, "known", None)
    return known is not None and (not len(known) or known[-1].classes.tolist() != sorted(classes))


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
