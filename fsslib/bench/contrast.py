"""``fsslib bench contrast``: images/s of pretraining on this machine, and where the time goes."""

import time

import torch
from torch.utils.data import DataLoader

from ..basics.engine import reading
from ..basics.machine import hardware
from ..contrast.moco import LOSSES, GlobalLocalMoCo
from ..contrast.pretraining import PretrainConfig
from ..contrast.queue import queue_length
from ..contrast.views import ContrastViews
from ..datasets import open_dataset
from ..models.backbones import build_backbone
from ..superpixels.cache import PatchCache

STAGES = ("read, cut, augment", "forward, loss", "backward", "optimiser")


def contrast(dataset, root, backbone, weights, config=PretrainConfig(), steps=4):
    """A text table: a step stage by stage, and the whole loop with loaders of 0 to 2 workers."""
    images = open_dataset(dataset, root, "train")
    parts, cache = LOSSES[config.loss], PatchCache(images, config.patches)
    if "local" in parts:
        cache.fill()
    views = ContrastViews(images, range(len(images)), config, cache, parts, config.batch)
    model = GlobalLocalMoCo(build_backbone(backbone, weights, 32, "train"), config.loss, config.dim,
                            queue_length(len(images), config.batch), config.key_momentum, config.temperature,
                            config.sub_batches).train()
    lines = [f"{dataset}, {backbone}, {config.loss}, batch {config.batch}, {config.size} px, patches "
             f"{config.patch_size} px; {hardware()}", ""]
    for workers in (0, 1, 2):
        seconds = _step(model, views, config, workers, steps)
        total = sum(seconds)
        lines.append(f"{workers} workers {config.batch / total:10.1f} images/s: " + ", ".join(
            f"{name} {100 * part / total:.0f} %" for name, part in zip(STAGES, seconds)))
    return "\n".join(lines)


def _step(model, views, config, workers, steps):
    """Seconds of each of ``STAGES``, the mean over ``steps`` after a first one, which also starts the workers; with workers
    the first stage is waiting for them."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-4, 0.9)
    loader = iter(DataLoader(views, config.batch, sampler=range((steps + 1) * config.batch),
                             **reading(views, workers, config.batch)))
    seconds = torch.zeros(len(STAGES), dtype=torch.float64)
    for step in range(steps + 1):
        marks = [time.perf_counter()]
        batch = next(loader)
        marks.append(time.perf_counter())
        loss = sum(model(batch)[0].values())
        marks.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        if step:
            seconds += torch.tensor(marks, dtype=torch.float64).diff() / steps
    return seconds.tolist()
