"""Episodes: which images teach a class, and which image is asked about (paper section 3)."""

import functools
import random
from dataclasses import dataclass

import numpy as np

from ..basics.errors import InputError
from ..basics.storage import read_json, sha256_json, write_json
from .protocols import get_protocol


@dataclass(frozen=True)
class Episode:
    """An N-way K-shot task. ``class_ids``: N classes · ``support``: N tuples of K data set indices · ``query``:
    one index, never in the support. The first class is not special: the query shows at least one of the N."""
    class_ids: tuple
    support: tuple
    query: int


class _Draw:
    """Random choices that depend on (seed, i) alone. Only ``random()`` is used: Python promises its stream."""

    def __init__(self, seed, i):
        self._random = random.Random((int(seed) << 40) + int(i))

    def chance(self):
        """A number from 0 to below 1."""
        return self._random.random()

    def sample(self, items, count):
        """``count`` different items, uniformly, in random order."""
        items = list(items)
        for at in range(count):
            other = at + int(self._random.random() * (len(items) - at))
            items[at], items[other] = items[other], items[at]
        return items[:count]


class EpisodeSampler:
    """Draws episodes; ``sampler[i]`` depends on ``(seed, i)`` alone, whatever the workers or the order of access.

    ``classes``: ids to draw from (novel ones to test, base ones to train) · ``shots`` K · ``ways`` N ·
    ``protocol``: name of the rules by which queries are drawn (``protocols.PROTOCOLS``) · ``images``: indices
    allowed (default all) · ``exclude``: classes whose images are dropped · ``shuffle``: visit queries in a new
    random order each epoch (training) instead of list order · ``scarce``: what happens to a class with fewer than K+1
    usable images, ``"refused"`` (InputError) or ``"skipped"`` (it is not in ``classes`` afterwards).

    K < 1 or more ways than classes raises InputError.
    """

    def __init__(self, dataset, classes, shots, seed, protocol="pfenet", ways=1, images=None, exclude=(),
                 shuffle=False, scarce="refused"):
        self.dataset, self.shots, self.ways, self.seed, self.shuffle = dataset, shots, ways, seed, shuffle
        self.classes, self.protocol = tuple(classes), get_protocol(protocol)
        count = len(dataset.class_names)
        if not isinstance(shots, int) or shots < 1:
            raise InputError("shots", repr(shots), "a whole number from 1 up", "Ask for at least one support image.")
        if not 1 <= ways <= len(self.classes):
            raise InputError("ways", repr(ways), f"1..{len(self.classes)}, the number of classes here",
                             "Ask for fewer ways.")
        if wrong := [c for c in self.classes if not 1 <= c <= count]:
            raise InputError("classes", f"class id {wrong[0]}", f"1..{count} as {dataset.name} has", "Correct the ids.")
        self._prepare(images, exclude, scarce)

    def _prepare(self, images, exclude, scarce):
        areas, rule = self.dataset.areas, self.protocol
        least = max(1, round(rule.min_area * self.dataset.area_scale))
        usable = np.zeros(len(areas), bool)
        usable[np.arange(len(areas)) if images is None else np.asarray(images, int)] = True
        usable &= ~(areas[:, list(exclude)] > 0).any(1)
        large = (areas >= least) & usable[:, None]                             # (N_images, C+1)
        if scarce == "skipped":
            enough = tuple(c for c in self.classes if large[:, c].sum() > self.shots)
            self.classes = enough if len(enough) >= self.ways else self.classes         # too few: refused below
        self._present = {i: [c for c in self.classes if areas[i, c] > 0] for i in np.flatnonzero(usable)}
        self._images = {c: np.flatnonzero(large[:, c]).tolist() for c in self.classes}
        for c, found in self._images.items():
            if len(found) < self.shots + 1:
                raise self._too_few(c, large, (areas[:, c] > 0) & usable, usable, least)
        if rule.queries == "pairs":
            self._queries = sorted((i, c) for c in self.classes for i in self._images[c])   # by image
        else:
            self._queries = sorted({i for found in self._images.values() for i in found})

    def _too_few(self, c, large, showing, usable, least):
        """The InputError for class ``c``, with the cures that help here; ``showing``: images with any pixel of it."""
        count, smaller = int(large[:, c].sum()), int(showing.sum() - large[:, c].sum())
        enough = [k for k in self.classes if large[:, k].sum() > self.shots]
        cures = [
            count + smaller > self.shots and smaller and
            "take the protocol hsnet, which asks for no size (--protocol hsnet, or protocol: hsnet in the --config of a training)",
            count > 1 and f"ask for at most {count - 1} shots",
            "add images",
            len(enough) >= self.ways and f"leave out what is rarer (--classes {_listed(enough)})"]
        cure = ", or ".join(filter(None, cures))
        return InputError(
            f"class {c} ({self.dataset.class_names[c - 1]}) of {self.dataset.name} {self.dataset.split}",
            f"{count} images with >= {least} px" + (f" and {smaller} that show it smaller" if smaller else "")
            + (f" among the {usable.sum()} in use" if usable.sum() < len(usable) else ""),
            f"at least {self.shots + 1} (K + 1)", cure[0].upper() + cure[1:] + ".")

    @property
    def images(self):
        """Indices of every image that an episode may show, as query or support."""
        return sorted({i for found in self._images.values() for i in found})

    @property
    def queries(self):
        """Number of different queries: an epoch."""
        return len(self._queries)

    @functools.lru_cache(maxsize=4)
    def _order(self, epoch):
        return _Draw(self.seed, (1 << 39) + epoch).sample(range(self.queries), self.queries)

    def __getitem__(self, i):
        if i < 0:
            raise IndexError(i)
        draw, rule = _Draw(self.seed, i), self.protocol.queries
        at = self._order(i // self.queries)[i % self.queries] if self.shuffle else i % self.queries
        if rule == "class":
            (asked,) = draw.sample(self.classes, 1)
            (query,) = draw.sample(self._images[asked], 1)
        elif rule == "pairs":
            query, asked = self._queries[at]
        else:                     # PFENet draws from every class present, also from one below min_area
            query = self._queries[at]
            (asked,) = draw.sample(self._present[query], 1)
        others = draw.sample([c for c in self.classes if c != asked], self.ways - 1)
        class_ids = tuple(draw.sample([asked, *others], self.ways))
        support = tuple(tuple(draw.sample([j for j in self._images[c] if j != query], self.shots)) for c in class_ids)
        return Episode(class_ids, support, query)

    def take(self, count):
        """The first ``count`` episodes as an EpisodeList."""
        return EpisodeList(self.dataset, [self[i] for i in range(count)])


def _listed(ids):
    """Ascending class ids as --classes takes them: (1, 2, 3, 7) -> "1-3,7"."""
    runs = []
    for c in sorted(ids):
        if runs and c == runs[-1][1] + 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


class EpisodeList:
    """A fixed list of episodes that can be saved, loaded and named by a digest."""

    def __init__(self, dataset, episodes):
        self.dataset, self.episodes = dataset, list(episodes)

    def __len__(self):
        return len(self.episodes)

    def __getitem__(self, i):
        return self.episodes[i]

    def _rows(self):
        ids = self.dataset.ids
        return [[list(e.class_ids), [[ids[j] for j in way] for way in e.support], ids[e.query]] for e in self.episodes]

    @property
    def digest(self):
        """sha256 (hex) over data set name, classes and image ids: equal digests, equal episodes."""
        return sha256_json([self.dataset.name, self._rows()])

    def to_dict(self):
        """Plain values for JSON: ``[[class ids], [[support ids] per way], query id]`` an episode."""
        return {"dataset": self.dataset.name, "split": self.dataset.split, "digest": self.digest, "episodes": self._rows()}

    def save(self, path):
        """Writes the list as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path, dataset):
        """Reads a list back; another data set, an unknown image or a changed list raises InputError."""
        stored = read_json(path, "Give a list written by EpisodeList.save.")
        at = {name: i for i, name in enumerate(dataset.ids)}
        try:
            name, digest = stored["dataset"], stored["digest"]
        except (KeyError, TypeError) as error:
            raise InputError(path, "no list of episodes", "the keys that EpisodeList.save writes",
                             "Give a list written by EpisodeList.save.") from error
        if name != dataset.name:
            raise InputError(path, f"episodes of {name!r}", f"of {dataset.name!r}",
                             "Open the data set that the list was made from.")
        try:
            episodes = [Episode(tuple(classes), tuple(tuple(at[j] for j in way) for way in support), at[query])
                        for classes, support, query in stored["episodes"]]
        except KeyError as error:
            raise InputError(path, f"image {error}", f"ids of {dataset.name} {dataset.split}",
                             "Open the split that the list was made from.") from error
        except (TypeError, ValueError) as error:
            raise InputError(path, f"no readable episode ({error})", "[class ids, support ids, query id] each",
                             "The list was edited; save it again from a sampler.") from error
        loaded = cls(dataset, episodes)
        if loaded.digest != digest:
            raise InputError(path, f"digest {loaded.digest[:12]}", f"{str(digest)[:12]} as stored in it",
                             "The list was edited; save it again from a sampler.")
        return loaded
