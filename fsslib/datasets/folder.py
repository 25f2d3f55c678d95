"""Your own images: a folder with images, masks and class names."""

from pathlib import Path

from ..basics.errors import InputError
from .base import IGNORE, SegmentationDataset

TREE = """The folder looks like this:
  {root}/
    images/       dog1.jpg, dog2.jpg, ...  photos, 8-bit RGB, JPEG or PNG
    masks/        dog1.png, ...            the same name; one class number a pixel:
                                           0 background, 1 the first class, ..., 255 ignored
    classes.txt   one name a line: line 1 is class 1
Images without a mask are allowed: they are the ones to segment."""
_READABLE = {".jpg", ".jpeg", ".png"}
_OTHERS = {".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp"}


class Folder(SegmentationDataset):
    """Own images in ``root``: ``images/``, ``masks/`` and ``classes.txt`` (see ``TREE``).

    Lists the images that have a mask, by name; ``unlabelled`` is the tuple of paths of the others. There are no
    lists of train and val here: both splits give the same images. A layout that does not fit raises InputError,
    and so does, when it is read, a mask without a single pixel of a class.
    """
    name = "folder"

    def __init__(self, root, split="val"):
        if root is None:
            raise InputError("root", "no folder", "the folder of your images",
                             "Give it: --root my_photos, or open_dataset('folder', root='my_photos'). "
                             + _tree("my_photos"))
        root = Path(root)
        if not root.is_dir():
            raise InputError(root, "a file" if root.exists() else "no such folder", "a folder", _tree(root))
        self.split, self.class_names = split, _read_classes(root)
        images, masks = _by_stem(root, "images"), _by_stem(root, "masks")
        for stem, mask in masks.items():
            if mask.suffix.lower() != ".png":
                raise InputError(mask, f"a mask stored as {mask.suffix}", "a PNG: JPEG changes the class numbers",
                                 "Export the mask again as PNG.")
            if stem not in images:
                raise InputError(mask, "a mask without an image", f"{root / 'images' / stem}.jpg or .png",
                                 "Give both the same name, or take the mask out of the folder.")
        self.ids = tuple(stem for stem in images if stem in masks)
        self.files = tuple((images[stem], masks[stem]) for stem in self.ids)
        self.unlabelled = tuple(path for stem, path in images.items() if stem not in masks)
        if not self.ids:
            raise InputError(root / "masks", "no mask", "a PNG for at least one image", _tree(root))

    def __getitem__(self, i):
        sample = super().__getitem__(i)
        _check_labelled(sample.mask, self.files[i][1])
        return sample

    def mask(self, i):
        mask = super().mask(i)
        _check_labelled(mask, self.files[i][1])
        return mask


def _tree(root):
    return TREE.format(root=Path(root).name or root)


def _by_stem(root, name):
    """{stem: path} of the pictures in ``root/name``, by name."""
    folder, found = root / name, {}
    if not folder.is_dir():
        raise InputError(folder, "a file" if folder.exists() else "no such folder", f"the folder of {name}",
                         _tree(root))
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):                    # .DS_Store and the like
            continue
        if any("\ud800" <= letter <= "\udfff" for letter in path.name):    # Python's stand-ins for bytes, not text
            raise InputError(ascii(str(path)), "a name that is no text", "a name in UTF-8",
                             "Rename the file.")
        if path.suffix.lower() in _OTHERS:
            raise InputError(path, f"a {path.suffix} file", "JPEG or PNG", "Convert it to JPEG or PNG.")
        if path.suffix.lower() not in _READABLE:
            continue
        if path.stem in found:
            raise InputError(path, f"a second file called {path.stem} beside {found[path.stem].name}",
                             "one file a name", "Rename or remove one of the two.")
        found[path.stem] = path
    if name == "images" and not found:
        raise InputError(folder, "no image", "JPEG or PNG files", _tree(root))
    return found


def _read_classes(root):
    path = root / "classes.txt"
    try:
        text = path.read_text(encoding="utf-8-sig")      # editors on Windows put a mark in front
    except OSError as error:
        raise InputError(path, f"no class names ({error.strerror})", "a text file with one name a line",
                         _tree(root)) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "no UTF-8 text", "a text file with one name a line",
                         "Save it again as plain text in UTF-8.") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise InputError(path, "an empty file", "one class name a line", _tree(root))
    if len(names) >= IGNORE:
        raise InputError(path, f"{len(names)} names", f"at most {IGNORE - 1}: a mask holds one byte a pixel",
                         "Keep the classes that your masks use.")
    for line, name in enumerate(names, 1):
        if not name:
            raise InputError(path, f"an empty line {line}", "a name on every line, since line n is class n",
                             "Write a name there or remove the line.")
        if name in names[:line - 1]:
            raise InputError(path, f"'{name}' on lines {names.index(name) + 1} and {line}", "every name once",
                             "Rename or remove one of the two.")
    return tuple(names)


def _check_labelled(mask, path):
    if ((mask == 0) | (mask == IGNORE)).all():
        found = "only 255 (ignored)" if (mask == IGNORE).all() else "no pixel of a class"
        raise InputError(path, found, "at least one pixel with a class number from 1 up",
                         "Draw the object, or take the mask out of the folder: its image then counts as unlabelled.")
