"""``fsslib bench episodes``: training steps/s and test episodes/s, with and without the bank, and where the time goes."""

import contextlib
import statistics
import time

import torch

from ..basics.machine import hardware, versions
from ..datasets import open_dataset
from ..episodes.batches import EpisodeTensors, collate
from ..episodes.folds import base_classes, novel_classes
from ..episodes.sampler import EpisodeSampler
from ..evaluation.scoring import evaluate, protocol_episodes
from ..models import build_model
from ..models.bank import ModelBank

FOLD = 0


def measure(dataset, root, name, backbone, weights, size, width, count=1000, plain=30, steps=8, batch=8,
            shots=(1, 5), command=None):
    """Plain values: seconds and rates of each combination of shots and bank, and the shares of one test episode.

    ``count``: test episodes with the bank, filled first (``seconds_features``, once for good) and then used
    (``seconds_bank``) · ``plain``: of them without; the scores of these are compared bit by bit · ``steps``: training
    steps timed, after one to warm up.
    """
    images = {split: open_dataset(dataset, root, split) for split in ("train", "val")}
    classes = novel_classes(dataset, FOLD)
    torch.manual_seed(0)
    model = build_model(name, backbone, weights, width=width)
    result = {"command": command,
              "dataset": dataset, "model": name, "backbone": backbone, "size": size,
              "width": width, "batch": batch, "hardware": hardware(), "versions": versions(), "test": [], "training": []}
    for K in shots:
        episodes = protocol_episodes(images["val"], classes, K, "pfenet", episodes=count)
        few = protocol_episodes(images["val"], classes, K, "pfenet", episodes=plain)
        on = evaluate(model, episodes, classes, size=size)
        kept = evaluate(model, few, classes, size=size, progress=False)
        off = evaluate(model, few, classes, size=size, bank=False)
        filled, all_plain = on["seconds"] - on["seconds_features"], off["seconds"] / plain * count
        result["test"].append({
            "shots": K, "episodes": count, "seconds_features": on["seconds_features"], "seconds_bank": round(filled, 2),
            "plain_episodes": plain, "seconds_plain": off["seconds"], "identical": kept["scores"] == off["scores"],
            "times_faster": round(all_plain / filled, 2), "times_faster_filling": round(all_plain / on["seconds"], 2),
            "shares": _shares(model, few, size)})
        for bank in (True, False):
            result["training"].append({"shots": K, "bank": bank, "seconds_per_step": _training(
                model, images["train"], dataset, size, K, batch, steps if bank else min(steps, 2), bank)})
    return result


def _training(model, images, dataset, size, shots, batch, steps, bank):
    """Median seconds a step, reading included; the bank's filling, with the images of these steps alone, is not."""
    sampler = EpisodeSampler(images, base_classes(dataset, FOLD), shots, 0, "pfenet", shuffle=True)
    episodes, device = sampler.take(batch * (1 + steps)), next(model.parameters()).device
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-5)
    with ModelBank(model, images, size, "pad", dtype="float16") if bank else contextlib.nullcontext() as kept:
        if bank:
            kept.fill([e.query for e in episodes], [j for e in episodes for j in e.support[0]])
        data, seconds = EpisodeTensors(episodes, size, "pad", bank=kept), []
        for step in range(1 + steps):
            began = time.perf_counter()
            loss = sum(model.train()(collate([data[step * batch + b] for b in range(batch)]).to(device)).losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()                      # waits for a GPU
            seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds[1:]), 4)


@torch.no_grad()
def _shares(model, episodes, size, repeats=5):
    """Milliseconds of the parts of a test episode: networks, maps, decoder with everything else of the forward pass."""
    device = next(model.eval().parameters()).device
    batch = collate([EpisodeTensors(episodes, size, "pad")[0]]).to(device)
    support, query = model.features(batch)
    banked = collate([batch])
    banked.support_features, banked.query_features = support[:, None], query
    masks = batch.support_masks[:, 0]

    def finished(function):
        found = function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return found

    def milliseconds(function):
        finished(function)
        began = time.perf_counter()
        for _ in range(repeats):
            finished(function)
        return 1000 * (time.perf_counter() - began) / repeats
    networks, maps = milliseconds(lambda: model.features(batch)), milliseconds(
        lambda: model.region_maps(support, query, masks))
    decoder = max(0.0, milliseconds(lambda: model(banked)) - maps)
    return {"backbone": round(networks, 1), "maps": round(maps, 1), "decoder": round(decoder, 1)}


def table(result):
    """The same as text."""
    lines = [f"{result['model']} on {result['backbone']}, {result['dataset']}, {result['size']} px, width "
             f"{result['width']}; {result['hardware']}", ""]
    for row in result["test"]:
        total = sum(row["shares"].values())
        lines += [f"test, {row['shots']}-shot, bank on   {row['episodes'] / row['seconds_bank']:8.2f} episodes/s "
                  f"({row['episodes']} in {row['seconds_bank']:.0f} s, after {row['seconds_features']:.0f} s of filling)",
                  f"test, {row['shots']}-shot, bank off  {row['plain_episodes'] / row['seconds_plain']:8.2f} episodes/s: "
                  f"{row['times_faster']:.1f} times faster with the bank, {row['times_faster_filling']:.1f} filling included, "
                  f"scores {'identical' if row['identical'] else 'DIFFERENT'}",
                  "  one episode without bank: " + ", ".join(f"{name} {ms:.0f} ms ({100 * ms / total:.0f} %)"
                                                             for name, ms in row["shares"].items())]
    lines += [""] + [f"training, {row['shots']}-shot, bank {'on ' if row['bank'] else 'off'} "
                     f"{1 / row['seconds_per_step']:8.2f} steps/s of {result['batch']} episodes"
                     for row in result["training"]]
    return "\n".join(lines)
