"""Devices, precision and several processes: the only file that knows lightning-fabric."""

import torch
from torch.utils.data import DataLoader

try:
    from lightning_fabric import Fabric
except ImportError:                          # the same code under the big package's name
    from lightning.fabric import Fabric

from .errors import InputError


def start(devices=1, precision="auto"):
    """A launched Fabric: on GPUs where there are any, else on the CPU.

    ``devices``: number of GPUs or CPU processes · ``precision``: ``"32"``, ``"bf16"`` or ``"auto"`` (bf16 on a GPU
    that has it, else 32).
    """
    if precision not in ("auto", "32", "bf16"):
        raise InputError("precision", repr(precision), "'auto', '32' or 'bf16'", "Correct the name.")
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise InputError("devices", f"{devices} asked, {gpus} GPU(s) here", "at most as many", "Ask for fewer.")
    if precision == "auto":
        precision = "bf16" if gpus and torch.cuda.is_bf16_supported() else "32"
    fabric = Fabric(accelerator="cuda" if gpus else "cpu", devices=devices,
                    precision={"32": "32-true", "bf16": "bf16-mixed"}[precision],
                    strategy="auto" if devices == 1 else "ddp")
    fabric.launch()
    return fabric


def loader(items, fabric, batch, first, steps, collate=None):
    """Batches of the steps from ``first`` on; step s of rank r sees the same items whenever it starts. One process reads ahead
    beside a CPU that computes, eight for a GPU."""
    world, rank, cpu = fabric.world_size, fabric.global_rank, fabric.device.type == "cpu"
    indices = [(s * world + rank) * batch + b for s in range(first, steps) for b in range(batch)]
    return iter(DataLoader(items, batch_size=batch, sampler=indices, collate_fn=collate, num_workers=1 if cpu else 8,
                           pin_memory=not cpu, generator=torch.Generator()))
