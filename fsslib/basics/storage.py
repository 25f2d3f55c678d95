"""Where files live, and how they are written whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path

from .errors import InputError, not_readable

CACHE_CURE = "Set FSSLIB_CACHE to a folder you may write to."


def user_path(path, cure="Set HOME, or write the path out."):
    """``path`` with a leading ``~`` as the home folder: a shell leaves it alone behind ``--out=``, and so does a container's
    variable. A user without a home folder (a number without a name) raises InputError.
    """
    found = Path(os.path.expanduser(path))
    if found.parts[:1] == ("~",):
        raise InputError(path, "no home folder of this user", "one for ~ to stand for", cure)
    return found


def cache_dir(*parts):
    """Folder of generated data and indices: ``$FSSLIB_CACHE``, else ``~/.cache/fsslib``. Not made here: a prepared cache may
    be read only."""
    return user_path(os.environ.get("FSSLIB_CACHE") or "~/.cache/fsslib", CACHE_CURE).joinpath(*parts)


def writable_cache(*parts):
    """``cache_dir(*parts)`` as a folder that exists and takes files; else InputError."""
    return writable_folder(cache_dir(*parts), CACHE_CURE)


def scratch_dir(*parts):
    """Folder of what outlives no process (locks, features of one run): in the cache, or, where that takes no files, in the
    system's temporary folder."""
    try:
        return writable_cache(*parts)
    except InputError:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return writable_folder(Path(tempfile.gettempdir(), f"fsslib-{user}", *parts), CACHE_CURE)


def data_dir():
    """Folder of downloaded data sets: ``$FSSLIB_DATA``, else ``data`` in the cache folder (not made here)."""
    folder = os.environ.get("FSSLIB_DATA")
    return user_path(folder, "Set FSSLIB_DATA to a path without ~.") if folder else cache_dir("data")


def writable_folder(path, cure):
    """``path`` as a folder that exists and takes files; raises InputError naming ``cure`` otherwise."""
    path = user_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(path, "a file on this path", "a folder", cure) from error
    except OSError as error:
        raise InputError(path, f"a folder that takes no files ({error.strerror})", "a writable folder", cure) from error
    return path


@contextlib.contextmanager
def at_work(folder, wait=False):
    """Holds ``folder`` for one process at a time; a second one raises InputError, or waits and says so. A killed one lets go.

    ``wait``: always; else where ``$FSSLIB_WAIT`` is set, as the grid does: what a killed call of it left running is no user's
    mistake, and its job goes on where that one stops. The lock lies in the cache (``scratch_dir``): the folder is made by
    what is written there, and not at all where nothing is.
    """
    import filelock
    try:
        name = hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:20]
    except (RuntimeError, OSError) as error:                 # links in a circle: Python has had two words for it
        raise InputError(folder, "a link that leads to itself", "a folder", "Give another --out.") from error
    lock = filelock.FileLock(scratch_dir("locks") / name)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        if not wait and not os.environ.get("FSSLIB_WAIT"):
            raise InputError(folder, "another process at work there", "one at a time",
                             "Wait for it, or give this one another --out.") from error
        print(f"{folder}: another process is at work there; waiting for it", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path beside ``path``; it takes the name ``path`` only if the block ends well."""
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")     # no process id: two containers may share it
    try:
        yield part
        with open(part, "rb") as file:       # on disk before the name changes: a power cut leaves old or new
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def reserve(file, start, size):
    """Takes room on the disk for ``size`` bytes from ``start`` on of an open file, whose content there does not count yet.

    A write into a memory map for which a disk or a quota has no room kills the process (SIGBUS); here it is an OSError.
    """
    try:
        os.posix_fallocate(file.fileno(), start, size)
    except (AttributeError, OSError) as error:           # a system, or a file system, that cannot: the bytes are written
        if getattr(error, "errno", None) not in (None, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if not hasattr(os, "pwrite"):        # Windows: a file has its room from the start
            return
        for at in range(start, start + size, 1 << 20):
            os.pwrite(file.fileno(), bytes(min(1 << 20, start + size - at)), at)


def write_json(path, value):
    """Writes ``value`` as indented JSON, atomically."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path, cure="Delete it; it is written again."):
    """The value in a JSON file; a missing or damaged file raises InputError with ``cure``."""
    try:
        return json.loads(user_path(path).read_text(encoding="utf-8-sig"))
    except PermissionError as error:
        raise not_readable(path, "a JSON file") from error
    except OSError as error:
        found = {FileNotFoundError: "no such file", IsADirectoryError: "a folder"}.get(type(error), error.strerror)
        raise InputError(path, found, "a JSON file", cure) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"no valid JSON ({error})", "a JSON file", cure) from error


def sha256_json(value):
    """sha256 (hex) of ``value`` in its canonical JSON form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path):
    """sha256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
