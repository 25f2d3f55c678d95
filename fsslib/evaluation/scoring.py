"""Evaluation: the same fixed episodes for every model, one result.json a run."""

import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..basics.checkpoints import weights_digest
from ..basics.engine import reading
from ..basics.errors import InputError
from ..basics.machine import hardware, versions
from ..basics.storage import writable_folder, write_json
from ..episodes.batches import EpisodeTensors, collate, query_labels
from ..episodes.protocols import get_protocol
from ..episodes.sampler import EpisodeList, EpisodeSampler
from ..episodes.transforms import mask_to_input, to_truth
from ..metrics import EpisodeScores
from ..models.bank import ModelBank
from .masks import empty_folder, save_mask


def protocol_episodes(dataset, classes, shots, protocol="pfenet", ways=1, episodes=None, seeds=None, images=None):
    """The EpisodeList of a protocol: its runs, one seed each, one after another.

    ``episodes`` (a run) and ``seeds`` default to what the protocol's repository uses; ``images``: indices allowed.
    """
    rules = get_protocol(protocol)
    count = rules.episodes.get(dataset.name, rules.episodes["shapes"]) if episodes is None else episodes
    if count < 1:
        raise InputError("episodes", repr(episodes), "a whole number from 1 up", "Ask for at least one episode.")
    drawn = []
    for seed in seeds if seeds is not None else rules.seeds:
        drawn += EpisodeSampler(dataset, classes, shots, seed, protocol, ways, images).take(count).episodes
    return EpisodeList(dataset, drawn)


def evaluate(model, episodes, classes, protocol="pfenet", size=None, annotate=None, bank=True, out=None, batch=4,
             device=None, progress=True, about=None, masks=None, resize=None, support_test=None, **described):
    """Scores a model on an EpisodeList and returns the result; with ``out``, also writes ``out/result.json``.

    ``classes``: the ids that the mean runs over · ``protocol``: decides the input geometry and the scored resolution ·
    ``size``: input px, default the protocol's · ``annotate``: see ``batches.EpisodeTensors`` · ``bank``: True computes
    each image's features once for this run (identical scores); a ModelBank is used as it is; False runs the networks
    for every image of every episode · ``masks``: a folder that receives every answer as a PNG (``masks.py``) ·
    ``resize``: the input geometry, default the protocol's · ``support_test``: SupportLists; also ask whether the answers depend on
    the support (``support.py``), for episodes of one way · ``about``: {"command", "job"} of the result, as the command
    line tells them · ``described``: more entries for ``config``.

    The result holds config, versions, hardware, seconds, digests of data, episodes and weights, and the scores in
    percent with 95 % intervals (bootstrap over query images); ``scores`` holds every episode's counts, so that two
    results on the same episodes can be compared pair by pair (``EpisodeScores.difference``).
    """
    rules, dataset = get_protocol(protocol), episodes.dataset
    size, resize = rules.size.get(dataset.name, rules.size["voc"]) if size is None else size, resize or rules.resize
    if support_test:
        from .support import refuse_empty, run_support_test  # which builds on this file
        refuse_empty(support_test)
        if len(episodes[0].class_ids) > 1:
            raise InputError("support test", f"{len(episodes[0].class_ids)} ways", "one", "Leave out --support-test, or --ways.")
    if out is not None:                      # before the work, not after it
        writable_folder(out, "Give another --out.")
    if masks is not None:
        empty_folder(masks)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = introduced(model, dataset).to(device).eval()
    started, own_bank = time.perf_counter(), None
    if bank is True:
        bank = own_bank = ModelBank(model, dataset, size, resize, keep=False)
    elif bank:
        bank.refuse_other(model, dataset, size, resize)
    try:
        if bank:
            bank.fill([e.query for e in episodes], [j for e in episodes for j in sum(e.support, ())],
                      progress=progress)
        features_done = time.perf_counter()
        data = EpisodeTensors(episodes, size, resize, annotate=annotate, bank=bank or None)
        scores, extra = _score(model, data, EpisodeScores(classes, rules.absent), rules.scored, batch, device, progress, masks)
        if support_test:
            extra["support_test"] = run_support_test(model, support_test, size, resize, bank or None, batch, device, progress)
    finally:
        if own_bank:
            own_bank.close()
    seconds = time.perf_counter() - started
    shots, ways = len(episodes[0].support[0]), len(episodes[0].class_ids)
    config = {**getattr(model, "architecture", {}), "shots": shots, "ways": ways, "size": size, "resize": resize, **described}
    spent = {"seconds": round(seconds, 2), "seconds_features": round(features_done - started, 2),
             "episodes_per_second": round(len(episodes) / seconds, 2)}
    return write_result(out, about, episodes, scores, protocol, config, {**spent, **extra}, {"weights": weights_digest(model)})


def introduced(model, dataset):
    """``model``, told of which data set the class ids are where it looks at names."""
    if hasattr(model, "meet"):
        model.meet(dataset)
    return model


