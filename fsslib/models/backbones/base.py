"""What every backbone is: images in, three feature maps out, at stride 8 or undilated."""

import torch
from torch import nn

from ...basics.errors import InputError
from ...episodes.transforms import IMAGENET_MEAN, IMAGENET_STD

LAYERS = ("layer2", "layer3", "layer4")      # layer2 and layer3: mid-level features, layer4: high-level


class Backbone(nn.Module):
    """``images`` float (B,3,H,W) in 0..1 -> dict of feature maps (B,C,h,w), named ``LAYERS``, about H/8 x W/8.

    ``output_stride``: 8, or 32 for the network as it was made for classification (contrastive pretraining; the
    weights are the same, the maps coarser and far cheaper) · ``channels``: dict map name -> C, those of ``blocks`` too ·
    ``blocks``: dict layer -> names of the maps that its single blocks give, before their ReLU and of the layer's own size, the
    layer itself where there are none; computed only when a forward pass is asked for them (``blocks=True``) ·
    ``prototype_maps``: the maps PANet compares · ``mid_scale``: what brings layer2 and layer3 to the size of a ResNet's
    (about 1), for which the decoders' learning rates are meant · ``batch_norm``: ``"eval"`` (default) keeps stored
    statistics whatever the mode; ``"train"`` lets ``.train()`` use and update batch statistics, as PFENet's and QGNet's released code does
    with its "frozen" backbone.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    channels = {}
    blocks = {layer: (layer,) for layer in LAYERS}
    prototype_maps = ("layer4",)
    mid_scale = 1.0

    def __init__(self, batch_norm="eval", output_stride=8):
        super().__init__()
        if batch_norm not in ("eval", "train"):
            raise InputError("batch_norm", repr(batch_norm), "'eval' or 'train'", "Correct the option.")
        self.batch_norm = batch_norm
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images, blocks=False):
        x = (images - self._mean) / self._std
        return self.features_of(x) | (self.blocks_of(x) if blocks else {})

    def blocks_of(self, x):
        """Normalised images -> dict of the maps named in ``blocks``, but for ``LAYERS``."""
        return {}

    def high_level(self, layer3):
        """``layer3`` (B,C,h,w) -> ``layer4``: the last stage alone, for PFENet's pass over masked features."""
        raise NotImplementedError

    def region_features(self, layer3, layer4):
        """Maps (...,C,h,w) -> what guided region maps compare: PFENet's choice, ``layer4``."""
        return layer4

    @staticmethod
    def public_name(name):
        """The name in published files of the tensor that is called ``name`` here."""
        return name

    def train(self, mode=True):
        super().train(mode)
        if self.batch_norm == "eval":
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
