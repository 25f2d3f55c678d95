"""What lies in a file: its content decides, never its name."""

import warnings

from PIL import Image, ImageFile, ImageOps

from ..basics.errors import InputError

READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")       # what is decoded here; MPO is a JPEG
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif")
_PNG, _PAGE = b"\x89PNG\r\n\x1a\n", 254      # TIFF's tag NewSubfileType: bits 1 and 4 mark small copies and masks
_STARTS = {b"": "an empty file", b"<": "a text or a web page", b"{": "a JSON text", b"version https://git-lfs": "a Git LFS pointer",
           b"%PDF": "a PDF", b"PK\3\4": "a ZIP archive", b"\x1f\x8b": "a gzip archive", b"\x93NUMPY": "a NumPy array",
           b"8BPS": "a Photoshop file", b"\xff\x0a": "a JPEG XL photo", b"\0\0\0\x0cJXL ": "a JPEG XL photo",
           b"II*\0": "a TIFF of a kind that is not read", b"MM\0*": "a TIFF of a kind that is not read"}


def decode(path, expected):
    """(PIL image with its pixels, its raw mode: the bits that the file holds, which Pillow's own mode does not tell).

    A file that is none of ``READ``, is damaged, may not be read or holds several pictures raises InputError.
    """
    try:
        with opened(path) as image:
            _refuse_several(image, path, expected)
            args = image.tile[0][-1] if image.tile else image.mode
            raw = str(args[0] if isinstance(args, tuple) and args else args or image.mode)
            image.load()
            return image, raw
    except FileNotFoundError as error:
        raise InputError(path, "no such file", expected, "Put the file there or correct the list.") from error
    except IsADirectoryError as error:
        raise InputError(path, "a folder", expected, "Give the path of a file.") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(path, what_it_is(path), expected, "Replace the file by a JPEG or PNG: export it again, or convert "
                         "it with an image editor; a new name changes nothing.") from error
    except Image.DecompressionBombError as error:
        raise InputError(path, "an image of too many pixels", f"{expected} of at most {2 * Image.MAX_IMAGE_PIXELS // 10 ** 6} "
                         "megapixels", "Scale it down. Its mask likewise, without smoothing.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if getattr(error, "errno", None):            # the system's word, not Pillow's
            raise InputError(path, f"a file that cannot be read ({error.strerror})", expected,
                             "Check its permissions and the disk; the file itself may be whole.") from error
        raise InputError(path, f"a damaged image ({error})", expected, "Copy or download it again.") from error


def upright(image):
    """Turned as its EXIF tag says; a tag that cannot be read is no damage of the picture."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:                        # Pillow raises whatever the broken bytes lead to
        return image


def what_it_is(path):
    """A file that Pillow does not know, in words, by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(32)
    if head[4:8] == b"ftyp":
        return "an AVIF photo" if head[8:12] in (b"avif", b"avis") else "a HEIC photo or a film"
    if not head.strip(b"\0"):
        return "an empty file" if not head else "no image: zeros"
    kind = next((kind for start, kind in _STARTS.items() if start and head.startswith(start)), None)
    return f"no image: {kind}" if kind else "no image"


def opened(path):
    """The file as a PIL image whose pixels are not read yet; what is none of ``READ`` raises Pillow's errors."""
    with warnings.catch_warnings():          # its warning speaks of attacks; a photo too large is told by ``check``
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            Image.init()
            return Image.open(path, formats=[name for name in READ if name in Image.OPEN])     # not every Pillow has AVIF
        except (Image.UnidentifiedImageError, ValueError):
            with open(path, "rb") as file:
                if file.read(8) != _PNG:
                    raise
        try:                                 # a broken chunk beside the pixels, a comment say; the pixels are checked later
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            return Image.open(path, formats=["PNG"])
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False


def _refuse_several(image, path, expected):
    """An animation or a stack has no one picture. MPO's others belong to the first; so do a TIFF's small copies and masks."""
    count = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and count > 1:
        pages = []
        for page in range(count):
            image.seek(page)
            pages.append(not image.tag_v2.get(_PAGE, 0) & 5)
        image.seek(0)
        count = sum(pages)
    if count > 1 and image.format != "MPO":
        raise InputError(path, f"{count} pictures in one {image.format} file", expected,
                         "Save the one that you mean as a file of its own.")
