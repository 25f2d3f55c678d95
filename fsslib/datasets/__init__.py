"""``open_dataset``: one door to every data set of the kit."""

from ..basics.errors import InputError
from .base import IGNORE, Sample, SegmentationDataset

NAMES = ("shapes", "voc", "folder")

__all__ = ["IGNORE", "NAMES", "Sample", "SegmentationDataset", "open_dataset"]


def open_dataset(name, root=None, split="train", **options):
    """Opens a data set.

    ``name``: ``"shapes"`` (embedded, drawn on first use), ``"voc"`` (PASCAL VOC 2012 with SBD),
    ``"folder"`` (own images). ``root``: its folder; by default ``$FSSLIB_DATA`` or the cache folder.
    ``split``: ``"train"`` or ``"val"``. ``options`` go to the data set's class. An unknown name, split or
    folder raises InputError. Returns a SegmentationDataset.
    """
    if name not in NAMES:
        raise InputError("data set", repr(name), f"one of {', '.join(NAMES)}", "Correct the name.")
    if split not in ("train", "val"):
        raise InputError("split", repr(split), "'train' or 'val'", "Correct the split.")
    if name == "shapes":
        from .shapes import Shapes as Dataset
    elif name == "voc":
        from .voc import Voc as Dataset
    else:
        from .folder import Folder as Dataset
    return Dataset(root, split, **options)
