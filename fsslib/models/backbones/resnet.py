"""ResNets of torchvision."""

import torchvision
from torch import nn

from ...basics.errors import InputError
from .base import Backbone


class ResNet(Backbone):
    """torchvision's ResNet (7x7 stem, not PFENet's deep stem), layers 3 and 4 dilated: 473 px -> 60x60.

    ResNet-18's blocks cannot be dilated: it exists at stride 32 only, to pretrain and to compare speeds.
    """
    prototype_maps = ("layer3",)

    def __init__(self, depth, batch_norm="eval", output_stride=8):
        super().__init__(batch_norm)
        wide = 1 if depth == 18 else 4
        self.channels = {"layer2": 128 * wide, "layer3": 256 * wide, "layer4": 512 * wide}
        widths = dict(self.channels)
        dilated = output_stride == 8
        if dilated and depth == 18:
            raise InputError("output_stride", "8 for resnet18", "32",
                             "Take resnet50, or pretrain resnet18 without the probe (--probe-every 0).")
        build = getattr(torchvision.models, f"resnet{depth}")
        net = build(weights=None, **({"replace_stride_with_dilation": [False, True, True]} if dilated else {}))
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4

        if depth > 18:
            self.blocks = {layer: tuple(f"{layer}.{n}" for n in range(len(getattr(self, layer)))) for layer in widths}
            self.channels |= {name: widths[layer] for layer, names in self.blocks.items() for name in names}

    @staticmethod
    def public_name(name):
        return name.replace("stem.0.", "conv1.").replace("stem.1.", "bn1.")

    def features_of(self, x):
        layer2 = self.layer2(self.layer1(self.stem(x)))
        layer3 = self.layer3(layer2)
        return {"layer2": layer2, "layer3": layer3, "layer4": self.layer4(layer3)}

    def blocks_of(self, x):
        x, maps = self.layer1(self.stem(x)), {}
        for layer, names in self.blocks.items():
            for block, name in zip(getattr(self, layer), names):
                maps[name] = bottleneck(block, x)
                x = block.relu(maps[name].clone())                       # which works in place
        return maps

    def high_level(self, layer3):
        return self.layer4(layer3)


def bottleneck(block, x):
    """torchvision's Bottleneck without its last ReLU."""
    y = block.relu(block.bn1(block.conv1(x)))
    y = block.bn3(block.conv3(block.relu(block.bn2(block.conv2(y)))))
    return y + (x if block.downsample is None else block.downsample(x))
