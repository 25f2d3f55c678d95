"""What every data set gives: samples, class names, a class-area index, a digest."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..basics.errors import InputError, not_readable
from ..basics.storage import atomic_path, cache_dir, sha256_json, writable_cache
from .reading import read_image, read_mask

IGNORE = 255
INDEX_VERSION = 1


@dataclass(frozen=True)
class Sample:
    """One labelled image: ``image`` uint8 (H,W,3); ``mask`` uint8 (H,W), 0 background, 1..C, 255 ignored."""
    image: np.ndarray
    mask: np.ndarray
    id: str


class SegmentationDataset:
    """Images with masks on disk. A subclass sets the five attributes below; everything else follows.

    ``name``, ``split``: str · ``class_names``: C names, class c is ``class_names[c-1]`` ·
    ``ids``: one str an image · ``files``: one (image path, mask path) an image.
    """
    name = split = ""
    class_names = ()
    ids = ()
    files = ()
    area_scale = 1.0     # protocols state areas in px of a VOC photo (500x375); small pictures scale them down

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        image, mask = self.files[i]
        image = read_image(image)
        return Sample(image, read_mask(mask, len(self.class_names), image.shape[:2]), self.ids[i])

    def image(self, i):
        """uint8 (H,W,3), the image of sample i without reading its mask."""
        return read_image(self.files[i][0])

    def mask(self, i):
        """uint8 (H,W), the mask of sample i without reading its image."""
        return read_mask(self.files[i][1], len(self.class_names))

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r}, split={self.split!r}, {len(self)} images, " \
               f"{len(self.class_names)} classes)"

    @property
    def areas(self):
        """int64 (N, C+1): pixels of each class in each image, column 0 the background; void not counted."""
        return self._index[0]

    @property
    def digest(self):
        """sha256 (hex) over ids and the bytes of every image and mask."""
        return self._index[1]

    @functools.cached_property
    def _index(self):
        """Reads every file once. The cache key holds each file's size and time: a changed file is a new key."""
        key = sha256_json([INDEX_VERSION, self.name, list(self.class_names),
                           [[i, *map(_stamp, pair)] for i, pair in zip(self.ids, self.files)]])
        path = cache_dir("index") / f"{self.name}-{self.split}-{key[:20]}.npz"
        try:
            with np.load(path) as stored:
                return stored["areas"], str(stored["digest"])
        except (FileNotFoundError, NotADirectoryError):
            pass
        except PermissionError as error:
            raise not_readable(path, "an index of the images") from error
        except Exception:                    # cut short or not ours: told, then built again
            tqdm.write(f"{path}: damaged index, building it again")
        areas, digest = np.zeros((len(self), len(self.class_names) + 1), np.int64), hashlib.sha256()
        for i in tqdm(range(len(self)), desc=f"index {self.name} {self.split}", unit="image", disable=None):
            mask = self[i].mask
            areas[i] = np.bincount(mask.ravel(), minlength=256)[:areas.shape[1]]
            digest.update(self.ids[i].encode())
            for file in self.files[i]:
                digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
        try:
            writable_cache("index")
        except InputError as error:
            if not cache_dir().is_dir():     # else a prepared cache that may be read only
                raise
            tqdm.write(f"{error.where}: {error.found}; the index of these images is not kept")
            return areas, digest.hexdigest()
        with atomic_path(path) as part, open(part, "wb") as file:
            np.savez_compressed(file, areas=areas, digest=digest.hexdigest())
        return areas, digest.hexdigest()


def _stamp(path):
    try:
        status = Path(path).stat()
    except PermissionError as error:
        raise not_readable(path, "an image or a mask") from error
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"a file that cannot be read ({error.strerror})"
        raise InputError(path, found, "every image and mask of the list",
                         "Put the file back, correct its permissions, or take its entry out of the list.") from error
    return [str(Path(path).absolute()), status.st_size, status.st_mtime_ns]
