"""Reads one image or one mask, or says in one sentence why not."""

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError

_CONVERT = "Save it again as 8-bit RGB, for example with PIL: Image.open(path).convert('RGB').save(path)."
_KINDS = {"L": "a grey image", "1": "a black-and-white image", "RGBA": "an RGBA image (with transparency)",
          "LA": "a grey image with transparency", "P": "a palette image", "CMYK": "a CMYK image"}


def _open(path, expected):
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise InputError(path, "no such file", expected, "Put the file there or correct the list.") from error
    except IsADirectoryError as error:
        raise InputError(path, "a folder", expected, "Give the path of a file.") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(path, "no image", expected, "Replace the file by a JPEG or PNG.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(path, f"a damaged image ({error})", expected, "Copy or download it again.") from error


def _kind(image):
    return _KINDS.get(image.mode, f"a 16-bit or float image (mode {image.mode})")


def read_image(path):
    """uint8 (H,W,3) RGB, turned upright by its EXIF tag; anything but 8-bit RGB raises InputError."""
    image = _open(path, "an 8-bit RGB image")
    if image.mode != "RGB":
        raise InputError(path, _kind(image), "an 8-bit RGB image", _CONVERT)
    return np.array(ImageOps.exif_transpose(image))


def read_mask(path, classes, shape=None):
    """uint8 (H,W) class ids 0..``classes`` and 255 from a palette or 8-bit grey PNG of size ``shape``.

    The palette *index* is the class, never the colour. A wrong mode, size or id raises InputError.
    """
    image = _open(path, "a mask")
    if image.mode not in ("P", "L", "1"):
        raise InputError(path, _kind(image), "a mask with one 8-bit number a pixel (palette or grey PNG)",
                         "Save the class ids themselves, not colours.")
    mask = np.array(image, dtype=np.uint8)
    if shape is not None and mask.shape != tuple(shape):
        raise InputError(path, f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels",
                         f"{shape[1]}x{shape[0]} as its image",
                         "Export the mask at the image's size, without smoothing.")
    wrong = np.setdiff1d(np.unique(mask), [*range(classes + 1), 255])
    if wrong.size:
        raise InputError(path, f"class id {wrong[0]}", f"0 (background), 1..{classes} or 255 (ignore)",
                         "Correct the mask or add the class to the list of names.")
    return mask
