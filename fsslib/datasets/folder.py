"""Your own images: a folder with images, masks and class names."""

import os
import unicodedata
from pathlib import Path

from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import data_dir, user_path
from .base import IGNORE, SegmentationDataset
from .class_names import conversion, read_classes
from .formats import SUFFIXES

TREE = """The folder looks like this:
  {root}/
    images/       dog1.jpg, dog2.jpg, ...  photos: JPEG, PNG, WebP, TIFF, BMP
    masks/        dog1.png, ...            the same name; one class number a pixel:
                                           0 background, 1 the first class, ..., 255 ignored
    classes.txt   one name a line: line 1 is class 1
Images without a mask are allowed: they are the ones to segment."""
_MASKS = (".png", ".tif", ".tiff", ".bmp", ".gif")
_NO_PICTURE = (".heic", ".heif", ".jxl", ".tga", ".psd", ".svg", ".pdf", ".eps", ".ico", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf",
               ".orf", ".rw2", ".exr", ".hdr", ".dcm", ".nii", ".npy", ".npz", ".mat")
_SYSTEM = {"thumbs.db", "desktop.ini", "icon\r", "@eadir", "__macosx"}
_ENDINGS = ("_mask", "-mask", "_label", "_labels", "_gt", "_seg", "_segmentation", "_json")     # that tools add to a mask's name


class Folder(SegmentationDataset):
    """Own images in ``root``: ``images/``, ``masks/`` and ``classes.txt`` (see ``TREE``); by default ``$FSSLIB_DATA``.

    Lists the images that have a mask, by name; ``unlabelled`` is the tuple of paths of the others, ``passed_over`` of
    files that are no pictures (told once when the folder is opened). There are no lists of train and val here: both
    splits give the same images. A layout that does not fit raises InputError, and so does, when it is read, a mask
    without a single pixel of a class. ``need_masks=False``: a folder of images alone is one too, all ``unlabelled``.
    """
    name = "folder"

    def __init__(self, root=None, split="val", need_masks=True):
        root = user_path(root) if root is not None else _default_root()
        if not root.is_dir():
            raise InputError(root, "a file" if root.exists() else "no such folder", "a folder", _tree(root))
        labelled = need_masks or (root / "masks").is_dir()
        self.root, self.split = root, split
        self.class_names = read_classes(root / "classes.txt", _tree(root)) if labelled else ()
        images, no_images = _by_stem(root, "images", SUFFIXES)
        masks, no_masks = _by_stem(root, "masks", _MASKS) if labelled else ({}, [])
        for stem, mask in masks.items():
            if stem not in images:
                raise InputError(mask, "a mask without an image", f"{root / 'images' / stem}.jpg or .png",
                                 _like(stem, images) + "Give both the same name, or take the mask out of the folder.")
        for path in no_masks:
            stem = _stem(path)
            if stem in images and stem not in masks:
                what = f"a mask stored as {path.suffix}" if path.suffix else "a mask without a suffix"
                raise InputError(path, what, "a PNG with one class number a pixel",
                                 "Export the mask again as PNG, or take the file out of the folder: its image then counts as "
                                 "unlabelled.")
        self.ids = tuple(stem for stem in images if stem in masks)
        self.files = tuple((images[stem], masks[stem]) for stem in self.ids)
        self.unlabelled = tuple(path for stem, path in images.items() if stem not in masks)
        self.passed_over = tuple(no_images + no_masks)
        if self.passed_over:
            tqdm.write(f"{root}: passed over, no pictures: {some(path.name for path in self.passed_over)}")
        if not self.ids and need_masks:
            raise InputError(root / "masks", "no mask", "a PNG for at least one image", _tree(root))

    def __getitem__(self, i):
        sample = super().__getitem__(i)
        _check_labelled(sample.mask, self.files[i][1])
        return sample

    def mask(self, i):
        mask = super().mask(i)
        _check_labelled(mask, self.files[i][1])
        return mask


