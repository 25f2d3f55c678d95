"""Reads one image or one mask, or says in one sentence why not."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..basics.errors import InputError

_CONVERT = "Save it again as 8-bit RGB, for example with PIL: Image.open(path).convert('RGB').save(path)."
_KINDS = {"L": "a grey image", "1": "a black-and-white image", "RGBA": "an RGBA image (with transparency)",
          "LA": "a grey image with transparency", "P": "a palette image", "CMYK": "a CMYK image"}


def _open(path, expected):
    """The decoded image and its raw mode: how many bits the file holds, which Pillow's mode does not tell."""
    try:
        with Image.open(path) as image:
            raw = str(image.tile[0][-1]) if image.format == "PNG" and image.tile else image.mode
            image.load()
            return image, raw
    except FileNotFoundError as error:
        raise InputError(path, "no such file", expected, "Put the file there or correct the list.") from error
    except IsADirectoryError as error:
        raise InputError(path, "a folder", expected, "Give the path of a file.") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(path, "no image", expected, "Replace the file by a JPEG or PNG.") from error
    except Image.DecompressionBombError as error:
        raise InputError(path, "an image of too many pixels", f"{expected} that fits in memory",
                         "Scale it down.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(path, f"a damaged image ({error})", expected, "Copy or download it again.") from error


def _kind(image, raw):
    if "16" in raw or image.mode not in _KINDS and image.mode != "RGB":
        return f"a 16-bit or float image (mode {raw})"
    return _KINDS.get(image.mode, "an RGB image (colours)")


def read_image(path):
    """uint8 (H,W,3) RGB, turned upright by its EXIF tag; anything but 8-bit RGB raises InputError."""
    image, raw = _open(path, "an 8-bit RGB image")
    if image.mode != "RGB" or "16" in raw:
        raise InputError(path, _kind(image, raw), "an 8-bit RGB image", _CONVERT)
    return np.array(ImageOps.exif_transpose(image))


def read_mask(path, classes, shape=None):
    """uint8 (H,W) class ids 0..``classes`` and 255 from a palette or grey PNG of size ``shape``, or SBD's ``.mat``.

    The palette *index* is the class, never the colour. A wrong mode, size or id raises InputError.
    """
    mask = _sbd_mask(path) if Path(path).suffix == ".mat" else _png_mask(path)
    if shape is not None and mask.shape != tuple(shape):
        sideways = mask.shape == tuple(shape)[::-1]
        raise InputError(path, f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels",
                         f"{shape[1]}x{shape[0]} as its image",
                         "Turn the mask: it lies on its side. Photos are turned as their EXIF tag says." if sideways
                         else "Export the mask at the image's size, without smoothing.")
    found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))           # as np.unique, in half the time
    wrong = np.setdiff1d(found, [*range(classes + 1), 255])
    if wrong.size:
        raise InputError(path, f"class id {wrong[0]}", f"0 (background), 1..{classes} or 255 (ignore)",
                         "Correct the mask or add the class to the list of names.")
    return mask


def _png_mask(path):
    image, raw = _open(path, "a mask")
    if image.mode not in ("P", "L", "1"):
        raise InputError(path, _kind(image, raw), "a mask with one 8-bit number a pixel (palette or grey PNG)",
                         "Save the class ids themselves in 8 bits, not colours.")
    # PNG optimisers store few grey values in 2 or 4 bits, and Pillow spreads those over 0..255: undo it
    return np.array(image, dtype=np.uint8) // {"L;2": 85, "L;4": 17}.get(raw, 1)


def _sbd_mask(path):
    """``GTcls.Segmentation`` of a MATLAB file of SBD, as torchvision's SBDataset reads it."""
    try:
        from scipy.io import loadmat
        return np.ascontiguousarray(loadmat(path)["GTcls"][0]["Segmentation"][0], dtype=np.uint8)
    except ImportError as error:
        raise InputError(path, "a MATLAB file, and no SciPy to read it", "SciPy", "pip install scipy") from error
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "a mask", "Put the file there or correct the list.") from error
    except Exception as error:       # SciPy raises whatever the broken bytes lead to
        raise InputError(path, f"a damaged MATLAB file ({error})", "a mask of SBD (GTcls.Segmentation)",
                         "Copy or download it again.") from error
