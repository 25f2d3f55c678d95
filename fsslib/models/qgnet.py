"""QGNet: PFENet's decoder with a second map, drawn from the query alone by a network that learned without labels.

Liu, Wu, Zhao, Fang, Fu, Chen: Few-Shot Segmentation with Global and Local Contrastive Learning, 2021. The *prior
extractor* F_p was pretrained by contrast (``fsslib.contrast``); where its features of the query agree with those of
the supervised backbone F, the *prior region map* is high (eq. 9-12).
"""

import warnings

from torch import nn

from ..basics.errors import InputError
from ..regions.maps import prior_region_map
from .encoder import Encoder
from .fem import he_initialised
from .pfenet import PFENet

PROJECTIONS = ("none", "learned")


class QGNet(PFENet):
    """``extractor``: F_p, a backbone that never learns here · ``prior``: use the prior map · ``projection``:
    ``"none"``, the paper's plain cosine, or ``"learned"``, the released code's two 3x3 convolutions, which also bring
    networks of different widths together · ``options``: PFENet's.
    """

    def __init__(self, backbone, extractor, prior=True, projection="none", **options):
        if projection not in PROJECTIONS:
            raise InputError("projection", repr(projection), f"one of {', '.join(PROJECTIONS)}", "Correct the name.")
        self.prior = prior
        super().__init__(backbone, **options)
        self.extractor, self.projection = extractor.requires_grad_(False), projection
        if not prior:
            return
        self.encoders.append(Encoder(extractor, ("layer4",)))
        C, C_p, W = backbone.channels["layer4"], extractor.channels["layer4"], self.reduce_query[0].out_channels
        if projection == "learned":
            self.project_query, self.project_prior = (he_initialised(projected(c, W)) for c in (C, C_p))
        elif C != C_p:
            raise InputError("prior extractor", f"{C_p} channels from {extractor.name}", f"{C} as {backbone.name} has",
                             "Take an extractor of the same backbone, or projection=\"learned\".")
        elif self.frozen and same_weights(backbone, extractor):
            warnings.warn("prior extractor and backbone are one network: every cosine is 1 and the prior map is "
                          "rounding noise; give a pretrained extractor, or projection=\"learned\"")

    OPTIONS = {"prior": True, "projection": "none", **PFENet.OPTIONS}

    def count_maps(self):
        return super().count_maps() + int(self.prior)

    def region_maps(self, support, query, masks, class_ids=None):
        maps = super().region_maps(support, query, masks, class_ids)
        if self.prior:
            own = sum(self.encoders[0].channels)
            (_, _, x), (p,) = self.encoders[0].split(query), self.encoders[1].split(query[:, own:])   # (B, C_p, h, w)
            if self.projection == "learned":
                x, p = self.project_query(x), self.project_prior(p)
            maps["prior"] = prior_region_map(x, p)                                                    # (B, 1, h, w)
        return maps


def projected(channels, width):
    """3x3 convolution without bias, ReLU, dropout of whole channels."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU(), nn.Dropout2d(0.5))


def same_weights(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(a[name].shape == b[name].shape and bool((a[name] == b[name]).all()) for name in a)