def some(names, shown=5):
    """The first few of many names, as text."""
    names = list(names)
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _default_root():
    if os.environ.get("FSSLIB_DATA") and (data_dir() / "images").is_dir():
        return data_dir()
    found = "no folder" + (", and no images/ in FSSLIB_DATA" if os.environ.get("FSSLIB_DATA") else "")
    raise InputError("root", found, "the folder of your images",
                     "Give it: --root my_photos, or open_dataset('folder', root='my_photos'). " + _tree("my_photos"))


def _tree(root):
    return TREE.format(root=Path(root).name or root)


def _stem(path):
    """A file's name without its suffix, in one Unicode form: macOS and others write the same letter differently."""
    return unicodedata.normalize("NFC", path.stem)


def _by_stem(root, name, suffixes):
    """({stem: path} of the pictures in ``root/name``, by name; the other files there)."""
    folder, found, others = root / name, {}, []
    if not folder.is_dir():
        raise InputError(folder, "a file" if folder.exists() else "no such folder", f"the folder of {name}", _tree(root))
    for path in sorted(folder.iterdir(), key=lambda path: unicodedata.normalize("NFC", path.name)):
        if path.name.startswith(".") or path.name.lower() in _SYSTEM:
            continue
        if any("\ud800" <= letter <= "\udfff" for letter in path.name):    # Python's stand-ins for bytes, not text
            raise InputError(ascii(str(path)), "a name that is no text", "a name in UTF-8",
                             "Rename the file.")
        suffix, stem = path.suffix.lower(), _stem(path)
        if name == "images" and suffix in _NO_PICTURE:
            raise InputError(path, f"a {suffix} file", "JPEG or PNG", "Convert it to JPEG or PNG, and take this file out.")
        if name == "masks" and suffix in SUFFIXES and suffix not in suffixes:
            raise InputError(path, f"a mask stored as {suffix}", "a PNG: JPEG and its like change the class numbers",
                             "Export the mask again as PNG.")
        if path.is_symlink() and not path.exists():
            raise InputError(path, "a link to a file that is not there", f"the file of {name}", "Put it back, or remove the link.")
        if suffix not in suffixes or not path.is_file():     # a pipe would never end
            others.append(path)
            continue
        if stem in found:
            raise InputError(path, f"a second file called {stem} beside {found[stem].name}",
                             "one file a name", "Rename or remove one of the two.")
        found[stem] = path
    if name == "images" and not found:
        raise InputError(folder, "no image", "JPEG or PNG files",
                         (f"Found there: {some(path.name for path in others)}. " if others else "") + _tree(root))
    return found, others


def _like(stem, images):
    """The image that a mask of another name seems to belong to."""
    short = next((stem[:-len(end)] for end in _ENDINGS if stem.lower().endswith(end)), None)
    for name, path in images.items():
        if name == short or name.casefold() == stem.casefold() or path.name == stem:      # x_mask.png, X.png, x.jpg.png
            return f"It seems to belong to {path.name}: call it {name}.png. "
    return ""


def _check_labelled(mask, path):
    if ((mask == 0) | (mask == IGNORE)).all():
        cure = "Draw the object, or take the mask out of the folder: its image then counts as unlabelled."
        if (mask == IGNORE).all():
            raise InputError(path, "only 255 (ignored)", "at least one pixel with a class number from 1 up", cure)
        if (mask == IGNORE).any():
            raise InputError(path, "only 0 and 255, no pixel of a class; 255 means ignored here",
                             "at least one pixel with a class number from 1 up",
                             "If 255 is the object, divide by 255 so that 1 is the class: "
                             f"`{conversion(path.parent)}` writes new masks beside these. Else: {cure[0].lower()}{cure[1:]}")
        raise InputError(path, "no pixel of a class", "at least one pixel with a class number from 1 up", cure)
