"""``fsslib bench contrast``: images/s of pretraining on this machine, and where the time goes; nothing is asserted."""

import statistics
import time

import torch
from torch.utils.data import DataLoader

from ..basics.machine import hardware
from ..contrast.moco import LOSSES, GlobalLocalMoCo
from ..contrast.pretraining import PretrainConfig
from ..contrast.queue import queue_length
from ..contrast.views import ContrastViews
from ..datasets import open_dataset
from ..models.backbones import build_backbone
from ..superpixels.cache import PatchCache

OFFICIAL = 1339         # ms a step of MoCo's published code on two CPU cores: ResNet-18, 128 px, batch 32, K 4 096


def contrast(dataset, root, backbone, weights, config=PretrainConfig(), steps=4):
    """A text table: one step stage by stage, what loaders of 0 to 2 workers give, the official step at equal work."""
    images = open_dataset(dataset, root, "train")
    parts = LOSSES[config.loss]
    cache = PatchCache(images, config.patches)
    if "local" in parts:
        cache.fill()
    views = ContrastViews(images, range(len(images)), config, cache, parts, config.batch)
    model = _model(backbone, weights, config, queue_length(len(images), config.batch))
    lines = [f"{dataset}, {backbone}, {config.loss}, batch {config.batch}, {config.size} px, patches "
             f"{config.patch_size} px; {hardware()}", ""]
    stages = _stages(model, views, config, steps)
    total = sum(stages.values())
    lines += [f"  {name:34}{1000 * seconds / config.batch:8.1f} ms an image  {100 * seconds / total:5.1f} %"
              for name, seconds in stages.items()]
    encoder = total - stages["read, cut, augment"]
    lines += [f"  everything in one process {config.batch / total:17.1f} images/s",
              f"  encoder alone {config.batch / encoder:29.1f} images/s", ""]
    for workers in (0, 1, 2):
        rate, waiting = _loop(model, views, config, workers, steps)
        lines.append(f"training loop, {workers} workers {rate:20.1f} images/s, waits for images {100 * waiting:5.1f} %")
    lines += ["", _official(steps)]
    return "\n".join(lines)


def _model(backbone, weights, config, queue):
    encoder = build_backbone(backbone, weights, 32, "train")
    return GlobalLocalMoCo(encoder, config.loss, config.dim, queue, config.key_momentum, config.temperature,
                           config.sub_batches).train()


def _stages(model, views, config, steps):
    """Seconds of one batch by stage: dict name -> float, the mean over ``steps`` after one to warm up."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-4, 0.9)
    seconds = dict.fromkeys(("read, cut, augment", "keys: momentum encoder", "queries: forward, loss", "backward",
                             "optimiser"), 0.0)
    encode, keys = model._encode, [0.0]

    def timed(encoder, images, shuffle=False):
        began = time.perf_counter()
        found = encode(encoder, images, shuffle)
        keys[0] += (time.perf_counter() - began) * (encoder is model.key_encoder)
        return found

    model._encode = timed
    for step in range(steps + 1):
        marks, keys[0] = [time.perf_counter()], 0.0
        items = [views[step * config.batch + b] for b in range(config.batch)]
        batch = {part: torch.stack([item[part] for item in items]) for part in items[0]}
        marks.append(time.perf_counter())
        losses, _ = model(batch)
        marks.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        load, forward, backward, update = (b - a for a, b in zip(marks, marks[1:]))
        if step:
            for name, value in zip(seconds, (load, keys[0], forward - keys[0], backward, update)):
                seconds[name] += value / steps
    del model._encode
    return seconds


def _loop(model, views, config, workers, steps):
    """(images/s, share of the time spent waiting for a batch) of a real loop after its first batch."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-4, 0.9)
    loader = iter(DataLoader(views, config.batch, sampler=range((steps + 1) * config.batch), num_workers=workers))
    waited, began = 0.0, 0.0
    for step in range(steps + 1):
        asked = time.perf_counter()
        batch = next(loader)
        if step:
            waited += time.perf_counter() - asked
        else:
            began = time.perf_counter()              # the first batch also starts the workers
            continue
        optimizer.zero_grad(set_to_none=True)
        sum(model(batch)[0].values()).backward()
        optimizer.step()
    total = time.perf_counter() - began
    return steps * config.batch / total, waited / total


def _official(steps):
    """The published code's work as this kit does it, beside the same in torch's default memory layout, which the
    published code uses; taken in turns, since a machine's speed drifts. Three lines of text."""
    config = PretrainConfig(loss="global", key_momentum=0.999, sub_batches=1)
    models = {"this kit (channels last)": _model("resnet18", None, config, 4096)}
    models["torch's default layout"] = _model("resnet18", None, config, 4096).to(memory_format=torch.contiguous_format)
    optimizers = {name: torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.03, 0.9,
                                        weight_decay=1e-4) for name, model in models.items()}
    views, seconds = torch.rand(2, 32, 3, 128, 128).transpose(0, 1), {name: [] for name in models}
    for _ in range(2 * steps + 1):
        for name, model in models.items():
            began = time.perf_counter()
            losses, _ = model({"global": views})
            optimizers[name].zero_grad(set_to_none=True)
            losses["global"].backward()
            optimizers[name].step()
            seconds[name].append(time.perf_counter() - began)
    lines = [f"one step of MoCo's work: ResNet-18, 128 px, batch 32, K 4096 (elsewhere its own code took {OFFICIAL} ms "
             "on 2 CPU cores)"]
    return "\n".join(lines + [f"  {name:28}{1000 * statistics.median(found[1:]):8.0f} ms, best {1000 * min(found):.0f}"
                              for name, found in seconds.items()])
