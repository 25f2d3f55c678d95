"""``fsslib bench training``: steps/s and memory of a training without a bank, by precision, with and without torch.compile."""

import itertools
import statistics
import time

import torch

from ..basics.engine import start
from ..basics.machine import hardware, versions
from ..episodes.batches import EpisodeBatch
from ..models import build_model

PAPER_EPISODES = 200 * 5953                  # of a fold in the papers' schedule: epochs times training images
BATCHES = 4                                  # different ones, taken in turns: the size of an object decides some shapes


def measure(models, backbones, sizes, options, batch=4, shots=1, steps=20, command=None):
    """Yields, after every row, plain values of all rows so far: one for each model, backbone, size, precision (on a CPU
    32 bits alone) and compilation (on a GPU).

    The episodes are random pixels that already lie on the device, so reading images is not in these numbers; weights
    are random. ``seconds_per_step``: median of ``steps`` · ``seconds_warm_up``: of the steps before, compiling
    included · ``hours``: of the papers' schedule of one fold at this rate · ``gb``: the largest amount of GPU memory that
    tensors took.
    """
    gpu = torch.cuda.is_available()
    result = {"command": command, "batch": batch, "shots": shots, "options": options, "paper_episodes": PAPER_EPISODES,
              "hardware": hardware(), "versions": versions(), "rows": []}
    for name, backbone, size, precision, compiled in itertools.product(
            models, backbones, sizes, ("32", "bf16") if gpu else ("32",), (False, True) if gpu else (False,)):
        row = {"model": name, "backbone": backbone, "size": size, "precision": precision, "compiled": compiled}
        result["rows"].append(row | _one(name, backbone, size, precision, compiled, options, batch, shots, steps))
        yield result


def _one(name, backbone, size, precision, compiled, options, batch, shots, steps):
    torch.compiler.reset()
    fabric = start(1, precision)
    torch.manual_seed(0)
    model = build_model(name, backbone, None, **options)
    if compiled:
        model.compile()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-6, 0.9)
    engine, optimizer = fabric.setup(model, optimizer)
    batches = [_episodes(batch, shots, size, seed).to(fabric.device) for seed in range(BATCHES)]
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def step(number):
        began = time.perf_counter()
        loss = sum(engine.train()(batches[number % BATCHES]).losses.values())
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimizer.step()
        loss.item()                          # waits for the device, as the training loop does to look at its loss
        return time.perf_counter() - began
    warm_up = sum(step(number) for number in range(BATCHES + 1 if fabric.device.type == "cuda" else 1))
    seconds = statistics.median(step(number) for number in range(steps))
    memory = {"gb": round(torch.cuda.max_memory_allocated() / 1e9, 2)} if fabric.device.type == "cuda" else {}
    return {"seconds_per_step": round(seconds, 4), "seconds_warm_up": round(warm_up, 1),
            "hours": round(PAPER_EPISODES / batch * seconds / 3600, 1), **memory}


def _episodes(batch, shots, size, seed):
    """An EpisodeBatch of noise; objects are squares of different sizes."""
    draw = torch.Generator().manual_seed(seed)
    masks = torch.zeros(batch, 1 + shots, size, size, dtype=torch.uint8)
    for b, k in itertools.product(range(batch), range(1 + shots)):
        side = int(size * (0.2 + 0.6 * torch.rand((), generator=draw)))
        masks[b, k, :side, :side] = 1
    images = torch.rand(batch, 1 + shots, 3, size, size, generator=draw)
    return EpisodeBatch(masks[:, None, 1:], masks[:, 0].long(), images[:, None, 1:], images[:, 0])


def line(row):
    """A row as text."""
    how = ("fp32" if row["precision"] == "32" else row["precision"]) + (" compiled" if row["compiled"] else "")
    memory = f"{row['gb']:7.1f} GB" if "gb" in row else ""
    compiling = f", {row['seconds_warm_up']:.0f} s of warm-up" if row["compiled"] else ""
    return (f"{row['model']:7}{row['backbone']:20}{row['size']:4} px  {how:13}{1 / row['seconds_per_step']:8.2f} steps/s"
            f"{row['hours']:8.1f} h for the papers' schedule{memory}{compiling}")
