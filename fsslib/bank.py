"""Feature bank: with fixed weights the features of an image never change, so they are computed once."""

import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .errors import InputError
from .storage import cache_dir, sha256_json
from .transforms import check_geometry, image_to_input


class FeatureBank:
    """Encoder output of a data set's images, ``bank[index]`` -> float32 (C,h,w), in one memory-mapped file.

    ``encode``: images (B,3,S,S) -> (B,C,h,w), with fixed weights · ``size``, ``resize``: the input geometry ·
    ``key``: a value that names the encoder and its weights; the bank is then kept in the cache folder under the
    data's digest, this key and the geometry. Without a key nothing of it outlives the object ·
    ``dtype``: ``float32`` as computed, ``float16`` for half the disk. An entry whose checksum differs is computed
    again. The files are sparse: only images that were asked for take room.
    """

    def __init__(self, dataset, encode, size, resize, key=None, dtype="float32", device="cpu", batch=8):
        check_geometry(size, resize)
        self.dataset, self.encode, self.size, self.resize = dataset, encode, size, resize
        self.device, self.batch = device, batch
        with torch.no_grad():
            shape = tuple(encode(torch.zeros(1, 3, size, size, device=device)).shape[1:])
        self.temporary = key is None
        if self.temporary:
            self.folder = Path(tempfile.mkdtemp(prefix="temporary-", dir=cache_dir("bank")))
        else:
            name = sha256_json([dataset.digest, key, size, resize, dtype, list(shape)])
            self.folder = cache_dir("bank", name[:20])
        self._features = _map(self.folder / "features.bin", dtype, (len(dataset), *shape))
        self._sums = _map(self.folder / "checksums.bin", np.uint32, (len(dataset),))      # 0: not computed yet
        if self.temporary:                   # unlinked while open: nothing stays behind, not even after a SIGKILL
            shutil.rmtree(self.folder, ignore_errors=True)

    def _refuse_small_disk(self, images):
        needed, free = images * self._features[0].nbytes, shutil.disk_usage(cache_dir("bank")).free
        if free < needed:
            raise InputError(cache_dir("bank"), f"{free / 1e9:.1f} GB free",
                             f"{needed / 1e9:.1f} GB for the features of {images} images",
                             "Set FSSLIB_CACHE to a larger disk, or use a smaller size.")

    def __getitem__(self, index):
        entry = np.array(self._features[index])
        if not self._sums[index] or _checksum(entry) != self._sums[index]:
            self._sums[index] = 0
            self.fill([index], progress=False)
            entry = np.array(self._features[index])
        return torch.from_numpy(entry).float()

    def fill(self, indices, progress=True):
        """Computes the missing ones of ``indices``; what an interrupted call finished is kept."""
        missing = [i for i in sorted(set(indices)) if not self._sums[i]]
        self._refuse_small_disk(len(missing))
        bar = tqdm(total=len(missing), desc="features", unit="image", disable=not progress or not missing)
        for at in range(0, len(missing), self.batch):
            block = missing[at:at + self.batch]
            images = torch.stack([image_to_input(self.dataset[i].image, self.size, self.resize) for i in block])
            with torch.no_grad():
                found = self.encode(images.to(self.device)).cpu().numpy()
            for i, entry in zip(block, found):
                self._features[i] = entry
                self._sums[i] = _checksum(np.array(self._features[i]))         # after the data, never before
            bar.update(len(block))
        bar.close()

    def close(self):
        """Lets go of the files; a temporary bank is deleted."""
        if self.folder:
            self._features = self._sums = None
            if self.temporary:
                shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _map(path, dtype, shape):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if path.exists() and path.stat().st_size != size:
        path.unlink()                        # cut short: start anew
    if not path.exists():
        with open(path, "wb") as file:
            file.truncate(size)              # sparse: only what is filled takes room
    return np.memmap(path, dtype, "r+", shape=shape)


def _checksum(entry):
    return zlib.crc32(entry.tobytes()) or 1
