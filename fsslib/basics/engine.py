"""Devices, precision and several processes: the only file that knows lightning-fabric."""

import dataclasses
import functools
import os
import shutil
import sys

import torch
from torch.utils.data import DataLoader

try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
except ImportError:                          # the same code under the big package's name
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import LightningEnvironment

from .errors import InputError, apart
from .interrupts import deaf

RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK")


def start(devices=1, precision="auto"):
    """A launched Fabric: on GPUs where there are any, else on the CPU.

    ``devices``: number of GPUs or CPU processes · ``precision``: ``"32"``, ``"bf16"`` or ``"auto"`` (bf16 on a GPU
    that has it, else 32). Another program that started another number of processes (torchrun, SLURM, MPI) raises InputError.
    """
    if precision not in ("auto", "32", "bf16"):
        raise InputError("precision", repr(precision), "'auto', '32' or 'bf16'", "Correct the name.")
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise InputError("devices", f"{devices} asked, {gpus} GPU(s) here", "at most as many", "Ask for fewer.")
    if precision == "auto":
        precision = "bf16" if gpus and torch.cuda.is_bf16_supported() else "32"
    _refuse_other_number(devices)
    try:
        fabric = Fabric(accelerator="cuda" if gpus else "cpu", devices=devices,
                        precision={"32": "32-true", "bf16": "bf16-mixed"}[precision],
                        strategy="auto" if devices == 1 else "ddp",
                        plugins=[LightningEnvironment()] if devices == 1 else None)      # one process asks no cluster
        fabric.launch()
    except (RuntimeError, ValueError) as error:              # a notebook, variables of a cluster that do not fit each other
        raise InputError("devices", f"{devices} asked and not started ({str(error).splitlines()[0]})", "one process a device",
                         "Ask for --devices 1, or correct how the processes are started.") from error
    if fabric.world_size != devices:
        raise InputError("devices", f"{devices} asked, {fabric.world_size} process(es) started by the cluster", "as many",
                         f"Ask for --devices {fabric.world_size}, or let the cluster start {devices}.")
    return fabric


def _refuse_other_number(devices):
    """Before anything waits for processes that nobody starts. One process under SLURM may be one of several tasks, each alone."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        count, told, right = int(env["WORLD_SIZE"]), "torchrun", f"torchrun --nproc-per-node {devices}"
    elif devices > 1 and "SLURM_NTASKS" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        count = int(env.get("SLURM_STEP_NUM_TASKS", 1))      # a batch script itself is one process, whatever the job asked for
        told, right = "SLURM", f"--ntasks-per-node={devices} and srun in front"
    elif devices > 1 and "LOCAL_RANK" in env:
        count, told, right = int(env.get("WORLD_SIZE", 1)), "the variables LOCAL_RANK and WORLD_SIZE", "these variables unset"
    else:
        return
    if count != devices:
        raise InputError("devices", f"{devices} asked, {count} process(es) given by {told}", "as many",
                         f"Ask for --devices {count}, or start with {right}.")


def leads(devices):
    """Whether this process is the one of ``devices`` that writes files, as told before ``start``."""
    return devices == 1 or all(os.environ.get(name, "0") == "0" for name in RANKS)


def agreed(fabric, stop):
    """Whether any process wants to stop: all take the same number of steps."""
    if fabric.world_size == 1:
        return bool(stop)
    return bool(fabric.all_reduce(torch.tensor(float(bool(stop)), device=fabric.device), reduce_op="sum") > 0)


def reading(items, wanted, batch, ahead=2):
    """``num_workers`` and ``worker_init_fn`` of a DataLoader: ``wanted`` processes, or as many as shared memory has room for
    batches in flight. A container often has 64 MB of it, and a process that finds no room there dies (SIGBUS)."""
    if wanted and sys.platform == "linux":
        free = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else 0
        need = (ahead + 1) * batch * _bytes(items[0])        # read ahead by each, and one being used
        if free < wanted * need:
            wanted = int(free // need)
            room = " of ".join(apart(free / 1e9, (wanted + 1) * need / 1e9, 2))
            _tell_once(f"/dev/shm: {room} GB for one more loading process; going on with {wanted} "
                       "(docker run --shm-size=8g gives more)")
    return {"num_workers": wanted, "worker_init_fn": deaf}


@functools.cache
def _tell_once(text):
    print(text, file=sys.stderr, flush=True)


def _bytes(value):
    """Of all tensors in an item."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = vars(value) if dataclasses.is_dataclass(value) else value
    return sum(map(_bytes, parts.values() if isinstance(parts, dict) else parts)) if isinstance(parts, (dict, list, tuple)) else 0


def loader(items, fabric, batch, first, steps, collate=None):
    """Batches of the steps from ``first`` on; step s of rank r sees the same items whenever it starts. One process reads ahead
    beside a CPU that computes, eight for a GPU; fewer where they would not fit."""
    world, rank, cpu = fabric.world_size, fabric.global_rank, fabric.device.type == "cpu"
    indices = ((s * world + rank) * batch + b for s in range(first, steps) for b in range(batch))      # never all at once
    workers = reading(items, (1 if cpu else 8) if first < steps else 0, batch)
    return iter(DataLoader(items, batch_size=batch, sampler=indices, collate_fn=collate, pin_memory=not cpu,
                           generator=torch.Generator(), **workers))
