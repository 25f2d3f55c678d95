"""Data sets made of others: several splits as one, or some images of one."""

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
