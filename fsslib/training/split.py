"""Images that a training leaves for its own judgement, and for choices between trainings."""

import hashlib

import numpy as np


def split_validation(dataset, share):
    """(training indices, validation indices): an image's side depends on its id alone, never on a seed."""
    held_out = np.array([int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < share * 2 ** 32 for name in dataset.ids], bool)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def halves(dataset, classes):
    """(indices to learn from, indices to test on): of the images that show one of ``classes``, which a training does not
    learn, half are tested, by their id. For choices that rest on base classes alone."""
    shows = (dataset.areas[:, list(classes)] > 0).any(1)
    half = np.array([hashlib.sha256(f"choice {name}".encode()).digest()[0] < 128 for name in dataset.ids])
    return np.flatnonzero(~(shows & half)), np.flatnonzero(shows & half)
