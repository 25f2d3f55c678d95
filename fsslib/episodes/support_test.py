"""Episodes that ask whether a system looks at its support.

*Crowded*: the query shows another labelled thing beside the asked one. *Wrong*: the same query, asked for the other thing.
*Absent*: the asked class is not in the query. *Present*: it is; beside the absent ones. The lists depend on the data, the
classes and the shots alone; where no class is too rare for five shots, the one shot is the first of them.
"""

import numpy as np

from .protocols import get_protocol
from .sampler import Episode, EpisodeList, _Draw

DRAWS = 3                    # supports of each crowded pair of image and class
QUERIES = 60                 # most images a class among the absent and among the present
SEEDS = {"crowded": 1, "wrong": 2, "absent": 3, "present": 4}


class SupportLists:
    """The four EpisodeLists for ``classes`` of a data set, from ``images`` (indices, by default all), and
    ``too_few``: classes that have not ``shots`` + 1 images with as many
    pixels as PFENet's rule asks of a VOC photo, 2 048."""

    def __init__(self, dataset, classes, shots, images=None):
        self.dataset, self.shots = dataset, shots
        self.least = max(1, round(get_protocol("pfenet").min_area * dataset.area_scale))
        self.large = dataset.areas >= self.least                                 # (N, C+1)
        self.large[:, 0] = False
        allowed = np.isin(np.arange(len(self.large)), range(len(self.large)) if images is None else images)
        self.large &= allowed[:, None]
        count = self.large.sum(0)
        self.classes = [c for c in classes if count[c] > shots]
        self.too_few = [c for c in classes if c not in self.classes]
        self.crowded = self._crowded()
        self.wrong, self.wrong_of = self._wrong()                                # wrong_of: numbers of their crowded episodes
        self.absent = self._of_each("absent", lambda c: allowed & (dataset.areas[:, c] == 0))
        self.present = self._of_each("present", lambda c: self.large[:, c])

    def _episode(self, c, query, draw):
        images = [i for i in np.flatnonzero(self.large[:, c]).tolist() if i != query]
        return Episode((c,), (tuple(draw.sample(images, self.shots)),), query)

    def _crowded(self):
        pairs = [(i, c) for i in np.flatnonzero(self.large.sum(1) > 1).tolist() for c in self.classes if self.large[i, c]]
        drawn = [self._episode(c, i, _Draw(SEEDS["crowded"], DRAWS * at + k))
                 for at, (i, c) in enumerate(pairs) for k in range(DRAWS)]
        return EpisodeList(self.dataset, drawn)

    def _wrong(self):
        """For the first draw of each crowded pair: the query is asked for the largest of its other things that has a support."""
        drawn, numbers, enough = [], [], self.large.sum(0) > self.shots
        for at in range(0, len(self.crowded), DRAWS):
            episode = self.crowded[at]
            areas = np.where(self.large[episode.query] & enough, self.dataset.areas[episode.query], 0)
            areas[episode.class_ids[0]] = 0
            if areas.any():
                drawn.append(self._episode(int(areas.argmax()), episode.query, _Draw(SEEDS["wrong"], at)))
                numbers.append(at)
        return EpisodeList(self.dataset, drawn), numbers

    def _of_each(self, kind, holds):
        drawn = []
        for c in self.classes:
            images = np.flatnonzero(holds(c)).tolist()
            for i in sorted(_Draw(SEEDS[kind], c).sample(images, min(QUERIES, len(images)))):
                drawn.append(self._episode(c, i, _Draw(SEEDS[kind], 1000 * c + i + 1)))
        return EpisodeList(self.dataset, drawn)

    def regions(self, episode):
        """(asked, other, counts), bool (H,W) of the query: the asked thing, other things that are large enough, and the pixels that
        count, void and smaller things left out."""
        mask, c = self.dataset.mask(episode.query), episode.class_ids[0]
        others = [o for o in np.flatnonzero(self.large[episode.query]).tolist() if o != c]
        small = [o for o in np.flatnonzero(self.dataset.areas[episode.query]).tolist() if o and o != c and o not in others]
        return mask == c, np.isin(mask, others), (mask != 255) & ~np.isin(mask, small)
