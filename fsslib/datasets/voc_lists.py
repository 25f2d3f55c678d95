"""The image lists of PASCAL VOC 2012 and SBD, built by rule from what is on disk.

Papers train on three lists and rarely say which. Their rules:

``voc``     VOC's own segmentation train list: 1 464 images.
``pfenet``  VOC train, and SBD's ``train_noval`` list (5 623), each image once: 5 953 images. SBD's page calls
            train_noval "train without VOC val", but it is no subset of SBD's train.txt: the numbers (5 623 of
            11 355, the rest 5 732) fit all SBD images outside VOC's *detection* val list, ImageSets/Main/val.txt.
            That rule is used where train_noval.txt itself is missing. (PFENet: lists/pascal; PFENet#13)
``aug``     VOC train, and every SBD image that is not in VOC's segmentation val: 10 582 images. (DeepLab)
``train_aug`` the file ImageSets/Segmentation/train_aug.txt as it stands.
``val``     VOC's own segmentation val list: 1 449 images; every paper scores on it.

HSNet's list of (image, class) pairs in val (346, 451, 725, 346 on folds 0-3) comes as a file, and no rule on class
areas gives it: area >= 1 px gives 440, 514, 804, 390; >= 2 048 px (BAM) 365, 467, 734, 357; nearest is "largest
4-connected part of the class >= 1 917 px" with 348, 453, 722, 345. So it is not offered here.
"""

from dataclasses import dataclass
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import data_dir, user_path

COUNTS = {"voc": 1464, "pfenet": 5953, "aug": 10582, "val": 1449}
LISTS = {"train": ("voc", "pfenet", "aug", "train_aug"), "val": ("val",)}
FETCH = "Run `fsslib data fetch voc`, or set FSSLIB_DATA to the folder that contains VOCdevkit."
_SBD_NAMES = ("sbd", "SBD", "benchmark_RELEASE/dataset", "benchmark_RELEASE", "dataset")


@dataclass(frozen=True)
class VocTree:
    """``voc``: the VOC2012 folder; ``sbd``: the folder with SBD's ``cls`` or lists, or None."""
    voc: Path
    sbd: Path | None

    def list_file(self, name):
        return self.voc / "ImageSets" / "Segmentation" / f"{name}.txt"

    def sources(self):
        """Where an image and a mask are looked for, best first: (folder, suffix) each.

        VOC's own mask comes before SBD's: it is the finer one and has the void border.
        """
        images, masks = [(self.voc / "JPEGImages", ".jpg")], [(self.voc / "SegmentationClass", ".png"),
                                                              (self.voc / "SegmentationClassAug", ".png")]
        if self.sbd:
            images.append((self.sbd / "img", ".jpg"))
            masks.append((self.sbd / "cls", ".mat"))
        return images, masks


def find_tree(root=None):
    """The VocTree at ``root``: the folder with VOCdevkit, VOCdevkit or VOC2012 itself; else InputError."""
    root = user_path(root) if root is not None else data_dir()
    if root.is_file():
        raise InputError(root, "a file", "the folder that contains VOCdevkit", FETCH)
    if not root.is_dir():
        raise InputError(root, "no such folder", "the folder that contains VOCdevkit", FETCH)
    voc = next((f for f in (root / "VOCdevkit" / "VOC2012", root / "VOC2012", root)
                if (f / "ImageSets").is_dir() or (f / "JPEGImages").is_dir()), None)
    if voc is None:
        raise InputError(root, "neither VOCdevkit/VOC2012 nor JPEGImages in it",
                         "the folder that contains VOCdevkit", FETCH)
    around = dict.fromkeys((root, voc.resolve().parent, voc.resolve().parent.parent))
    sbd = next((base / name for base in around for name in _SBD_NAMES
                if (base / name / "cls").is_dir() or (base / name / "train.txt").is_file()), None)
    return VocTree(voc, sbd)


def read_list(path, cure=FETCH):
    """Ids of a list file, each once, in its order. A line may hold paths: the first one's stem is the id."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()      # Notepad puts a mark in front
    except OSError as error:
        raise InputError(path, f"no list ({error.strerror})", "a text file with one image a line", cure) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "no text", "a text file with one image a line", cure) from error
    ids = tuple(dict.fromkeys(Path(line.split()[0]).stem for line in lines if line.strip()))
    if not ids:
        raise InputError(path, "an empty list", "a text file with one image a line", cure)
    return ids


def default_list(tree, split):
    """``train_aug`` if that file exists, else the largest list the files allow: ``aug`` with SBD, ``voc`` without."""
    if split == "val":
        return "val"
    if tree.list_file("train_aug").is_file():
        return "train_aug"
    return "aug" if _sbd_ids(tree) else "voc"


def build_list(tree, name):
    """Ids of the list ``name`` (see the module's head): VOC's in their order, then SBD's; else InputError."""
    if name in ("val", "train_aug"):
        return read_list(tree.list_file(name))
    train = read_list(tree.list_file("train"))
    if name == "voc":
        return train
    sbd, val = _sbd_ids(tree), set(read_list(tree.list_file("val")))
    if not sbd:
        raise InputError(tree.voc, "no SBD beside it (sbd/cls, sbd/train.txt or SegmentationClassAug)",
                         f"SBD's images for the list '{name}'",
                         "Run `fsslib data fetch voc`, or choose images='voc'.")
    if name == "pfenet":
        sbd = _train_noval(tree, sbd)
    return tuple(dict.fromkeys(train + tuple(i for i in sbd if i not in val)))


def _sbd_ids(tree):
    """Every SBD image: SBD's own two lists, else its .mat files, else the merged masks (VOC's among them)."""
    lists = [tree.sbd / f"{s}.txt" for s in ("train", "val")] if tree.sbd else []
    if lists and all(path.is_file() for path in lists):
        return tuple(dict.fromkeys(read_list(lists[0]) + read_list(lists[1])))
    mats = sorted(path.stem for path in (tree.sbd / "cls").glob("*.mat")) if tree.sbd else ()
    return tuple(mats or sorted(path.stem for path in (tree.voc / "SegmentationClassAug").glob("*.png")))


def _train_noval(tree, sbd):
    if tree.sbd and (tree.sbd / "train_noval.txt").is_file():
        return read_list(tree.sbd / "train_noval.txt")
    detection_val = tree.voc / "ImageSets" / "Main" / "val.txt"
    if not detection_val.is_file():
        raise InputError(detection_val, "no such file", "VOC's detection val list, which PFENet's list leaves out",
                         "Take it from the VOC2012 archive, put train_noval.txt into sbd/, "
                         "or choose images='voc', 'aug' or 'train_aug'.")
    left_out = set(read_list(detection_val))
    return tuple(i for i in sbd if i not in left_out)


def find_files(tree, ids):
    """(image, mask) paths of ``ids``, and the entries without: {"image": [...], "mask": [...]}."""
    found, missing = [], {"image": [], "mask": []}
    sources = [[(folder, suffix, _names(folder)) for folder, suffix in kind] for kind in tree.sources()]
    for i in ids:
        pair = [next((folder / (i + suffix) for folder, suffix, names in kind if i + suffix in names), None)
                for kind in sources]
        for what, path in zip(missing, pair):
            if path is None:
                missing[what].append(i)
        found.append(tuple(pair))
    return tuple(found), missing


def _names(folder):
    """One listing of a folder instead of thousands of questions: network disks answer slowly."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
