"""``fsslib bench``: speed on this machine, measured and printed, never asserted."""

import time

import torch
from torch.utils.data import DataLoader

from ..basics.machine import hardware
from ..datasets import open_dataset
from ..episodes.batches import EpisodeTensors, collate
from ..episodes.folds import novel_classes
from ..episodes.transforms import image_to_input, mask_to_input, to_truth
from ..evaluation.scoring import protocol_episodes
from ..metrics import EpisodeScores
from ..models import build_model


def data(dataset, root, backbone, weights, size, count):
    """A text table: loader images/s by number of workers, and the share of each stage of an episode."""
    images = open_dataset(dataset, root, "val")
    classes = novel_classes(dataset, 0)
    model = build_model("panet", backbone, weights).eval()
    episodes = protocol_episodes(images, classes, 1, "pfenet", episodes=count)
    lines = [f"{dataset}, {size} px, {backbone}, 1-way 1-shot, {count} episodes; {hardware()}", ""]
    for workers in (0, 1, 2):
        loader = DataLoader(EpisodeTensors(episodes, size, "pad"), batch_size=4, collate_fn=collate,
                            num_workers=workers)
        seconds = _timed(lambda: [None for _ in loader])
        lines.append(f"loader, {workers} workers   {2 * count / seconds:8.1f} images/s")
    stages = _stages(model, episodes, size)
    total = sum(stages.values())
    lines += ["", "one episode, one thread of control, milliseconds"]
    lines += [f"  {name:34}{1000 * seconds:8.1f}  {100 * seconds / total:5.1f} %" for name, seconds in stages.items()]
    return "\n".join(lines)


def _timed(function, repeats=1):
    began = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - began) / repeats


@torch.no_grad()
def _stages(model, episodes, size, repeats=10):
    """Seconds of each stage of one episode: dict name -> float."""
    dataset, query = episodes.dataset, episodes[0].query
    sample = dataset[query]
    batch = collate([EpisodeTensors(episodes, size, "pad")[0]])
    images = torch.cat([batch.support_images.flatten(0, 2), batch.query_images])
    features = model.encode(images)
    banked = collate([batch])
    banked.support_features, banked.query_features = features[None, None, :1], features[1:]
    output = model(banked)
    logits = output.logits[0]
    scores = EpisodeScores([1])
    full = to_truth(logits, sample.mask.shape, "pad")
    truth = sample.mask.clip(0, 1)
    return {
        "read two images and masks": 2 * _timed(lambda: dataset[query], repeats),
        "resize them": 2 * _timed(lambda: (image_to_input(sample.image, size, "pad"),
                                           mask_to_input(sample.mask, size, "pad")), repeats),
        "encoder, two images": _timed(lambda: model.encode(images), repeats),
        "prototypes, similarity, logits": _timed(lambda: model(banked), repeats),
        "logits to original size": _timed(lambda: to_truth(logits, sample.mask.shape, "pad"), repeats),
        "score": _timed(lambda: scores.update(full.argmax(0).numpy(), truth, [1], "q"), repeats)}
