"""Pretraining of the prior extractor: a fixed schedule over unlabelled images, resumed to the same result."""

import contextlib
import json
import math
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from ..basics.checkpoints import refuse_infinite, restore, save_checkpoint, weights_digest
from ..basics.config import at_least, finite
from ..basics.engine import agreed, loader, start
from ..basics.errors import InputError
from ..basics.interrupts import held
from ..basics.logs import RunLog, refuse_other_files
from ..basics.machine import hardware, versions
from ..basics.seeds import stream
from ..basics.storage import atomic_path, sha256_file, user_path, writable_folder, write_json
from ..datasets.selection import Pictures
from ..episodes.transforms import check_geometry
from ..models.backbones import build_backbone
from ..superpixels.cache import PatchCache
from ..training import split_validation
from .moco import LOSSES, GlobalLocalMoCo
from .probe import PatchProbe, probe_summary
from .queue import queue_length
from .views import ContrastViews


@dataclass(frozen=True)
class PretrainConfig:
    """``loss``: ``"global"``, ``"local"`` or ``"both"`` (eq. 3) · ``patches``: ``"slic"`` or ``"felzenszwalb"`` ·
    ``min_area``: px of the smallest patch that is drawn, in a VOC photo; scaled down for smaller pictures ·
    ``mask_patches``: paint over what is in a patch's box but not in the patch · ``held_out``: share of the images
    kept for the probe, never seen; 0 for all of them (the paper's "entire dataset") · ``epochs`` · ``batch``: images
    a step and device · ``size``, ``patch_size``: px of the views · ``lr``: of SGD for 256 images a step, scaled with
    the batch, to 0 along a cosine · ``temperature``, ``dim``, ``queue`` (None: from the number of images),
    ``key_momentum``: of MoCo · ``sub_batches``: see GlobalLocalMoCo · ``probe_every``: epochs, 0 for never ·
    ``probe_images``: at most so many training images in the probe's bank · ``probe_size``: px of the probe's input ·
    ``checkpoint_every``: steps.

    What the paper leaves open follows MoCo v2, but for a batch of 32 (256), views of 128 and 64 px (224) and a
    ``key_momentum`` of 0.99 (0.999): the key encoder must be able to follow within a few hundred steps. The paper's own
    1 000 epochs and queues of 65 536 are options.
    """
    loss: str = "both"
    patches: str = "slic"
    min_area: int = 400
    mask_patches: bool = False
    held_out: float = 0.1
    epochs: int = 10
    batch: int = 32
    size: int = 128
    patch_size: int = 64
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 1e-4
    temperature: float = 0.2
    dim: int = 128
    queue: int | None = None
    key_momentum: float = 0.99
    sub_batches: int = 4
    probe_every: int = 5
    probe_images: int = 250
    probe_size: int = 225
    checkpoint_every: int = 20
    seed: int = 0
    precision: str = "auto"
    devices: int = 1


def learning_rate(config, step, steps):
    """lr * batch / 256 * (1 + cos(pi t / T)) / 2; the batch of all devices counts."""
    return config.lr * config.batch * config.devices / 256 * (1 + math.cos(math.pi * step / steps)) / 2


