"""Studies: the comparisons behind ``figures/results/*.json``, each run again by ``fsslib results run NAME``."""

from ..errors import InputError

STUDIES = ("panet_shapes", "panet_voc")


def run_study(name, out, results, only=None):
    """Runs what is missing of a study under ``out/NAME``, then writes ``results/NAME.json``.

    Every finished evaluation is kept as ``result.json`` and every training as checkpoints, so an interrupted call
    goes on where it stopped. ``only``: a regular expression; runs whose name does not match wait for another call.
    """
    if name not in STUDIES:
        raise InputError("study", repr(name), f"one of {', '.join(STUDIES)}", "Correct the name.")
    from .panet import run
    return run(name, out, results, only)
