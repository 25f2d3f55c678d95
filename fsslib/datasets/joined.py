"""Several splits as one: what "the entire dataset" is when nothing is held back."""

from .base import SegmentationDataset


class Joined(SegmentationDataset):
    """The images of all ``parts``, each id once. ``split`` is ``"all"``: no score on any part of it is a fair one for
    a network that learned from it."""
    split = "all"

    def __init__(self, *parts):
        self.name, self.class_names, self.area_scale = parts[0].name, parts[0].class_names, parts[0].area_scale
        files = {name: pair for part in parts for name, pair in zip(part.ids, part.files)}
        self.ids, self.files = tuple(files), tuple(files.values())
