"""Scores over episodes: mIoU (eq. 13, 14), FB-IoU (eq. 15), their intervals, and the recall of a map (eq. 16)."""

import numpy as np

from ..basics.errors import InputError

RESAMPLES = 2000
EXAMPLES = {"good": 0.9, "middling": 0.5, "bad": 0.1}


class EpisodeScores:
    """Intersections and unions of every episode, kept apart so that intervals can be computed.

    ``classes``: the class ids that the mean runs over. ``absent``: how a class that the truth of an episode does
    not show is treated: ``"counted"`` (its false positives enter the union; a class that never occurs scores 0, as
    in PFENet, BAM, HSNet) or ``"ignored"`` (PANet: they do not; a class that never occurs is NaN). In FB-IoU
    "counted" takes any way for foreground; "ignored" sums I and U of the ways that the truth shows, so that one way
    taken for another is an error, and leaves out a background that it does not show (PANet's util/metric.py).
    """

    def __init__(self, classes, absent="counted"):
        if absent not in ("counted", "ignored"):
            raise InputError("absent", repr(absent), "'counted' or 'ignored'", "Correct the rule.")
        self.classes, self.absent = tuple(int(c) for c in classes), absent
        self.rows = []           # (query id, class ids, I per way, U per way, (I, U) background, (I, U) foreground)

    def __len__(self):
        return len(self.rows)

    def update(self, prediction, truth, class_ids, query):
        """Adds one episode. ``prediction`` int (H,W) in 0..N; ``truth`` int (H,W) in 0..N, 255 leaves intersection
        and union; ``class_ids``: the class of each way 1..N; ``query``: id of the query image."""
        prediction, truth = np.asarray(prediction), np.asarray(truth)
        if prediction.shape != truth.shape:
            raise InputError("prediction", f"shape {prediction.shape}", f"{truth.shape} as the truth",
                             "Resize the logits to the truth first.")
        if unknown := {int(c) for c in class_ids} - set(self.classes):
            raise InputError("class", min(unknown), f"one of {self.classes}", "Score the classes that were drawn.")
        valid = truth != 255
        p, t = prediction[valid], truth[valid]

        def overlap(a, b):
            return int((a & b).sum()), int((a | b).sum())

        background, *ways = [overlap(p == n, t == n) for n in range(len(class_ids) + 1)]
        foreground = overlap(p > 0, t > 0)
        if self.absent == "ignored":
            background, *ways = [pair if (t == n).any() else (0, 0) for n, pair in enumerate([background, *ways])]
            foreground = tuple(map(sum, zip(*ways)))
        self.rows.append((str(query), [int(c) for c in class_ids], [i for i, _ in ways], [u for _, u in ways],
                          background, foreground))

    def _sums(self):
        """Per query image: I, U float64 (Q, C) over classes, and (Q, 2) over background and foreground."""
        queries = {q: at for at, q in enumerate(sorted({row[0] for row in self.rows}))}
        column = {c: at for at, c in enumerate(self.classes)}
        i, u = np.zeros((2, len(queries), len(self.classes)))
        fb_i, fb_u = np.zeros((2, len(queries), 2))
        for query, class_ids, ways_i, ways_u, background, foreground in self.rows:
            at = queries[query]
            for c, way_i, way_u in zip(class_ids, ways_i, ways_u):
                i[at, column[c]] += way_i
                u[at, column[c]] += way_u
            fb_i[at] += background[0], foreground[0]
            fb_u[at] += background[1], foreground[1]
        return i, u, fb_i, fb_u

    def per_class(self):
        """dict class id -> IoU in 0..1; a class that never occurred is 0 or NaN, see ``absent``."""
        i, u, _, _ = self._sums()
        return dict(zip(self.classes, _iou(i.sum(0), u.sum(0), self.absent).tolist()))

    def miou(self):
        """Mean over the classes of sum I / sum U, in 0..1."""
        return float(np.mean(list(self.per_class().values())))

    def fb_iou(self):
        """Mean of background and foreground IoU, classes merged, in 0..1."""
        _, _, i, u = self._sums()
        return float(_iou(i.sum(0), u.sum(0), self.absent).mean())

    def intervals(self, level=0.95, seed=0):
        """dict with ``"miou"`` and ``"fb_iou"``: (low, high) of a bootstrap over *query images*.

        Episodes that share a query are not independent: the image is drawn again, with all its episodes.
        """
        miou, fb = self.resampled(seed)
        return {"miou": percentiles(miou, level), "fb_iou": percentiles(fb, level)}

    def resampled(self, seed=0):
        """mIoU and FB-IoU of each resample: two float64 (R,), in 0..1."""
        i, u, fb_i, fb_u = self._sums()
        times = resamples(len(i), seed)                    # (R, Q)
        never = u.sum(0) == 0
        iou = _iou(times @ i, times @ u, "ignored")        # NaN: a class that misses from a resample is skipped
        if self.absent == "counted":
            iou[:, never] = 0                                  # as in miou(): a class that never occurs counts 0
        miou = np.nanmean(iou, axis=1)
        return miou, np.nanmean(_iou(times @ fb_i, times @ fb_u, self.absent), axis=1)

    def difference(self, other, level=0.95, seed=0):
        """(self - other, (low, high)) of mIoU on the *same* episodes: both are resampled together.

        Other episodes raise InputError: unpaired runs cannot be compared this way.
        """
        if [row[:2] for row in self.rows] != [row[:2] for row in other.rows] or self.classes != other.classes:
            raise InputError("paired difference", "two runs with different episodes", "the same episode list",
                             "Evaluate both with the same data, seed, shots and protocol.")
        return self.miou() - other.miou(), percentiles(self.resampled(seed)[0] - other.resampled(seed)[0], level)

    def ious(self):
        """float (E,): the IoU of each episode alone, its ways added up; 0 where neither answer nor truth has a pixel."""
        return np.array([sum(i) / max(sum(u), 1) for _, _, i, u, _, _ in self.rows])

    def to_dict(self):
        """Plain values for JSON; ``from_dict`` reads them back."""
        return {"classes": list(self.classes), "absent": self.absent, "rows": [list(row) for row in self.rows]}

    @classmethod
    def from_dict(cls, stored):
        scores = cls(stored["classes"], stored["absent"])
        scores.rows = [(q, c, i, u, tuple(b), tuple(f)) for q, c, i, u, b, f in stored["rows"]]
        return scores


