"""Vision transformers of timm, such as DINOv2's and DINOv3's, from a file of weights."""

import timm
import torch.nn.functional as F
from timm.layers import PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from ...basics.errors import InputError
from .base import LAYERS, Backbone

TRANSFORMERS = "vit_", "test_vit"            # how their names begin
SHARES = 1 / 2, 3 / 4, 1                     # of the blocks, behind which layer2, layer3 and layer4 are taken


class ViT(Backbone):
    """timm's ``name``, at any input size: 225 px -> 29x29.

    A transformer has one resolution, a vector a patch of 14 or 16 px. The picture is resized to (29·14)x(29·14), so that there
    are as many vectors as places in a convolutional network's maps; ``output_stride`` 32 makes fewer. ``layer2``, ``layer3``,
    ``layer4`` follow a half, three quarters and all of the blocks, each through the last layer's normalisation, which gives
    vectors of size 1 a channel. Which block is the best key has not been measured here. Class and register tokens are left aside.
    """

    def __init__(self, name, batch_norm="eval", output_stride=8):
        net = _created(name) if timm.is_model(name) else None
        if not isinstance(net, (VisionTransformer, Eva)) or type(net.patch_embed) is not PatchEmbed:
            raise InputError("backbone", repr(name), "timm's name of a plain vision transformer (vit_...), or a backbone of "
                             "the kit", "Correct the name.")
        self.mean, self.std = net.default_cfg["mean"], net.default_cfg["std"]
        super().__init__(batch_norm)
        self.net, self.output_stride = net, output_stride
        self.patch, blocks = net.patch_embed.patch_size, len(net.blocks)
        self.blocks = [max(1, round(blocks * share)) - 1 for share in SHARES]
        self.channels = dict.fromkeys(LAYERS, net.embed_dim)

    @staticmethod
    def public_name(name):
        return name.removeprefix("net.")

    def features_of(self, x):
        places = [(side - 1) // self.output_stride + 1 for side in x.shape[-2:]]
        x = F.interpolate(x, [n * p for n, p in zip(places, self.patch)], mode="bilinear", antialias=True)
        return dict(zip(LAYERS, self.net.forward_intermediates(x, indices=self.blocks, norm=True, output_fmt="NCHW",
                                                               intermediates_only=True)))

    def high_level(self, layer3):
        raise InputError("masked_pass", "a transformer, whose last blocks see the whole picture", "a convolutional backbone",
                         "Leave masked_pass at false.")


def _created(name):
    try:
        return timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError:                        # a relative that keeps to one size
        return None
