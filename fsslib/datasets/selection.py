"""Data sets made of others: several splits as one, some images of one, or every image whether it has a mask or not."""

import functools
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import sha256_file, sha256_json
from .base import SegmentationDataset


class Selection(SegmentationDataset):
    """The samples of ``parts``, each id once, or only those at ``indices``.

    ``split`` is ``"all"`` for several parts: no score on any of them is a fair one for a network that learned from it.
    """

    def __init__(self, *parts, indices=None):
        first = parts[0]
        self.name, self.class_names, self.area_scale = first.name, first.class_names, first.area_scale
        self.split = first.split if len(parts) == 1 else "all"
        files = {name: pair for part in parts for name, pair in zip(part.ids, part.files)}
        ids = tuple(files)
        self.ids = ids if indices is None else tuple(ids[i] for i in indices)
        self.files = tuple(files[name] for name in self.ids)
        loose = dict.fromkeys(path for part in parts for path in getattr(part, "unlabelled", ()))
        self.unlabelled = tuple(loose) if indices is None else ()


class Pictures(SegmentationDataset):
    """Every image of ``dataset``, for what needs no mask: first those that have one, by the same indices, then the
    ``unlabelled`` ones of own images. It has no areas, and reads the masks of the first alone.
    """

    def __init__(self, dataset):
        self.labelled, loose = dataset, getattr(dataset, "unlabelled", ())
        self.name, self.split, self.class_names, self.area_scale = \
            dataset.name, dataset.split, dataset.class_names, dataset.area_scale
        self.ids = (*dataset.ids, *(Path(path).stem for path in loose))
        self.files = (*dataset.files, *((path, None) for path in loose))

    def image(self, i):
        return self.labelled.image(i) if i < len(self.labelled) else super().image(i)

    def mask(self, i):
        if self.files[i][1] is None:
            raise InputError(self.files[i][0], "an image without a mask", "one with a mask",
                             "Ask for an image below len(labelled).")
        return self.labelled.mask(i)

    def __getitem__(self, i):
        self.mask(i)
        return self.labelled[i]

    @functools.cached_property
    def digest(self):
        """That of the labelled images alone where there are no others, else of all."""
        loose = self.files[len(self.labelled):]
        if not loose:
            return self.labelled.digest
        return sha256_json([self.labelled.digest, [[id, sha256_file(path)] for id, (path, _) in
                                                   zip(self.ids[len(self.labelled):], loose)]])
