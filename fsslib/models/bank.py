"""Feature bank: with fixed weights the features of an image never change, so they are computed once."""

import contextlib
import itertools
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..basics.errors import InputError, apart
from ..basics.storage import CACHE_CURE, at_work, cache_dir, reserve, scratch_dir, sha256_json, writable_cache
from ..episodes.augmentation import view_of_image
from ..episodes.transforms import check_geometry


CURE = "Set FSSLIB_CACHE to a larger disk, or use a smaller size."


class _Closing:
    """``with bank:`` lets go of its files at the end."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FeatureBank(_Closing):
    """Encoder output of a data set's images in memory-mapped files, one a view (``augmentation``): ``bank[index]`` or
    ``bank.view(index, view)`` -> float32 (C,h,w).

    ``encode``: images (B,3,S,S) -> (B,C,h,w), with fixed weights · ``size``, ``resize``: the input geometry ·
    ``key``: a value that names the encoder and its weights; the bank is then kept in the cache folder under the
    data's digest, this key and the geometry. Without a key nothing of it outlives the object ·
    ``dtype``: ``float32`` as computed, ``float16`` for half the disk. An entry whose checksum differs is computed
    again. The files are sparse: only images that were asked for take room.
    """

    def __init__(self, dataset, encode, size, resize, key=None, dtype="float32", batch=8):
        check_geometry(size, resize)
        self.dataset, self.encode, self.size, self.resize = dataset, encode, size, resize
        self.dtype, self.batch = dtype, batch
        with torch.no_grad():
            self.shape = tuple(encode(torch.zeros(1, 3, size, size)).shape[1:])
        self.key, self._files, self._open = key, {}, {}
        if key is not None:
            name = sha256_json([dataset.digest, key, size, resize, dtype, list(self.shape)])
            self.folder = cache_dir("bank", name[:20])

    def _view(self, view):
        """(features, checksums) of a view; a checksum of 0: not computed yet."""
        if view not in self._files:
            end, count = f"-{view}" if view else "", len(self.dataset)
            folder = self.folder if self.key else Path(tempfile.mkdtemp(prefix="temporary-", dir=scratch_dir("bank")))
            if not (folder / f"features{end}.bin").exists():
                self._must_write()
            features, file = _map(folder / f"features{end}.bin", self.dtype, (count, *self.shape))
            sums, room = _map(folder / f"checksums{end}.bin", np.uint32, (count,))
            with room, self._room():
                if sums.flags.writeable and not sums.any():      # new; one in use has its room
                    reserve(room, 0, 4 * count)
            self._files[view], self._open[view] = (features, sums), file
            if not self.key:                 # unlinked while open: nothing stays behind, not even after a SIGKILL
                shutil.rmtree(folder, ignore_errors=True)
        return self._files[view]

    def __getitem__(self, index):
        return self.view(index, 0)

    def view(self, index, view):
        features, sums = self._view(view)
        entry = np.array(features[index])
        if not sums[index] or _checksum(entry) != sums[index]:
            self._must_write()
            sums[index] = 0
            self.fill([index], [view], progress=False)
            entry = np.array(features[index])
        return torch.from_numpy(entry).float()

    def _must_write(self):
        """Raises InputError for a prepared bank that may only be read."""
        if self.key:
            writable_cache("bank", self.folder.name)
        if not all(sums.flags.writeable for _, sums in self._files.values()):
            raise InputError(self.folder, "files that may only be read", "features that can be added", CACHE_CURE)

    def missing(self, indices, views=(0,)):
        """(view, index) pairs among those asked for that are not there yet."""
        return [(view, i) for view in views for i in sorted(set(indices)) if not self._view(view)[1][i]]

    def fill(self, indices, views=(0,), progress=True):
        """Computes what is missing of ``indices`` in these views; what an interrupted call finished is kept.

        A disk without room for it raises InputError before anything is computed.
        """
        if self.key is None:
            self._fill(self.missing(indices, views), progress)
        elif self.missing(indices, views):
            self._must_write()
            with at_work(self.folder, wait=True):    # who waited for another process finds less missing
                self._fill(self.missing(indices, views), progress)

    def _fill(self, missing, progress):
        self._take_room(missing)
        bar = tqdm(total=len(missing), desc="features", unit="image", disable=not progress or not missing)
        for at in range(0, len(missing), self.batch):
            block = missing[at:at + self.batch]
            images = torch.stack([self._image(i, view) for view, i in block])
            with torch.no_grad():
                found = self.encode(images).cpu().numpy()
            for (view, i), entry in zip(block, found):
                features, sums = self._view(view)
                features[i] = entry
                sums[i] = _checksum(np.array(features[i]))                     # after the data, never before
            bar.update(len(block))
        bar.close()

    def _image(self, index, view):
        mask = self.dataset.mask(index) if view > 1 else None
        return view_of_image(self.dataset.image(index), mask, self.size, self.resize, view, index)

    def _take_room(self, missing):
        """Before the work: all that is ``missing`` fits on the disk, and nobody else takes the room meanwhile."""
        entry = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        asked = {view: [i for _, i in pairs] for view, pairs in itertools.groupby(missing, lambda pair: pair[0])
                 if view in self._open}
        needed = entry * sum(map(len, asked.values()))
        for view in asked:                   # less what a call took that was killed
            taken = getattr(os.fstat(self._open[view].fileno()), "st_blocks", 0) * 512
            needed -= max(0, taken - entry * int(np.count_nonzero(self._view(view)[1])))
        free = shutil.disk_usage(self._place()).free
        if free < needed:
            found, expected = apart(free / 1e9, needed / 1e9)
            raise InputError(self._place(), f"{found} GB free",
                             f"{expected} GB for the features of {len(missing)} images", CURE)
        with self._room():
            for view, indices in asked.items():
                for start, end in _runs(indices):
                    reserve(self._open[view], start * entry, (end - start) * entry)

    def _place(self):
        return self.folder if self.key and self.folder.is_dir() else scratch_dir("bank")

    @contextlib.contextmanager
    def _room(self):
        """A disk or a quota that says no within it is one sentence."""
        try:
            yield
        except OSError as error:
            raise InputError(self._place(), f"no room for the features ({error.strerror})", "a disk and a quota with room",
                             CURE) from error

    def close(self):
        """Lets go of the files; without a key that deletes them."""
        for file in self._open.values():
            file.close()
        self._files, self._open = {}, {}

    def __getstate__(self):                  # open files stay in their process; others take no room for what they find damaged
        return {**vars(self), "_open": {}}


class ModelBank(_Closing):
    """The features that a model's frozen networks give, one FeatureBank a network, so that models share them.

    ``model.encoders``: its networks, the first of which sees support and query, the others the query alone ·
    ``keep``: in the cache folder, keyed by the networks' weights; else until ``close`` · other options as FeatureBank.
    """

    def __init__(self, model, dataset, size, resize, keep=True, **options):
        self.digests = [encoder.digest for encoder in model.encoders]
        self.parts = [FeatureBank(dataset, encoder, size, resize, digest if keep else None, **options)
                      for encoder, digest in zip(model.encoders, self.digests)]
        self.dataset, self.size, self.resize = dataset, size, resize

    def query(self, index, view=0):
        """float32 (C,h,w): every network's features, one after another."""
        return torch.cat([part.view(index, view) for part in self.parts])

    def support(self, index, view=0):
        """float32 (C_1,h,w): the first network's."""
        return self.parts[0].view(index, view)

    def fill(self, queries, supports=(), views=(0,), progress=True):
        """Computes what is missing: every network for ``queries``, the first one for ``supports`` too."""
        for part, indices in zip(self.parts, [{*queries, *supports}, *[queries] * len(self.parts)]):
            part.fill(indices, views, progress)

    def refuse_other(self, model, dataset, size, resize):
        """Raises InputError if this bank's features are not those of ``model``, ``dataset``, ``size``, ``resize``."""
        asked = {"images": dataset.digest[:12], "size": size, "resize": resize,
                 "weights": [encoder.digest[:12] for encoder in model.encoders]}
        here = {"images": self.dataset.digest[:12], "size": self.size, "resize": self.resize,
                "weights": [digest[:12] for digest in self.digests]}
        for name, value in here.items():
            if value != asked[name]:
                raise InputError("feature bank", f"{name} {value}", f"{asked[name]}",
                                 "Open a bank for this model, data set and size, or leave it out.")

    def close(self):
        for part in self.parts:
            part.close()


def _runs(numbers):
    """(first, one behind the last) of each unbroken run in ascending ``numbers``."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in run]
        yield run[0], run[-1] + 1


def _map(path, dtype, shape):
    """(memory map, open file)."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if path.exists() and path.stat().st_size != size:
        path.unlink()                        # cut short: start anew
    if not path.exists():
        with open(path, "wb") as file:
            file.truncate(size)              # sparse: only what is filled takes room
    writable = os.access(path, os.W_OK)
    file = open(path, "r+b" if writable else "rb")
    return np.memmap(file, dtype, "r+" if writable else "r", shape=shape), file


def _checksum(entry):
    return zlib.crc32(entry.tobytes()) or 1
