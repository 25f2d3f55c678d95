"""Training episodes in which the support decides: the query shows a second class, or not the one that is asked for.

Where one thing stands out, outlining it is right whatever the support shows, and a decoder learns to do that. Crowded and
absent queries punish it.
"""

from collections import Counter

from ..basics.errors import InputError
from .sampler import Episode, EpisodeSampler, _Draw

OWN = 1 << 38                # numbers of draws that EpisodeSampler leaves free


class CrowdedSampler(EpisodeSampler):
    """As EpisodeSampler, of one way, but a share ``crowded`` of the episodes asks for one of two or more learned classes of its
    query (the class drawn first, so that rare ones come as often), and a share ``absent`` for a class that its query does not
    show. No image with two of the classes, or more ways, raises InputError.
    """

    def __init__(self, *args, crowded=0.0, absent=0.0, **options):
        super().__init__(*args, **options)
        if self.ways != 1 or min(crowded, absent) < 0 or crowded + absent > 1:
            raise InputError("crowded, absent", f"{crowded}, {absent} of {self.ways}-way episodes",
                             "shares from 0 up that sum to at most 1, of 1-way episodes", "Correct them.")
        self.crowded, self.absent = crowded, absent
        shown = Counter(i for found in self._images.values() for i in found)             # image -> how many of the classes
        self._crowds = _filled({c: [i for i in found if shown[i] > 1] for c, found in self._images.items()})
        self._lacking = _filled({c: [i for i in self.images if self.dataset.areas[i, c] == 0] for c in self.classes})
        for name, share, found, what in (("crowded", crowded, self._crowds, "with two of the classes"),
                                         ("absent", absent, self._lacking, "without one of the classes")):
            if share and not found:
                raise InputError("training episodes", f"no image {what}", f"some, as {name} queries need them",
                                 f"Add images, or train without such queries (--{name} 0).")

    def __getitem__(self, i):
        if i < 0:
            raise IndexError(i)
        draw = _Draw(self.seed, OWN + i)
        kind = draw.chance()
        if kind >= self.crowded + self.absent:
            return super().__getitem__(i)
        pool = self._crowds if kind < self.crowded else self._lacking
        (asked,) = draw.sample(pool, 1)
        (query,) = draw.sample(pool[asked], 1)
        return Episode((asked,), (tuple(draw.sample([j for j in self._images[asked] if j != query], self.shots)),), query)


def _filled(pools):
    return {c: found for c, found in pools.items() if found}
