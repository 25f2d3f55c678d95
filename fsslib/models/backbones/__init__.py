"""Backbones: one interface to networks that turn an image into feature maps."""

import functools

import torch

from ...basics.errors import InputError
from .base import LAYERS, Backbone
from .efficientnet import DilatedDepthwise, EfficientNetLite
from .resnet import ResNet
from .tiny import Tiny
from .vgg import VGG16
from .vit import TRANSFORMERS, ViT
from .weights import fitted, imagenet_weights, misfit, read_weights

LITES = {f"efficientnet_lite{n}": functools.partial(EfficientNetLite, n) for n in (0, 1, 2)}
BACKBONES = {"vgg16": VGG16, **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in (18, 50, 101)}, **LITES, "tiny": Tiny}

__all__ = ["BACKBONES", "LAYERS", "Backbone", "DilatedDepthwise", "build_backbone", "imagenet_weights", "read_weights"]


def build_backbone(name, weights="imagenet", output_stride=8, batch_norm="eval"):
    """A Backbone with weights.

    ``name``: ``efficientnet_lite0`` to ``2`` (timm), ``vgg16``, ``resnet18``, ``resnet50``, ``resnet101`` (torchvision), ``tiny``, or
    timm's name of a plain vision transformer, such as ``vit_small_patch14_dinov2``. ``weights``: ``"imagenet"``, a path
    (``.safetensors``, or ``.pth`` read without unpickling code), or None for a random start. ``output_stride``: 8, what every
    episodic model expects, or 32 (no dilation). Raises InputError for an unknown name, missing weights or those of another network.
    """
    if name not in BACKBONES and not name.startswith(TRANSFORMERS):
        raise InputError("backbone", repr(name), f"one of {', '.join(BACKBONES)}, or timm's name of a vision transformer (vit_...)",
                         "Correct the name.")
    if output_stride not in (8, 32):
        raise InputError("output_stride", repr(output_stride), "8 or 32", "The models of this kit work at stride 8.")
    build = BACKBONES.get(name) or functools.partial(ViT, name)
    backbone = build(batch_norm=batch_norm, output_stride=output_stride)
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
    if found is None and isinstance(backbone, EfficientNetLite):             # its package has names of its own, in the same
        convolutions = list(state.values())[:len(own)]                       # order, and the classifier last
        if [v.shape for v in convolutions] == [v.shape for v in own.values()]:
            found = dict(zip(own, convolutions))
    if found is None:
        raise misfit(own, state, public, source, backbone.name)
    backbone.load_state_dict(found)
