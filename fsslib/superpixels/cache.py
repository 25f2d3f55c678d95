"""Patch cache: each image is segmented once, its label map kept as PNG under the image's content."""

import contextlib
import hashlib
import importlib.metadata
import multiprocessing
import os
import threading
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from tqdm.auto import tqdm

from ..basics.errors import InputError, not_readable
from ..basics.storage import atomic_path, cache_dir, sha256_json, writable_cache
from ..datasets.reading import read_image
from .methods import resolve, segment

VERSION = 1                                  # of the stored form; another one is another folder
_COLOURS = [n * step % 256 for n in range(256) for step in (67, 101, 193)]           # any viewer shows the patches


class PatchCache:
    """``cache[i]`` -> uint16 (H,W), labels 0..n-1 of image ``i`` of ``dataset``: read if stored, else computed.

    ``method``, ``parameters``: as ``fsslib.superpixels.segment``; an unknown name or a bad value raises InputError.
    A file is named by the image's bytes, not by its path, and lies in a folder of its own for each method, setting
    and scikit-image version. It carries these and a checksum; what is damaged or another's is told and made anew.
    """

    def __init__(self, dataset, method="slic", **parameters):
        self.dataset, self.method, self.parameters = dataset, method, resolve(method, parameters)
        self.key = sha256_json([VERSION, method, self.parameters, importlib.metadata.version("scikit-image")])[:20]
        self.folder = cache_dir("superpixels", self.key)
        self._names = {}                     # image file and its stamp -> hash of its bytes

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        labels = self._stored(index)
        return self._made(index) if labels is None else labels

    def path(self, index):
        """The file that holds, or will hold, the label map of image ``index``."""
        return self.folder / f"{self._content(index)}.png"

    def _tag(self, index):
        return f"{self.key} {self._content(index)}"

    def _content(self, index):
        image = self.dataset.files[index][0]
        try:
            status = os.stat(image)
            stamp = image, status.st_size, status.st_mtime_ns
            if stamp not in self._names:
                self._names[stamp] = hashlib.sha256(Path(image).read_bytes()).hexdigest()[:32]
        except OSError:
            read_image(image)                # says in one sentence what is wrong with the file
            raise
        return self._names[stamp]

    def _stored(self, index):
        """The label map from its file; None if there is none, or none that can be trusted (told and deleted)."""
        path, tag = self.path(index), self._tag(index)
        try:
            return read_labels(path, tag)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise not_readable(path, "a label map") from error
        except Exception as error:           # cut short, of another version, not a label map
            found = str(error) if type(error) is ValueError else "damaged label map"
            tqdm.write(f"{path}: {found}, segmenting the image again")
            with contextlib.suppress(OSError):       # in a cache to be read only whoever writes is told
                path.unlink()
            return None

    def _made(self, index):
        writable_cache("superpixels", self.key)
        labels = _segmented(self.dataset.files[index][0], self.method, self.parameters)
        write_labels(self.path(index), labels, self._tag(index))
        return labels.astype(np.uint16)

    def missing(self):
        """List of indices, one for each different image whose label map is not stored. Reads every stored one."""
        paths = {self.path(index): index for index in range(len(self))}
        return [index for index in paths.values() if self._stored(index) is None]

    def fill(self, workers=None, progress=True):
        """Computes what is missing and returns how many that were; what an interrupted call finished is kept.

        ``workers``: processes, by default one a core. With more than one, a script calls this under
        ``if __name__ == "__main__":``, as for every process pool.
        """
        workers = cores() if workers is None else workers
        if workers < 1:
            raise InputError("workers", workers, "1 or more", "Leave it out for one process a core.")
        for left in self.folder.glob(".*.part"):                     # of a process that was killed
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink(missing_ok=True)
        missing = self.missing()
        if missing:
            writable_cache("superpixels", self.key)
        with tqdm(total=len(missing), desc=f"{self.method} patches", unit="image",
                  disable=not progress or not missing) as bar:
            if min(workers, len(missing)) <= 1:
                for index in missing:
                    self._made(index)
                    bar.update()
            else:
                self._fill_parallel(missing, min(workers, len(missing)), bar)
        return len(missing)

    def _fill_parallel(self, missing, workers, bar):
        # Fresh interpreters: a fork of a process that runs threads (torch, Jupyter) can hang. Both methods run in one
        # thread, so that a process a core is right.
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
        try:
            jobs = [pool.submit(_segment_file, str(self.dataset.files[i][0]), str(self.path(i)), self.method,
                                self.parameters, self._tag(i)) for i in missing]
            for job in as_completed(jobs):
                job.result()
                bar.update()
        except BrokenProcessPool as error:
            raise InputError(self.folder, "a worker process that ended early", "every image segmented",
                             "Free memory or use one worker; in a script, call this under "
                             "`if __name__ == \"__main__\":`. What is finished is kept.") from error
        finally:
            pool.shutdown(cancel_futures=True)


def read_labels(path, tag):
    """uint16 (H,W) from a PNG written by ``write_labels`` with this ``tag``; anything else raises."""
    with Image.open(path, formats=["PNG"]) as file:
        told = file.info.get("fsslib", "")
        if not told.startswith(f"{VERSION} {tag} "):
            raise ValueError("label map of another version, setting or image")
        labels = np.asarray(file).astype(np.uint16)
    if told.split()[-1] != _checksum(labels):
        raise ValueError("damaged label map")
    return labels


def write_labels(path, labels, tag):
    """Writes ``labels`` (H,W), 0..n-1, as 8-bit PNG if n < 256, else 16-bit; atomically, with ``tag`` inside."""
    if labels.max() > 65535:
        raise InputError("superpixels", f"{labels.max() + 1} patches in one image", "at most 65536",
                         "Ask for fewer or larger patches.")
    labels = labels.astype(np.uint16)
    about = PngImagePlugin.PngInfo()
    about.add_text("fsslib", f"{VERSION} {tag} {_checksum(labels)}")
    if labels.max() < 255:
        file = Image.fromarray(labels.astype(np.uint8))
        file.putpalette(_COLOURS)            # as VOC's masks; without the filters of grey PNG it is read twice as fast
    else:
        file = Image.fromarray(labels)
    with atomic_path(path) as part:
        file.save(part, "PNG", compress_level=3, pnginfo=about)


def _checksum(labels):
    return f"{labels.shape[0]}x{labels.shape[1]}-{zlib.crc32(labels.tobytes()):08x}"


def cores():
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker():
    """A worker ends with its parent, even a killed one, instead of waiting for ever for the next image."""
    def leave():
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=leave, daemon=True).start()


def _segment_file(image, path, method, parameters, tag):
    write_labels(Path(path), _segmented(image, method, parameters), tag)


def _segmented(path, method, parameters):
    """The label map of the image at ``path``: in one of few pixels at most one patch a pixel. Messages name the file."""
    image = read_image(path)
    if "n_segments" in parameters:
        parameters = {**parameters, "n_segments": min(parameters["n_segments"], image.shape[0] * image.shape[1])}
    try:
        return segment(image, method, **parameters)
    except InputError as error:
        raise InputError(f"{path}, {error.where}", error.found, error.expected, error.cure) from error
