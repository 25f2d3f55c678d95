"""The support test: does a system look at its support?

A published score asks how well an answer fits. It says little about *which* thing was taken: where one thing stands out,
outlining it is right whatever the support shows. These episodes ask for that alone.
"""

import numpy as np
import torch

from ..basics.errors import InputError
from ..episodes.batches import EpisodeTensors
from ..episodes.support_test import DRAWS
from ..episodes.transforms import to_truth
from ..metrics import EMPTY, ImageMeans, auc, crowded_values, percentiles, presence, share
from .scoring import in_percent, outputs

FEW = 10                     # classes with fewer query images are named beside the means that they enter
MEASURES = {                 # what a table tells: name -> (list, value, what it says)
    "crowded AUC": ("crowded", "auc", "a pixel of the asked thing scores above one of another thing; 50: chance"),
    "marked more fully": ("crowded", "marked", "queries in which the asked thing is marked more fully than the others"),
    "IoU of asked": ("crowded", "iou_asked", "of the answer with the asked thing"),
    "IoU of other": ("crowded", "iou_other", "of the answer with the others"),
    "AUC, wrong support": ("crowded", "auc_wrong", "the first again, when the support shows another thing of the query"),
    "unmoved": ("crowded", "unmoved", "IoU of the answers to the right and to the wrong support; 100: the support is not looked at"),
    "false area": ("absent", "false_area", "share of a picture that is marked although the class is not in it"),
    "empty": ("absent", "empty", "pictures without the class that get an empty answer"),
    "lost": ("present", "lost", "pictures with the class that get an empty answer"),
    "presence AUROC": ("present", "presence", "a picture with the class has a higher presence score than one without"),
}


def refuse_empty(lists):
    """Raises InputError for SupportLists that ask nothing."""
    if not len(lists.crowded) or not len(lists.absent):
        raise InputError("support test", f"{len(lists.crowded)} crowded episodes, {len(lists.absent)} without the asked class",
                         "both", "Add images that show two labelled classes, and images without one of them.")


def run_support_test(model, lists, size, resize, bank=None, batch=4, device=torch.device("cpu"), progress=True):
    """The support test of a model on ``SupportLists``, plain values in percent with 95 % intervals over query images.

    ``crowded``: ``auc``, ``marked``, ``iou_asked``, ``iou_other`` (``metrics.crowded_values``), and with another class of the
    query as the support ``auc_wrong`` (of the same asked object: the lower, the more the support counts; equal to ``auc``: it
    does not) and ``unmoved``, the IoU of both answers, 1 where both are empty; None where no other class can be shown ·
    ``absent``: ``false_area`` and ``empty``, the share of empty answers (such is also one of a model that says "not there",
    ``EpisodeOutput.presence``) · ``present``: ``lost``, the share of empty answers, and ``presence``, how often its presence score
    lies above that of a picture without the class (AUROC; its interval draws the present ones) · ``rows``: the single episodes.
    """
    refuse_empty(lists)
    if bank:
        drawn = [e for name in ("crowded", "wrong", "absent", "present") for e in getattr(lists, name)]
        bank.fill([e.query for e in drawn], [j for e in drawn for j in e.support[0]], progress=progress)

    def margins(episodes, name):
        """Yields (number, float32 (H,W) at the query image's own size, what the model says of the class's presence or None)."""
        data = EpisodeTensors(episodes, size, resize, bank=bank)
        for at, _, output in outputs(model, data, batch, device, progress, name):
            for b, logits in enumerate(output.logits.cpu()):
                shape = lists.dataset.mask(episodes[at + b].query).shape
                there = None if output.presence is None else float(output.presence[b])
                yield at + b, to_truth(logits[1:] - logits[:1], shape, resize)[0].numpy(), there

    rows, firsts = {"crowded": [], "absent": [], "present": []}, {}
    for number, margin, _ in margins(lists.crowded, "crowded"):
        episode = lists.crowded[number]
        rows["crowded"].append(_row(lists, episode, crowded_values(margin, *lists.regions(episode))))
        if number % DRAWS == 0:
            firsts[number] = margin > 0
    for number, margin, _ in margins(lists.wrong, "wrong support"):
        first = lists.wrong_of[number]
        asked, other, _ = lists.regions(lists.crowded[first])
        both, either = firsts[first] & (margin > 0), firsts[first] | (margin > 0)
        rows["crowded"][first][2].update(auc_wrong=auc(margin[asked], margin[other]),
                                         unmoved=float(both.sum() / either.sum()) if either.any() else 1.0)
    for kind, name in (("absent", "empty"), ("present", "lost")):
        for number, margin, there in margins(getattr(lists, kind), kind):
            area = 0.0 if there is not None and there <= 0 else share(margin)
            values = {name: float(area < EMPTY), "score": presence(margin) if there is None else there}
            rows[kind].append(_row(lists, getattr(lists, kind)[number], values | ({"false_area": area} if kind == "absent" else {})))
    for _, c, values in rows["present"]:
        without = [other["score"] for _, of, other in rows["absent"] if of == c]
        values["presence"] = auc(np.array([values["score"]]), np.array(without))
    return {"empty_below": EMPTY, "too_few_images": lists.too_few,
            **{kind: {"episodes": len(found), "digest": getattr(lists, kind).digest, **summary_of(ImageMeans(found), kind)}
               for kind, found in rows.items()}, "rows": rows}


class Measure:
    """One of ``MEASURES`` of a result of ``run_support_test``, to be pooled as an EpisodeScores is."""

    def __init__(self, result, name):
        kind, self.value, _ = MEASURES[name]
        self.means = ImageMeans(result["rows"][kind])

    def miou(self):
        """0..1; named as that of EpisodeScores, whose place it takes."""
        return self.means.mean(self.value)

    def resampled(self, seed=0):
        return self.means.resampled(self.value, seed), None

    def difference(self, other):
        """As EpisodeScores.difference; other episodes raise InputError."""
        if [row[:2] for row in self.means.rows] != [row[:2] for row in other.means.rows]:
            raise InputError("paired difference", "two runs with different episodes", "the same episode list",
                             "Evaluate both with the same data, classes and shots.")
        return self.miou() - other.miou(), percentiles(self.resampled()[0] - other.resampled()[0])


def _row(lists, episode, values):
    return [lists.dataset.ids[episode.query], episode.class_ids[0], values]


def summary_of(means, kind):
    """dict name -> {"value", "interval"} in percent of the measures of a list, None where no episode has one; and the images behind it."""
    found = {name: {"value": in_percent(means.mean(name)), "interval": [in_percent(v) for v in means.interval(name)]}
             for of, name, _ in MEASURES.values() if of == kind}
    return {"images": {str(c): n for c, n in means.images().items()},
            "few": [c for c, n in means.images().items() if n < FEW], **found}
