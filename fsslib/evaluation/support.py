"""The support test: does a system look at its support?

A published score asks how well an answer fits. It says little about *which* thing was taken: where one thing stands out,
outlining it is right whatever the support shows. These episodes ask for that alone.
"""

import numpy as np

from ..basics.errors import InputError
from ..episodes.batches import EpisodeTensors
from ..episodes.support_test import DRAWS
from ..episodes.transforms import to_truth
from ..metrics import EMPTY, ImageMeans, auc, crowded_values, presence, share
from .scoring import in_percent, outputs

FEW = 10                     # classes with fewer query images are named beside the means that they enter


def test_support(model, lists, size, resize, bank=None, batch=4, device="cpu", progress=True):
    """The support test of a model on ``SupportLists``, plain values in percent with 95 % intervals over query images.

    ``crowded``: ``auc``, ``marked``, ``iou_asked``, ``iou_other`` (``metrics.crowded_values``), and with another class of the
    query as the support ``auc_wrong`` (of the same asked object: the lower, the more the support counts; equal to ``auc``: it
    does not) and ``unmoved``, the IoU of both answers · ``absent``: ``false_area`` and ``empty``, the share of empty answers ·
    ``present``: ``lost``, the share of empty answers, and ``presence``, how often its presence score lies above that of a picture
    without the class (AUROC; its interval draws the present ones) · ``rows``: the single episodes.
    """
    if not len(lists.crowded) or not len(lists.absent):
        raise InputError("support test", f"{len(lists.crowded)} crowded episodes, {len(lists.absent)} without the asked class",
                         "both", "Add images that show two labelled classes, and images without one of them.")
    if bank:
        drawn = [e for name in ("crowded", "wrong", "absent", "present") for e in getattr(lists, name)]
        bank.fill([e.query for e in drawn], [j for e in drawn for j in e.support[0]], progress=progress)

    def margins(episodes, name):
        """Yields (number, float32 (H,W)) at the query image's own size."""
        data = EpisodeTensors(episodes, size, resize, bank=bank)
        for at, _, output in outputs(model, data, batch, device, progress, name):
            for b, logits in enumerate(output.logits.cpu()):
                shape = lists.dataset.mask(episodes[at + b].query).shape
                yield at + b, to_truth(logits[1:] - logits[:1], shape, resize)[0].numpy()

    rows, firsts = {"crowded": [], "absent": [], "present": []}, {}
    for number, margin in margins(lists.crowded, "crowded"):
        episode = lists.crowded[number]
        rows["crowded"].append(_row(lists, episode, crowded_values(margin, *lists.regions(episode))))
        if number % DRAWS == 0:
            firsts[number] = margin > 0
    for number, margin in margins(lists.wrong, "wrong support"):
        first = lists.wrong_of[number]
        asked, other, _ = lists.regions(lists.crowded[first])
        before, after = firsts[first], margin > 0
        rows["crowded"][first][2].update(auc_wrong=auc(margin[asked], margin[other]),
                                         unmoved=float((before & after).sum() / max((before | after).sum(), 1)))
    for kind, first in (("absent", lambda m: {"false_area": share(m), "empty": float(share(m) < EMPTY)}),
                        ("present", lambda m: {"lost": float(share(m) < EMPTY)})):
        for number, margin in margins(getattr(lists, kind), kind):
            rows[kind].append(_row(lists, getattr(lists, kind)[number], {**first(margin), "score": presence(margin)}))
    for _, c, values in rows["present"]:
        without = [other["score"] for _, of, other in rows["absent"] if of == c]
        values["presence"] = auc(np.array([values["score"]]), np.array(without))
    return {"empty_below": EMPTY, "too_few_images": lists.too_few,
            **{kind: {"episodes": len(found), "digest": getattr(lists, kind).digest, **summary_of(ImageMeans(found))}
               for kind, found in rows.items()}, "rows": rows}


def _row(lists, episode, values):
    return [lists.dataset.ids[episode.query], episode.class_ids[0], values]


def summary_of(means):
    """dict name -> {"value", "interval"} in percent, but for the presence score, which has no scale; and the images behind it."""
    found = {name: {"value": in_percent(means.mean(name)), "interval": [in_percent(v) for v in means.interval(name)]}
             for name in means.names if name != "score"}
    return {"images": {str(c): n for c, n in means.images().items()},
            "few": [c for c, n in means.images().items() if n < FEW], **found}