def resamples(queries, seed=0):
    """int (R, Q): how often each of Q query images is drawn in each of ``RESAMPLES`` bootstrap resamples."""
    return np.random.default_rng(seed).multinomial(queries, np.full(queries, 1 / queries), RESAMPLES)


def iou(answer, truth):
    """0..1: of the pixels that ``answer`` (H,W) calls 1 with those of ``truth`` (H,W); where the truth is 255 nothing counts."""
    marked, asked = (answer == 1) & (truth != 255), truth == 1
    return float((marked & asked).sum() / max((marked | asked).sum(), 1))


def _iou(i, u, absent):
    with np.errstate(invalid="ignore"):
        return np.where(u > 0, i / np.where(u > 0, u, 1), 0.0 if absent == "counted" else np.nan)


def percentiles(values, level=0.95):
    """(low, high) of the central ``level`` of ``values``."""
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def examples(scores):
    """Places of three of ``scores`` (E,), {"good", "middling", "bad"}: those below which nine tenths, half and one tenth lie."""
    order = np.argsort(scores, kind="stable")
    return {name: int(order[round(share * (len(order) - 1))]) for name, share in EXAMPLES.items()}


def recall_curve(region_map, mask, thresholds):
    """Recall of a region map at thresholds (eq. 16), with what recall alone hides.

    ``region_map`` float (H,W) in 0..1; ``mask`` int (H,W): 1 object, 0 not, 255 left out; R = map > threshold.
    Returns dict of float64 arrays: ``recall`` |R & GT| / |GT|, ``precision`` |R & GT| / |R| (NaN where R is empty),
    ``area`` |R| / number of pixels, ``iou``. A mask without object raises InputError.
    """
    region_map, mask = np.asarray(region_map), np.asarray(mask)
    valid = mask != 255
    values, truth = region_map[valid], mask[valid] == 1
    if not truth.any():
        raise InputError("mask", "no object pixel", "at least one", "Leave this image out.")
    region = values[None] > np.asarray(thresholds, np.float64)[:, None]        # (T, P)
    hit, size = (region & truth).sum(1), region.sum(1)
    return {"recall": hit / truth.sum(), "precision": np.where(size > 0, hit / np.maximum(size, 1), np.nan),
            "area": size / truth.size, "iou": hit / (region | truth).sum(1)}
