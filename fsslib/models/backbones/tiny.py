"""A toy for tests."""

import torch.nn.functional as F
from torch import nn

from .base import Backbone


class Tiny(Backbone):
    """Four small convolutions, for tests and for a look at the interface; it has no pretrained weights."""
    channels = {"layer2": 8, "layer3": 12, "layer4": 16}
    prototype_maps = ("layer4",)

    def __init__(self, batch_norm="eval", output_stride=8):
        super().__init__(batch_norm)
        self.stem = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(nn.Conv2d(i, o, 3, stride=s, padding=1), nn.BatchNorm2d(o))
            for i, o, s in ((8, 8, 2), (8, 12, 1), (12, 16, 1)))

    def features_of(self, x):
        layer2 = F.relu(self.layer2(F.relu(self.stem(x))))
        layer3 = F.relu(self.layer3(layer2))
        return {"layer2": layer2, "layer3": layer3, "layer4": self.layer4(layer3)}

    def high_level(self, layer3):
        return self.layer4(layer3)