def write_result(out, about, episodes, scores, protocol, config, more, digests=()):
    """The result of ``scores`` on ``episodes`` under a protocol, as plain values; with ``out`` written as ``out/result.json``.

    ``about``: {"command", "job"} or None · ``config``, ``more``, ``digests``: what else it tells, there and of its digests.
    """
    dataset = episodes.dataset
    result = {
        **({"command": about["command"]} if about else {}),
        "config": {**config, "dataset": dataset.name, "split": dataset.split, "classes": list(scores.classes), "protocol": protocol,
                   "scored": get_protocol(protocol).scored, "episodes": len(episodes), **own_images(dataset, scores.classes)},
        "versions": versions(), "hardware": hardware(),
        "digests": {"data": dataset.digest, "episodes": episodes.digest, **dict(digests), **({"job": about["job"]} if about else {})},
        **summary(scores), **more, "scores": scores.to_dict()}
    if out is not None:
        write_json(Path(out) / "result.json", result)
    return result


def own_images(dataset, classes):
    """What a result says of own images, which have no name that others know: the folder's, the classes', and what was not scored."""
    if dataset.name != "folder":
        return {}
    names = dict(enumerate(dataset.class_names, 1))
    return {"root": Path(dataset.files[0][0]).absolute().parents[1].name, "class_names": {str(c): names[c] for c in classes},
            "left_out": {"classes": [name for c, name in names.items() if c not in classes],
                         "images_without_mask": [Path(path).name for path in dataset.unlabelled]}}


def summary(scores):
    """mIoU, FB-IoU and per-class IoU in percent, with 95 % intervals; None where a class never occurred (NaN)."""
    return {"miou": in_percent(scores.miou()), "fb_iou": in_percent(scores.fb_iou()),
            "intervals": {name: [in_percent(v) for v in pair] for name, pair in scores.intervals().items()},
            "per_class": {str(c): in_percent(v) for c, v in scores.per_class().items()}}


def in_percent(value):
    return None if np.isnan(value) else round(100 * value, 2)              # JSON has no NaN


def truth_of(dataset, episode, scored, size, resize):
    """int64 (H,W), the truth of an episode's query at the ``scored`` size: 0 background, n way n, 255 does not count.

    ``"original"``: the query image's own size · ``"input"``: (size,size), with ``resize`` as the image was brought there.
    """
    mask = dataset.mask(episode.query)
    mask = torch.from_numpy(mask) if scored == "original" else mask_to_input(mask, size, resize)
    return query_labels(mask, episode.class_ids)


@torch.no_grad()
def outputs(model, data, batch, device, progress, desc="episodes"):
    """Yields (number of the first episode, EpisodeBatch, EpisodeOutput) for EpisodeTensors, ``batch`` episodes at once."""
    loader = DataLoader(data, batch_size=batch, collate_fn=collate, **reading(data, 0 if device.type == "cpu" else 4, batch))
    at = 0
    with tqdm(total=len(data), desc=desc, unit="episode", disable=not progress) as bar:
        for tensors in loader:
            tensors = tensors.to(device)
            yield at, tensors, model(tensors)
            at += len(tensors)
            bar.update(len(tensors))


def _score(model, data, scores, scored, batch, device, progress, masks):
    episodes, distances = data.episodes, []
    for at, tensors, output in outputs(model, data, batch, device, progress):
        distances += output.maps["prototype_distance"].tolist() if "prototype_distance" in output.maps else []
        for b, logits in enumerate(output.logits):
            episode = episodes[at + b]
            if scored == "original":
                truth = truth_of(episodes.dataset, episode, scored, data.size, data.resize)
                logits = to_truth(logits, truth.shape, data.resize)
            else:
                truth = tensors.query_masks[b].cpu()                         # the same as truth_of, and read already
            answer = labels_of(logits).cpu().numpy()
            scores.update(answer, truth.numpy(), episode.class_ids, episodes.dataset.ids[episode.query])
            if masks is not None:
                save_mask(masks, at + b, answer)
    extra = {"prototype_distance": round(float(np.nanmean(distances)), 4)} if np.isfinite(distances).any() else {}
    return scores, extra


@torch.no_grad()
def answer_to(model, episodes, number, size, resize="pad"):
    """uint8 (H,W): a model's answer to one episode of an EpisodeList, 0 background or a way, at the query image's own size."""
    tensors = EpisodeTensors(episodes, size, resize)[number].to(next(model.parameters()).device)
    logits = introduced(model, episodes.dataset).eval()(tensors).logits[0].cpu()
    return labels_of(to_truth(logits, episodes.dataset.mask(episodes[number].query).shape, resize)).numpy()


def labels_of(logits):
    """Arg-max over channels: float (1+N,H,W) -> uint8 (H,W); several times faster than torch's own on a CPU."""
    labels, best = torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device), logits[0]
    for n, channel in enumerate(logits[1:], 1):
        higher = channel > best                                  # of equals the first, as argmax does
        labels, best = torch.where(higher, n, labels), torch.where(higher, channel, best)
    return labels
