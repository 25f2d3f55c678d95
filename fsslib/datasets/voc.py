"""PASCAL VOC 2012 with SBD: the data of PASCAL-5i."""

from ..basics.errors import InputError
from .base import SegmentationDataset
from .voc_lists import FETCH, LISTS, build_list, default_list, find_files, find_tree

CLASS_NAMES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
               "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor")


class Voc(SegmentationDataset):
    """PASCAL VOC 2012 (Everingham et al.) with the masks of SBD (Hariharan et al., ICCV 2011): 20 classes.

    ``root``: the folder with VOCdevkit, VOCdevkit or VOC2012 itself; by default ``$FSSLIB_DATA`` or the cache.
    ``images``: which list, see ``voc_lists``: for ``split="train"`` one of ``"voc"``, ``"pfenet"``, ``"aug"``,
    ``"train_aug"``, by default ``train_aug`` if its file exists, else the largest list the files allow; for
    ``"val"`` always ``"val"``. After construction ``images`` is the name of the list in use.

    Masks: ``SegmentationClass``, else ``SegmentationClassAug``, else SBD's ``cls/*.mat`` (needs SciPy). SBD lies
    in ``sbd`` or ``benchmark_RELEASE`` beside VOCdevkit. A list entry without image or mask raises InputError.
    """
    name = "voc"
    class_names = CLASS_NAMES

    def __init__(self, root=None, split="train", images=None):
        if split not in LISTS:
            raise InputError("split", repr(split), "'train' or 'val'", "Correct the split.")
        tree = find_tree(root)
        images = default_list(tree, split) if images is None else images
        if images not in LISTS[split]:
            raise InputError("images", repr(images), f"one of {', '.join(LISTS[split])} for split '{split}'",
                             "Correct the name of the list.")
        self.split, self.images, self.ids = split, images, build_list(tree, images)
        self.files, missing = find_files(tree, self.ids)
        for what, ids in missing.items():
            if ids:
                _refuse(tree, what, ids, images)


def _refuse(tree, what, ids, images):
    (folder, suffix), *others = tree.sources()[what == "mask"]
    others = "".join(f" or {place.name}/{ids[0]}{kind}" for place, kind in others)
    more = f" (and {len(ids) - 1} more)" if len(ids) > 1 else ""
    raise InputError(folder / (ids[0] + suffix), f"no {what} of list entry {ids[0]}{more}",
                     f"that file{others}, as it is in the list '{images}'",
                     f"Put it there, choose another list, or see `fsslib data check voc`. {FETCH}")
