"""Controls: answers that look at no support. A data set asks for its supports where these score low."""

import time

import numpy as np

from ..basics.errors import InputError
from ..basics.storage import writable_folder
from ..datasets.base import IGNORE
from ..episodes.protocols import get_protocol
from ..metrics import EpisodeScores
from .scoring import truth_of, write_result

CONTROLS = {
    "everything": np.ones_like,                                          # every pixel is object
    "outlined": lambda mask: ((mask > 0) & (mask != IGNORE)).astype(mask.dtype),      # each labelled thing, to the pixel
}


def evaluate_control(name, episodes, classes, protocol="pfenet", out=None, about=None, **described):
    """Scores the control ``name`` of ``CONTROLS`` on an EpisodeList of one way, at the images' own size, and returns the result
    as ``evaluate`` does; with ``out`` also writes ``out/result.json``.

    ``everything`` is the least that an answer can know, ``outlined`` the most without a support: it is told where things
    are, by the query's own mask, and not which one is asked.
    """
    rules, dataset = get_protocol(protocol), episodes.dataset
    if name not in CONTROLS:
        raise InputError("control", repr(name), f"one of {', '.join(CONTROLS)}", "Correct the name.")
    if rules.scored != "original" or len(episodes[0].class_ids) > 1:
        raise InputError(f"control {name}", f"{len(episodes[0].class_ids)}-way episodes of {protocol}",
                         "one way, and a protocol that scores at the images' own size", "Choose --ways 1 and --protocol pfenet.")
    if out is not None:
        writable_folder(out, "Give another --out.")
    started, scores = time.perf_counter(), EpisodeScores(classes, rules.absent)
    for episode in episodes:
        truth = truth_of(dataset, episode, "original", None, None).numpy()
        scores.update(CONTROLS[name](dataset.mask(episode.query)), truth, episode.class_ids, dataset.ids[episode.query])
    config = {"model": name, "shots": len(episodes[0].support[0]), "ways": 1, **described}
    return write_result(out, about, episodes, scores, protocol, config, {"seconds": round(time.perf_counter() - started, 2)})