def pretrain(encoder, dataset, config=PretrainConfig(), out=None, resume=False, progress=True, report=None, about=None):
    """Trains a GlobalLocalMoCo around ``encoder`` on the images of ``dataset``, its ``unlabelled`` ones too; masks serve the
    probe alone.

    ``encoder``: a Backbone of ``output_stride=32``; its weights are the start. ``batch_norm="train"`` is MoCo's
    way and right for a random start; ``"eval"`` keeps the statistics of a trained one: estimated anew on
    blurred, blown-up views they no longer fit whole photos (the pairs are in ``figures/results/contrast_voc.json``) ·
    ``out``: folder for ``extractor.safetensors`` (the momentum encoder, what region maps use: weights that
    ``build_backbone`` reads), ``result.json``, ``checkpoint.pt``, ``log.csv`` and TensorBoard events; None keeps
    nothing · ``resume``: go on from ``out/checkpoint.pt``, bitwise the same on a CPU · ``report``: called with each
    row of the log · ``about``: more for the result: ``command`` and ``job``, its digest. Returns (extractor, rows): the momentum encoder as a Backbone of stride 32 in eval mode, and dicts
    with ``step``, ``loss``, each loss, ``accuracy_...`` (share of queries nearest to their own key), ``lr``,
    ``images_per_second`` and, every ``probe_every`` epochs, ``probe`` (percent).

    A loss that is not finite raises InputError naming the last good checkpoint.
    """
    check_config(config)
    out = out and user_path(out)
    fabric = start(config.devices, config.precision)
    pictures = Pictures(dataset)
    seen, held_out = split_validation(dataset, config.held_out)
    seen = np.concatenate([seen, np.arange(len(dataset), len(pictures))])          # images without a mask are all learned from
    together = config.batch * config.devices
    cache = PatchCache(pictures, config.patches)
    if config.probe_every:
        if not len(held_out) or len(held_out) == len(dataset):
            raise InputError("probe", f"{len(dataset)} images with a mask, {len(held_out)} of them held out",
                             "masks on both sides: the probe asks for them, the training for none",
                             "Draw masks for more images, or leave the probe out: --probe-every 0.")
        dilated(encoder)                     # a network without a stride of 8 is refused before anything is written
    data = {"dataset": dataset.name, "split": dataset.split, "digest": pictures.digest,
            "start": weights_digest(encoder)}
    model = _model(encoder, config, len(seen), together)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], config.lr, config.momentum,
                                weight_decay=config.weight_decay)
    views = ContrastViews(pictures, seen, config, cache, LOSSES[config.loss], together)
    per_epoch, steps = views.per_epoch // together, len(views) // together
    first, rows, checkpoint = 0, [], out and writable_folder(out, "Give another --out.") / "checkpoint.pt"
    if checkpoint and checkpoint.exists() and not resume:
        raise InputError(checkpoint, "a checkpoint of an earlier run", "a folder without one",
                         "Go on with it (--resume), give another --out, or delete it.")
    if checkpoint and not checkpoint.exists():
        refuse_other_files(out, config)
        if (out / "extractor.safetensors").exists():
            raise InputError(out / "extractor.safetensors", "an extractor of another run", "a folder of the run's own",
                             "Give another --out.")
    if "local" in LOSSES[config.loss] and fabric.is_global_zero:
        cache.fill(progress=progress)
    fabric.barrier()
    probe = probe_of(dataset, config) if config.probe_every and fabric.is_global_zero else None
    engine, optimizer = fabric.setup(model, optimizer)
    if resume and checkpoint and checkpoint.exists():
        first, rows = restore(checkpoint, model, optimizer, config, data)
    log = None
    if out and fabric.is_global_zero:
        log = RunLog(out, rows, config, first, ("probe",))
    scores = None
    if probe and not rows:
        scores = probe.score(dilated(model.key_encoder))
        rows.append({"step": 0, "probe": 100 * scores.miou()})
        if log:
            log.add(rows[0])
    batches = loader(views, fabric, config.batch, first, steps)
    bar = tqdm(range(first, steps), desc="pretrain", unit="step", initial=first, total=steps,
               disable=not progress or not fabric.is_global_zero)
    with held() as stop, log or contextlib.nullcontext():
        for step in bar:
            began = time.perf_counter()
            torch.manual_seed(stream(config.seed, (step << 8) + fabric.global_rank))       # the shuffling of keys
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, steps)
            row = {"step": step + 1, **_step(fabric, engine, optimizer, next(batches), step, checkpoint)}
            row["images_per_second"] = together / (time.perf_counter() - began)
            if probe and ((step + 1) % (config.probe_every * per_epoch) == 0 or step + 1 == steps):
                scores = probe.score(dilated(model.key_encoder))
                row["probe"] = 100 * scores.miou()
            fabric.barrier()
            rows.append(row)
            bar.set_postfix(loss=f"{row['loss']:.3f}", epoch=(step + 1) // per_epoch,
                            **{k: f"{v:.1f}" for k, v in row.items() if k == "probe"}, refresh=False)
            if report:
                report(row)
            stopped = agreed(fabric, stop.asked)
            if log:
                log.add(row)
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == steps or stopped:
                    save_checkpoint(checkpoint, architecture=model.architecture, config=asdict(config), data=data,
                                    step=step + 1, model=model.state_dict(), optimizer=optimizer.state_dict(), rows=rows)
            if stopped and step + 1 < steps:
                fabric.barrier()
                stop.deliver()
    extractor = model.key_encoder.eval()
    if log:
        save_extractor(out / "extractor.safetensors", extractor, {**asdict(config), **data})
        about = about or {}
        write_json(out / "result.json", {
            "command": about.get("command"), "config": {**asdict(config), **model.architecture["options"], "backbone": encoder.name,
                       "images": len(seen), "held_out_images": len(held_out)},
            "versions": versions(), "hardware": hardware(),
            **({"gpu_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2)}
               if torch.cuda.is_available() else {}),
            "seconds": round(sum(together / row["images_per_second"] for row in rows if "loss" in row), 1),
            "digests": {**data, "extractor": sha256_file(out / "extractor.safetensors"), "job": about.get("job")},
            **({"probe": probe_summary(scores or probe.score(dilated(extractor)))} if probe else {}), "rows": rows})
    return extractor, rows


def _model(encoder, config, images, together):
    """The GlobalLocalMoCo of ``config`` for so many ``images``, ``together`` of them a step."""
    if images < together:
        raise InputError("batch", f"{together} images a step of {images} to learn from", "at most as many",
                         "Use a smaller batch or more images.")
    length = config.queue or queue_length(images, together)
    if length % together:
        raise InputError("queue", f"length {length} with {together} keys a step", "a multiple",
                         f"Use {max(together, length // together * together)}.")
    torch.manual_seed(config.seed)
    model = GlobalLocalMoCo(encoder, config.loss, config.dim, length, config.key_momentum, config.temperature,
                            config.sub_batches)
    model.architecture = {"model": "moco", "backbone": encoder.name,
                          "options": {"loss": config.loss, "queue": length, "batch_norm": encoder.batch_norm}}
    return model


def _step(fabric, engine, optimizer, views, step, checkpoint):
    """One optimiser step; returns losses, accuracies and learning rate for its row of the log."""
    engine.train()
    losses, accuracy = engine({part: pair.to(fabric.device, non_blocking=True) for part, pair in views.items()})
    loss, lr = sum(losses.values()), optimizer.param_groups[0]["lr"]
    refuse_infinite(loss.item(), step, lr, checkpoint)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    optimizer.step()
    return {"loss": loss.item(), **{k: v.item() for k, v in losses.items()},
            **{f"accuracy_{k}": v.item() for k, v in accuracy.items()}, "lr": lr}


def check_config(config):
    """Raises InputError for a number or a name that no pretraining can use."""
    if config.loss not in LOSSES:
        raise InputError("loss", repr(config.loss), f"one of {', '.join(LOSSES)}", "Correct the name.")
    at_least(config, epochs=1, batch=2, dim=1, sub_batches=1, min_area=1, probe_every=0, probe_images=1, checkpoint_every=1,
             devices=1)
    finite(config, "lr", "momentum", "weight_decay")
    if not 0 <= config.seed < 2 ** 31:
        raise InputError("seed", repr(config.seed), "0..2147483647", "Choose a smaller seed.")
    if config.queue is not None and config.queue < 1:
        raise InputError("queue", repr(config.queue), "a whole number from 1 up", "Leave it out for the default.")
    if not 0 <= config.held_out < 1 or (config.probe_every and not config.held_out):
        raise InputError("held_out", repr(config.held_out), "a share below 1, and above 0 where the probe runs",
                         "Correct it, or set probe_every to 0.")
    for size in (config.size, config.patch_size, config.probe_size):
        check_geometry(size, "square")
    if config.batch % config.sub_batches or config.batch // config.sub_batches < 2:
        raise InputError("batch", f"{config.batch} images in {config.sub_batches} parts",
                         "parts of at least 2 images each",
                         "Batch norm needs neighbours: use a larger batch, or a --config file with fewer sub_batches (sub_batches: 1).")


def save_extractor(path, backbone, about):
    """Writes a Backbone's weights as safetensors with its name and the run's settings as metadata; equal weights and
    settings give equal bytes (in one entry: safetensors writes several in any order)."""
    from safetensors.torch import save       # its own writer has another word for a full disk
    with atomic_path(path) as part:
        part.write_bytes(save({name: tensor.contiguous() for name, tensor in backbone.state_dict().items()},
                              {"about": json.dumps({"backbone": backbone.name, **about})}))


def dilated(backbone):
    """A copy of a Backbone as region maps use it: the same weights at stride 8."""
    copy = build_backbone(backbone.name, None)
    copy.load_state_dict(backbone.state_dict())
    return copy.to(next(backbone.parameters()).device)


def probe_of(dataset, config):
    """The PatchProbe of a pretraining: training images against held-out ones. Its patches are SLIC's whatever
    ``config.patches`` says, so that the scores of different runs compare."""
    seen, held_out = split_validation(dataset, config.held_out)
    every = -(-len(seen) // config.probe_images)
    return PatchProbe(dataset, seen[::every], held_out, PatchCache(dataset), config.probe_size,
                      min_area=config.min_area * dataset.area_scale)
