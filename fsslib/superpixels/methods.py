"""Both methods of scikit-image behind one interface, checked."""

import inspect
import math

import numpy as np

from ..basics.errors import InputError


def slic_patches(image, n_segments=50, compactness=10.0):
    """int32 (H,W), labels 0..n-1 without gaps: scikit-image's SLIC (Achanta et al. 2012).

    ``image``: uint8 (H,W,3) · ``n_segments``: K, about how many patches; fewer come out, because stray pieces
    join a neighbour · ``compactness``: m of eq. 4, large for square patches, small for patches that follow
    colours. Raises InputError for another image, a K below 1 or above the number of pixels, an m of 0 or less.
    The paper gives neither K nor m; 50 and 10 are this kit's choice (about 4 600 px a patch on a VOC photo).
    """
    from skimage.segmentation import slic
    image = _checked(image, "slic", n_segments=n_segments, compactness=compactness)
    return _without_gaps(slic(image, n_segments, compactness, start_label=0, channel_axis=-1))


def felzenszwalb_patches(image, scale=100.0, sigma=0.8, min_size=300):
    """int32 (H,W), labels 0..n-1 without gaps: graph segmentation (Felzenszwalb and Huttenlocher 2004; Algorithm 1).

    ``image``: uint8 (H,W,3) · ``scale``: k of the threshold k/|C|, for colours 0..255; larger keeps larger
    patches · ``sigma``: Gaussian smoothing beforehand, px · ``min_size``: patches below so many px join a
    neighbour. Raises InputError for another image, a scale of 0 or less, a negative sigma, a min_size below 1.
    The paper gives none of the three; these give patches of about 900 px (median) on a VOC photo, smaller than
    SLIC's as in its Figure 4.
    """
    from skimage.segmentation import felzenszwalb
    image = _checked(image, "felzenszwalb", scale=scale, sigma=sigma, min_size=min_size)
    return _without_gaps(felzenszwalb(image, scale, sigma, min_size, channel_axis=-1))


METHODS = {"slic": slic_patches, "felzenszwalb": felzenszwalb_patches}


def segment(image, method="slic", **parameters):
    """int32 (H,W), labels 0..n-1: the patches of ``METHODS[method]``; InputError for an unknown method or parameter."""
    parameters = resolve(method, parameters)
    return METHODS[method](image, **parameters)


def resolve(method, parameters):
    """dict: ``parameters`` of ``method`` with its defaults filled in; InputError for an unknown name or a bad value."""
    if method not in METHODS:
        raise InputError("superpixel method", repr(method), f"one of {', '.join(METHODS)}", "Correct the name.")
    known = {name: p.default for name, p in inspect.signature(METHODS[method]).parameters.items() if name != "image"}
    for name in parameters:
        if name not in known:
            raise InputError(f"{method} parameter", repr(name), f"one of {', '.join(known)}", "Correct the name.")
    resolved = {name: parameters.get(name, default) for name, default in known.items()}
    for name, value in resolved.items():
        _check_value(method, name, value)
    return {name: type(known[name])(value) for name, value in resolved.items()}       # 10 and 10.0 are one setting


_BOUNDS = {"n_segments": "a whole number of 1 or more", "compactness": "a number above 0",
           "scale": "a number above 0", "sigma": "a number of 0 or more", "min_size": "a whole number of 1 or more"}


def _check_value(method, name, value):
    whole, bound = "whole" in _BOUNDS[name], _BOUNDS[name]
    number = isinstance(value, (int, np.integer) if whole else (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not number or not math.isfinite(value) or value < 0 or \
            (value == 0 and name != "sigma"):
        raise InputError(f"{method} {name}", repr(value), bound, f"Give {name} as {bound}.")


def _checked(image, method, **values):
    """``image`` if it and the values can be used, else InputError."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 \
            or image.size == 0:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError("image", found, "a uint8 array (H,W,3)", "Convert it to 8-bit RGB first.")
    for name, value in values.items():
        _check_value(method, name, value)
    (height, width, _), count = image.shape, values.get("n_segments", 1)
    if count > height * width:
        raise InputError(f"{method} n_segments", count, f"at most {height * width}, the pixels of this "
                         f"{width}x{height} image", "Give a smaller n_segments or a larger image.")
    return image


def _without_gaps(labels):
    used = np.bincount(labels.ravel()) > 0
    return (np.cumsum(used, dtype=np.int32) - 1)[labels]
