"""Nearest patches: what an extractor takes for alike, to look at."""

import numpy as np
import torch

from ..contrast.probe import encode_patches
from ..superpixels.patches import crop_patch, large_patches
from .pictures import overlay, strip
from .widgets import explore, menu, slider


class Neighbours:
    """The nearest patches of a patch in *other* images, by cosine of layer4, under several extractors.

    ``images``: indices into ``dataset`` · ``cache``: label maps · ``extractors``: dict name -> Backbone ·
    ``size``: input side in px · ``min_area``: px of a VOC photo, as in pretraining. Features are computed once, here.
    """

    def __init__(self, dataset, images, cache, extractors, size, min_area=400):
        self.dataset, self.cache = dataset, cache
        self.patches = {int(i): large_patches(cache[i], min_area * dataset.area_scale).tolist() for i in images}
        self.where = [(i, p) for i, ids in self.patches.items() for p in ids]            # (image, patch) of each row
        self.features = {name: encode_patches(extractor, dataset, self.patches, cache, size)
                         for name, extractor in extractors.items()}                      # name -> (P, C)

    def nearest(self, extractor, image, patch, count):
        """List of (cosine, image, patch), the nearest first; no patch of the image itself."""
        features, own = self.features[extractor], self.where.index((image, patch))
        cosines = features @ features[own]                                               # (P,)
        cosines[torch.tensor([i == image for i, _ in self.where])] = -2
        found = cosines.topk(count)
        return [(float(c), *self.where[at]) for c, at in zip(*found)]

    def panels(self, extractor, image, patch, count=6):
        """Panels for ``pictures.strip``: the image with the patch outlined, the patch, its nearest patches."""
        labels = self.cache[image]
        return [(extractor, overlay(self.dataset.image(image), (labels == patch).astype(np.uint8), 0.25)),
                ("patch", self._crop(image, patch)),
                *((f"cosine {c:.2f}", self._crop(i, p)) for c, i, p in self.nearest(extractor, image, patch, count))]

    def _crop(self, image, patch):
        return crop_patch(self.dataset.image(image), self.cache[image], patch)

    def render(self, image, patch, extractor):
        """PNG bytes for the ``patch``-th of image number ``image``, both counted from 0 and wrapping around."""
        i = list(self.patches)[image % len(self.patches)]
        return strip(self.panels(extractor, i, self.patches[i][patch % len(self.patches[i])]), height=120, columns=8)

    def box(self):
        """The widget: image, patch, extractor."""
        most = max(map(len, self.patches.values()))
        return explore(self.render, image=slider(0, len(self.patches) - 1, 0, "image"),
                       patch=slider(0, most - 1, 0, "patch"), extractor=menu(list(self.features), "extractor"))
