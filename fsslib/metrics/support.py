"""The support test in numbers: which of two things does a system take, and can it say *not here*?

A *margin* is float (H,W): the object's logit less the background's; above 0 a pixel is marked.
"""

import numpy as np

from .scores import percentiles, resamples

EMPTY = 0.005                # an answer that marks less than this share of a picture is empty


def auc(asked, other):
    """Share of all pairs in which a value of ``asked`` is above one of ``other``, of equal ones half; NaN where one is empty."""
    if not len(asked) or not len(other):
        return float("nan")
    other = np.sort(other)
    below, upto = np.searchsorted(other, asked, "left"), np.searchsorted(other, asked, "right")
    return float((below + upto).mean() / (2 * len(other)))


def crowded_values(margin, asked, other, counts):
    """What a margin says of a picture with an ``asked`` object and ``other`` ones, bool (H,W); ``counts``: pixels that count.

    ``auc``: a pixel of the asked object lies above one of the others (0..1; a half is chance; no threshold, no size) ·
    ``marked``: 1 where a larger share of the asked object is marked than of the others, equal shares a half ·
    ``iou_asked``, ``iou_other``: of the answer with either.
    """
    marked = (margin > 0) & counts
    own, others = marked[asked].mean(), marked[other].mean()

    def iou(region):
        return float((marked & region).sum() / max((marked | region).sum(), 1))
    return {"auc": auc(margin[asked], margin[other]), "marked": float((np.sign(own - others) + 1) / 2),
            "iou_asked": iou(asked), "iou_other": iou(other)}


def presence(margin):
    """The margin that only ``EMPTY`` of the picture exceeds: where it is not above 0 the answer is empty."""
    return float(np.quantile(margin, 1 - EMPTY))


def share(margin):
    """0..1: how much of a picture is marked."""
    return float((margin > 0).mean())


class ImageMeans:
    """Values of episodes, averaged over the draws of an image, then over images, then over classes.

    ``rows``: list of (query id, class id, dict name -> value, NaN where an episode has none). Intervals draw query images with
    replacement.
    """

    def __init__(self, rows):
        self.rows = [(str(query), int(c), dict(values)) for query, c, values in rows]
        queries, classes = (sorted({row[at] for row in self.rows}) for at in (0, 1))
        self.queries = {query: at for at, query in enumerate(queries)}
        self.classes = {c: at for at, c in enumerate(classes)}

    @property
    def names(self):
        return list(dict.fromkeys(name for *_, values in self.rows for name in values))

    def images(self):
        """dict class id -> number of query images."""
        return {c: len({query for query, of, _ in self.rows if of == c}) for c in self.classes}

    def table(self, name):
        """float64 (Q, C): the mean over an image's draws, NaN where there is none."""
        total, count = np.zeros((2, len(self.queries), len(self.classes)))
        for query, c, values in self.rows:
            value = values.get(name, float("nan"))
            if not np.isnan(value):
                place = self.queries[query], self.classes[c]
                total[place] += value
                count[place] += 1
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def mean(self, name):
        """The mean over classes of the mean over their images; NaN if no episode has this value."""
        return float(_over_classes(self.table(name), np.ones((1, len(self.queries))))[0])

    def resampled(self, name, seed=0):
        """float64 (R,): the same in bootstrap resamples of the query images."""
        return _over_classes(self.table(name), resamples(len(self.queries), seed))

    def interval(self, name, level=0.95):
        """(low, high) of the central ``level``."""
        return percentiles(self.resampled(name), level)


def _over_classes(table, weights):
    """(Q, C) values and (R, Q) weights of the images -> (R,); a class that a resample does not draw leaves its mean."""
    known = ~np.isnan(table)
    total, count = weights @ np.where(known, table, 0), weights @ known.astype(float)
    classes = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    with np.errstate(invalid="ignore"):
        here = ~np.isnan(classes)
        return np.where(here.any(1), np.where(here, classes, 0).sum(1) / np.maximum(here.sum(1), 1), np.nan)
