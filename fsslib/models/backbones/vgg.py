"""VGG-16, the backbone of PANet and of QGNet's Table 1."""

import torchvision
from torch import nn

from .base import Backbone


class VGG16(Backbone):
    """VGG-16 convolutions as PANet runs them: 3x3 max-pools of strides 2, 2, 2, 1, conv5 dilated 2.

    417 px -> 53x53 (undilated it ends at stride 16). ``layer2``: conv3 after its pool; ``layer3``, ``layer4``: conv4
    and conv5 after their last ReLU; ``conv5``: conv5_3 before that ReLU, PANet's encoder output. Keys as torchvision's
    ``vgg16().features``.
    """
    BLOCKS = {"layer3": (17, 19, 21), "layer4": (24, 26, 28)}            # convolutions of conv4 and conv5; conv3 lies before its pool
    blocks = {"layer2": ("layer2",), **{layer: tuple(f"{layer}.{n}" for n in range(3)) for layer in BLOCKS}}
    channels = {"layer2": 256, "layer3": 512, "layer4": 512, "conv5": 512,
                **{f"{layer}.{n}": 512 for layer in ("layer3", "layer4") for n in range(3)}}
    prototype_maps = ("conv5",)
    ENDS = {"layer2": 16, "layer3": 22, "conv5": 28, "layer4": 29}       # index in ``features`` of each map

    def __init__(self, batch_norm="eval", output_stride=8):
        super().__init__(batch_norm)
        layers = torchvision.models.vgg.cfgs["D"]                        # vgg16() would draw its classifier too: 3 s
        self.features = torchvision.models.vgg.make_layers(layers)[:30]
        for at, stride in zip((4, 9, 16, 23), (2, 2, 2, 1 if output_stride == 8 else 2)):
            self.features[at] = nn.MaxPool2d(3, stride, padding=1)
        for at in (24, 26, 28) if output_stride == 8 else ():
            self.features[at].dilation = self.features[at].padding = (2, 2)
        for module in self.features:
            if isinstance(module, nn.Conv2d):                            # torchvision's random start
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
        self.features[29].inplace = False                                # "conv5" must survive the ReLU

    def features_of(self, x):
        maps = {}
        for at, layer in enumerate(self.features):
            x = layer(x)
            maps.update({name: x for name, end in self.ENDS.items() if end == at})
        return maps

    def blocks_of(self, x):
        names = {at: name for layer, ats in self.BLOCKS.items() for at, name in zip(ats, self.blocks[layer])}
        maps = {}
        for at, layer in enumerate(self.features):
            x = layer(x)
            if at in names:
                maps[names[at]] = x.clone()                              # the ReLU behind it works in place
        return maps

    def high_level(self, layer3):
        return self.features[self.ENDS["layer3"] + 1:](layer3)
