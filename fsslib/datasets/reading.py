"""Reads one photo or one mask: what can be read without doubt is read, the rest is refused in one sentence."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..basics.errors import InputError
from .class_names import conversion
from .formats import decode, upright

EXACT = ("PNG", "TIFF", "BMP", "GIF")        # formats that keep a mask's numbers
SMOOTHED = 8, 3, 0.1                         # so many wrong numbers in a mask, or so many on so few pixels, are grey values
_DEEP = (8, 10, 12, 14, 16)                  # bits a grey value may have


def read_image(path):
    """uint8 (H,W,3) RGB, turned upright by its EXIF tag.

    Grey, palette and CMYK pictures are converted, transparent ones laid on white, grey values of 10 to 16 bits scaled
    to 8 (by the number of bits that the largest needs). What has no one meaning raises InputError: several pictures in
    one file, negative or floating-point values outside 0..1.
    """
    image, raw = decode(path, "a photo")
    image = upright(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return np.repeat(_eight_bits(np.asarray(image), path)[..., None], 3, 2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    try:
        pixels = np.array(image.convert("RGB"))
    except ValueError as error:
        raise InputError(path, f"an image of mode {image.mode}", "a photo", _save_as_rgb(path)) from error
    if "16" in raw and pixels.max() < 16:
        raise InputError(path, f"colours of 16 bits of which only the lowest are used (at most {int(pixels.max()) + 1} in 256)",
                         "values up to 65535", "Scale it to 8 bits where it comes from.")
    return pixels


def _eight_bits(values, path):
    """uint8 (H,W) of grey values of more than 8 bits."""
    low, high = (float(values.min()), float(values.max())) if np.isfinite(values).all() else (np.nan, np.nan)
    if values.dtype.kind == "f" and 0 <= low and high <= 1:
        return np.round(values * 255).astype(np.uint8)
    if values.dtype.kind == "f" or low < 0 or high >= 2 ** 16:
        raise InputError(path, f"values from {low:g} to {high:g}", "a photo: 0..1, or whole numbers of at most 16 bits",
                         _scale(path))
    bits = next(bits for bits in _DEEP if high < 2 ** bits)
    return np.round(values * (255 / (2 ** bits - 1))).astype(np.uint8)


def _new_name(path):
    path = Path(path)
    return path.with_name(f"{path.stem}_8bit.png")


def _scale(path):
    return (f"Scale it, for example: `import numpy as np; from PIL import Image; a = np.nan_to_num(np.asarray(Image.open("
            f"{str(path)!r}), float)); Image.fromarray((255 * (a - a.min()) / max(np.ptp(a), 1e-9)).astype('uint8'))"
            f".save({str(_new_name(path))!r})`, and take this file out of the folder.")


def _save_as_rgb(path):
    return f"Save it again as 8-bit RGB in an image editor, as {_new_name(path).name}."


def read_mask(path, classes, shape=None):
    """uint8 (H,W) class ids 0..``classes`` and 255 from a PNG (or TIFF, BMP, GIF) of size ``shape``, or SBD's ``.mat``.

    The palette *index* is the class, never the colour. Another size, a number that is no class, colours and a format
    that changes numbers (JPEG, by its content) raise InputError.
    """
    mask = _sbd_mask(path) if Path(path).suffix == ".mat" else read_numbers(path, classes)
    if shape is not None and mask.shape != tuple(shape):
        sideways = mask.shape == tuple(shape)[::-1]
        raise InputError(path, f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels",
                         f"{shape[1]}x{shape[0]} as its image",
                         "Turn the mask: it lies on its side. Photos are turned as their EXIF tag says." if sideways
                         else "Export the mask at the image's size, without smoothing.")
    counts = np.bincount(mask.ravel(), minlength=256)                          # as np.unique, in half the time
    wrong = np.setdiff1d(np.flatnonzero(counts), [*range(classes + 1), 255])
    if wrong.size:
        _refuse_numbers(path, counts, wrong, classes)
    return mask.astype(np.uint8)


def _refuse_numbers(path, counts, wrong, classes):
    found, (many, some, rare) = np.flatnonzero(counts), SMOOTHED
    expected = f"0 (background), 1..{classes} or 255 (ignore)"
    convert = f"convert the masks: `{conversion(Path(path).parent)}` writes new ones beside them"
    if len(found) == 2 and found[0] == 0 and found[1] >= 100:
        raise InputError(path, f"only 0 and {found[1]}, class id {found[1]}", expected,
                         f"Correct the mask: if {found[1]} is the object, {convert}. Or add the class to the list of names.")
    if len(wrong) >= many or len(wrong) >= some and counts[wrong].sum() < rare * counts.sum():
        raise InputError(path, f"{len(found)} different numbers up to {found[-1]}: grey values from smoothing", expected,
                         f"Export the mask without smoothing (anti-aliasing), or {convert}.")
    ids = ", ".join(map(str, wrong))
    raise InputError(path, f"class id{'s' if len(wrong) > 1 else ''} {ids}", expected,
                     "Correct the mask or add the class to the list of names: line n names class n, without gaps.")


def read_numbers(path, classes):
    """Integer (H,W): the numbers of a mask's pixels as they stand there; colours raise InputError."""
    image, raw = decode(path, "a mask")
    if image.format not in EXACT or image.info.get("compression") == "jpeg":
        called = f" called {Path(path).suffix}" if Path(path).suffix.lower() not in (".jpg", ".jpeg") else ""
        raise InputError(path, f"a mask stored as {image.format}{called}", "a PNG: JPEG and its like change the class numbers",
                         "Export the mask again as PNG. Converting this file keeps its wrong numbers.")
    if image.mode in ("P", "L", "1"):
        # PNG optimisers store few grey values in 2 or 4 bits, and Pillow spreads those over 0..255: undo it
        numbers = np.array(image, dtype=np.uint8) // {"L;2": 85, "L;4": 17}.get(raw, 1)
        if image.mode == "P":
            _refuse_renumbered(path, image, numbers, classes)
        return numbers
    pixels = np.array(image)
    if pixels.ndim == 2 and pixels.dtype.kind in "iu" and pixels.min() >= 0 and pixels.max() < 2 ** 16:
        return pixels                        # few numbers in 16 bits
    if "16" not in raw and image.mode in ("RGB", "RGBA", "LA"):
        colours, alpha = pixels[..., :pixels.shape[2] - (image.mode[-1] == "A")], pixels[..., -1]
        if (colours == colours[..., :1]).all() and (image.mode == "RGB" or (alpha == 255).all()):
            return colours[..., 0]           # grey in three equal channels
    raise InputError(path, _colours(pixels) if pixels.ndim == 3 else f"values of mode {image.mode}",
                     "a mask with one 8-bit number a pixel (palette or grey PNG)",
                     "Save the class ids themselves in 8 bits, not colours; or convert: "
                     f"`{conversion(Path(path).parent, 'labelmap.txt')}` writes new masks beside these.")


