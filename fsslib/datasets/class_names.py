"""``classes.txt``: line n names class n."""

import re
import shlex
import unicodedata

from ..basics.errors import InputError

IGNORE = 255
_NO_CLASS = {"background", "bg", "ignore", "void", "unlabeled", "unlabelled"}
_NUMBERED, _CVAT = re.compile(r"\d+\s*[:,;.)\s]\s*\S"), re.compile(r"[^:]+:\d+,\d+,\d+:")
_ONE_NAME = "a text file with one name a line"


def read_classes(path, tree):
    """Tuple of names in one Unicode form (NFC); ``tree``: text that shows the layout, for the messages."""
    try:
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))    # editors on Windows put a mark in front
    except OSError as error:
        raise InputError(path, f"no class names ({error.strerror})", _ONE_NAME, _instead(path.parent) + tree) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "no UTF-8 text", _ONE_NAME, "Save it again as plain text in UTF-8.") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise InputError(path, "an empty file", "one class name a line", tree)
    if any(unicodedata.category(letter) == "Cc" for letter in "".join(names) if letter != "\t"):
        raise InputError(path, "control characters, as of UTF-16", _ONE_NAME, "Save it again as plain text in UTF-8.")
    check_names(path, names)
    for line, name in enumerate(names, 1):
        if not name:
            raise InputError(path, f"an empty line {line}", "a name on every line, since line n is class n",
                             "Write a name there or remove the line.")
        if is_no_class(name):
            raise InputError(path, f"{name!r} on line {line}", "names of classes: line 1 is class 1; the background has no line",
                             "Remove the line where the first class is number 1 in the masks.")
        if name in names[:line - 1]:
            raise InputError(path, f"'{name}' on lines {names.index(name) + 1} and {line}", "every name once",
                             "Rename or remove one of the two.")
    return tuple(names)


def check_names(path, names):
    """Raises InputError for more names than a mask has numbers, or for lines of another tool's list."""
    if len(names) >= IGNORE:
        raise InputError(path, f"{len(names)} names", f"at most {IGNORE - 1}: a mask holds one byte a pixel",
                         "Keep the classes that your masks use.")
    _refuse_formats(path, names)


def is_no_class(name):
    """Whether tools call the background or what is ignored so: ``background``, ``_background_``, ``__ignore__`` ..."""
    return name.strip("_ ").lower() in _NO_CLASS


def _refuse_formats(path, names):
    """Lists as tools export them, whose lines are no names."""
    expected = "names alone: line 1 is class 1; the background has no line"
    if any(name.startswith("# label") or _CVAT.match(name) for name in names):
        raise InputError(path, "colours beside the names (CVAT's labelmap)", expected,
                         "Rename it to labelmap.txt and run "
                         f"`{conversion(path.parent / 'masks', path.parent / 'labelmap.txt')}`, which writes masks and classes.txt.")
    if all(_NUMBERED.match(name) for name in names):
        raise InputError(path, f"numbers in front of the names ({names[0]!r} on line 1)", expected,
                         "Write the names alone, in the order of their numbers from 1 up.")


def _instead(root):
    """What to do where another tool's list lies in place of ``classes.txt``."""
    if (root / "labelmap.txt").is_file():
        return (f"CVAT's labelmap.txt is there: `{conversion(root / 'masks', root / 'labelmap.txt')}` writes masks and "
                "classes.txt. ")
    other = next((name for name in ("_classes.csv", "class_names.txt", "labels.txt", "obj.names")
                  if (root / name).is_file()), None)
    return f"{other} is there: write its names without the background into classes.txt. " if other else ""


def conversion(folder, labelmap=None):
    """The command that writes the masks of ``folder`` anew, to be typed as it is."""
    return shlex.join(["fsslib", "data", "masks", str(folder), *(["--colours", str(labelmap)] if labelmap else [])])
