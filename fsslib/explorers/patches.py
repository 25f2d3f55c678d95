"""Pictures of patches: their outlines on the image, their mean colours, and figures' small photos."""

import numpy as np
from PIL import Image

from ..superpixels.statistics import boundaries


def photo(name, width=192):
    """uint8 (H,W,3): a photo of the scikit-image wheel (astronaut, chelsea, coffee, rocket), made ``width`` px wide."""
    import skimage.data
    image = Image.fromarray(getattr(skimage.data, name)())
    height = round(width * image.height / image.width)
    return np.array(image.resize((width, height), Image.Resampling.LANCZOS))


def outlined(image, labels, zoom=2, colour=(255, 230, 0)):
    """uint8 (zoom H, zoom W, 3): ``image`` enlarged, with a line of one pixel around each patch of ``labels``."""
    large = image.repeat(zoom, 0).repeat(zoom, 1)
    large[boundaries(labels.repeat(zoom, 0).repeat(zoom, 1))] = colour
    return large


def mean_colours(image, labels):
    """uint8 (H,W,3): each patch in the mean colour of its pixels: what is left of an image of patches."""
    area = np.maximum(np.bincount(labels.ravel()), 1)
    means = [np.bincount(labels.ravel(), image[..., c].ravel()) / area for c in range(3)]
    return np.stack(means, 1).round().astype(np.uint8)[labels]