def _refuse_renumbered(path, image, numbers, classes):
    """Tools that store grey values with a palette number them anew: 0 and 5 become 0 and 1. Then the colours are classes, too."""
    used = np.flatnonzero(np.bincount(numbers.ravel(), minlength=256))
    palette = np.zeros((256, 3), int)
    listed = np.array(image.getpalette() or [], int).reshape(-1, 3)[:256]
    palette[:len(listed)] = listed
    greys = palette[used, 0]
    if (palette[used] == greys[:, None]).all() and len(set(greys)) == len(used) and (greys <= classes).all() and (greys != used).any():
        raise InputError(path, f"the numbers {', '.join(map(str, used))} in the greys {', '.join(map(str, greys))} of a palette",
                         "one of the two", "Which are the classes? Export the mask as a grey PNG without a palette.")


def _colours(pixels):
    colours = np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)
    return f"colours ({len(colours)} of them, as {', '.join(str(tuple(colour)) for colour in colours[:3].tolist())})"


def _sbd_mask(path):
    """``GTcls.Segmentation`` of a MATLAB file of SBD, as torchvision's SBDataset reads it."""
    try:
        from scipy.io import loadmat
        return np.ascontiguousarray(loadmat(path)["GTcls"][0]["Segmentation"][0], dtype=np.uint8)
    except ImportError as error:
        raise InputError(path, "a MATLAB file, and no SciPy to read it", "SciPy", "pip install scipy") from error
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "a mask", "Put the file there or correct the list.") from error
    except PermissionError as error:
        raise InputError(path, f"a file that cannot be read ({error.strerror})", "a mask",
                         "Check its permissions; the file itself may be whole.") from error
    except Exception as error:       # SciPy raises whatever the broken bytes lead to
        raise InputError(path, f"a damaged MATLAB file ({error})", "a mask of SBD (GTcls.Segmentation)",
                         "Copy or download it again.") from error
