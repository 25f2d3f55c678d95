"""Folds: which classes are novel (tested) and which are base (trained on)."""

import numpy as np

from ..basics.errors import InputError
from ..datasets import NAMES

FOLDS = 4
CLASSES = {"voc": 20, "coco": 80, "shapes": 20}      # PASCAL-5i, COCO-20i, Shapes-5i


def novel_classes(dataset_name, fold, variant="interleaved"):
    """Class ids (1-based, ascending) held out in ``fold`` 0..3.

    ``voc`` (PASCAL-5i) and ``shapes`` (Shapes-5i): 5*fold+1 .. 5*fold+5. ``coco`` (COCO-20i) is published
    in two variants that share no number: ``"interleaved"`` (FWB, PFENet, HSNet: fold+1, fold+5, ..., fold+77)
    and ``"contiguous"`` (PANet: blocks of 20). A fold or data set that does not exist raises InputError.
    """
    if dataset_name not in CLASSES:
        raise InputError("data set", repr(dataset_name),
                         f"one with folds ({', '.join(name for name in CLASSES if name in NAMES)})",
                         "Take one of them; of other data choose the classes yourself.")
    if fold not in range(FOLDS):
        raise InputError("fold", repr(fold), f"0..{FOLDS - 1}", "Correct the fold.")
    if variant not in ("interleaved", "contiguous"):
        raise InputError("variant", repr(variant), "'interleaved' or 'contiguous'", "Correct the variant.")
    classes = CLASSES[dataset_name]
    if dataset_name == "coco" and variant == "interleaved":
        return tuple(range(fold + 1, classes + 1, FOLDS))
    block = classes // FOLDS
    return tuple(range(block * fold + 1, block * (fold + 1) + 1))


def base_classes(dataset_name, fold, variant="interleaved"):
    """The other classes, the ones a model of this fold may learn from; see ``novel_classes``."""
    novel = novel_classes(dataset_name, fold, variant)
    return tuple(c for c in range(1, CLASSES[dataset_name] + 1) if c not in novel)


def shown_classes(dataset):
    """Ids of the classes that at least one mask shows: of own images each of them is novel."""
    return tuple((np.flatnonzero((dataset.areas[:, 1:] > 0).any(0)) + 1).tolist())
