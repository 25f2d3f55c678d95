"""Pictures of patches, and the explorer of notebook 03: both methods, all their parameters, what the patches score."""

import ipywidgets
import numpy as np
from PIL import Image

from ..superpixels import METHODS, segment
from ..superpixels.statistics import boundaries, summary
from .pictures import strip
from .widgets import explore, menu, slider

OWN = {"slic": ("n_segments", "compactness"), "felzenszwalb": ("scale", "sigma", "min_size")}


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


class PatchExplorer:
    """Patches of ``pictures``: dict name -> (image uint8 (H,W,3), mask uint8 (H,W) or None)."""

    def __init__(self, pictures):
        self.pictures = pictures

    def render(self, picture, method, **parameters):
        """PNG bytes: outlines, patches in their mean colour, and the statistics in the captions.

        ``parameters``: those of both methods; the other method's are left aside.
        """
        image, mask = self.pictures[picture]
        labels = segment(image, method, **{name: parameters[name] for name in OWN[method]})
        return strip(panels(image, labels, mask), height=240)

    def box(self):
        """The widget; the other method's sliders are grey."""
        controls = dict(
            picture=menu(list(self.pictures), "picture"), method=menu(list(METHODS), "method"),
            n_segments=slider(4, 400, 50, "K"),
            compactness=steps((0.1, 0.3, 1, 3, 10, 30, 100, 1000), 10, "compactness"),
            scale=steps((1, 10, 30, 100, 300, 1000, 3000), 100, "scale k"),
            sigma=steps((0, 0.4, 0.8, 1.5, 3), 0.8, "sigma"), min_size=slider(1, 1000, 100, "minimum size"))

        def grey(_=None):
            for method, names in OWN.items():
                for name in names:
                    controls[name].disabled = method != controls["method"].value
        controls["method"].observe(grey, "value")
        grey()
        return explore(self.render, **controls)


def steps(values, value, name):
    """A slider over uneven steps."""
    return ipywidgets.SelectionSlider(options=values, value=value, description=name)


def panels(image, labels, mask=None):
    """Panels for ``pictures.strip`` and ``pictures.show``: outlines and mean colours, captioned with the statistics."""
    found = summary(labels, mask)
    quality = "each patch in its mean colour" if mask is None or np.isnan(found["recall"]) else \
        f"USE {100 * found['undersegmentation']:.0f} %, boundary recall {100 * found['recall']:.0f} %"
    return [(f"{found['patches']} patches, median {found['median']:.0f} px", outlined(image, labels)),
            (quality, mean_colours(image, labels))]
