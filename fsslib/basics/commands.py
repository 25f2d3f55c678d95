"""A call of the kit as data: a result says what made it, and a later call can tell whether it would make the same."""

import shlex
from pathlib import Path

from .storage import sha256_file, sha256_json

PLACES = ("root", "out", "resume", "save-masks")     # where something lies or whether it goes on, not what is computed


def typed(command, pairs):
    """The call as a person types it. ``pairs``: [option] or [option, value] each, as ``["--fold", "0"]``."""
    return shlex.join(["fsslib", *command.split(), *(shown(word) for pair in pairs for word in pair)])


def shown(word):
    """A path below the current folder as such, any other by its name: a result names no folder of one machine."""
    path = Path(word)
    if not path.is_absolute():
        return word
    return str(path.relative_to(Path.cwd())) if Path.cwd() in path.parents else path.name


def _is_file(word):
    try:
        return Path(word).is_file()
    except OSError:                          # a word too long for a name
        return False


def job_digest(command, pairs, data):
    """sha256 (hex) of a call, whatever the order of its options and the form of its numbers, of the files that it reads and of
    ``data``, a data set's digest."""
    def content(word):
        try:
            return repr(float(word))         # 1, 1.0 and 1e0 are one number
        except ValueError:
            return sha256_file(word) if _is_file(word) else shown(word)
    return sha256_json([command, sorted([option, *map(content, value)] for option, *value in pairs), data])
