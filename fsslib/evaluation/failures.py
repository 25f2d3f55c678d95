"""Failure cases found by counting pixels: what did an answer take in place of the object?"""

from dataclasses import dataclass

from ..basics.errors import InputError
from .outside import mask_files, read_answer

KINDS = {                                        # a case is of the first kind that holds
    "success": lambda case: case.iou >= 0.5,
    "took another object": lambda case: case.other >= 0.5,
    "flooded the background": lambda case: case.ground >= 0.5 and case.area >= 2,
    "missed": lambda case: case.recall < 0.25,
    "in between": lambda case: True,
}


@dataclass(frozen=True)
class Case:
    """The answer to a 1-way episode in numbers; pixels that do not count (255 in the mask) are left out.

    ``number``: of the episode · ``iou`` 0..1 · ``recall``: share of the asked object that was marked · ``other``, ``ground``:
    shares of the answer that lie on other labelled objects and on the background · ``area``: of the answer, in areas of the object.
    """
    number: int
    iou: float
    recall: float
    other: float
    ground: float
    area: float

    @property
    def kind(self):
        """One of ``KINDS``."""
        return next(name for name, holds in KINDS.items() if holds(self))

    @property
    def degree(self):
        """How far it goes within its kind: a failure's is higher where it is worse, a success's where it is better."""
        return {"took another object": self.other, "flooded the background": self.area, "missed": -self.recall}.get(self.kind, self.iou)


def case_of(number, answer, mask, class_id):
    """The Case of ``answer`` (H,W), above 0 where it marks; ``mask`` uint8 (H,W): 0 background, 1..C classes, 255 ignored."""
    marked, asked = (answer > 0) & (mask != 255), mask == class_id
    hit, union, size, true = (int(region.sum()) for region in (marked & asked, marked | asked, marked, asked))
    ground = int((marked & (mask == 0)).sum())
    return Case(number, hit / max(union, 1), hit / max(true, 1), (size - hit - ground) / max(size, 1), ground / max(size, 1),
                size / max(true, 1))


def cases(episodes, folder):
    """A Case for each episode of a 1-way EpisodeList; ``folder`` holds its masks at the size of each query image, as
    ``evaluate(..., masks=folder)`` or other code writes them (``outside.py``). What cannot be read raises InputError."""
    found = []
    for number, (episode, path) in enumerate(zip(episodes, mask_files(folder, len(episodes)))):
        if len(episode.class_ids) > 1:
            raise InputError("episodes", f"{len(episode.class_ids)} ways", "one way", "Draw them with ways=1.")
        mask = episodes.dataset.mask(episode.query)
        answer = read_answer(path, 1, mask.shape, f"its query image {episodes.dataset.ids[episode.query]}")
        found.append(case_of(number, answer, mask, episode.class_ids[0]))
    return found


def extreme(found, kind, count=2):
    """The ``count`` cases of a kind that go furthest: failures from the worst on, successes from the best on."""
    return sorted((case for case in found if case.kind == kind), key=lambda case: -case.degree)[:count]
