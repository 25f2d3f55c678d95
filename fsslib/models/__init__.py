"""``build_model``: every system of the kit behind one signature, ``model(EpisodeBatch) -> EpisodeOutput``."""

from dataclasses import dataclass, field

import torch

from ..backbones import build_backbone
from ..errors import InputError

MODELS = ("panet",)


@dataclass
class EpisodeOutput:
    """``logits`` float (B,1+N,S,S) at input size, channel 0 background · ``losses``: dict name -> scalar, summed for
    training, empty in eval mode · ``maps``: dict name -> tensor of what the model looked at, for pictures."""
    logits: torch.Tensor
    losses: dict = field(default_factory=dict)
    maps: dict = field(default_factory=dict)


def architecture(name, backbone, **options):
    """What a checkpoint stores and compares: model, backbone and every option, defaults filled in.

    An unknown model or option raises InputError.
    """
    if name not in MODELS:
        raise InputError("model", repr(name), f"one of {', '.join(MODELS)}", "Correct the name.")
    from .panet import PANet
    if unknown := set(options) - set(PANet.OPTIONS):
        raise InputError(f"option of {name}", repr(sorted(unknown)[0]), f"one of {', '.join(PANet.OPTIONS)}",
                         "Correct the name.")
    return {"model": name, "backbone": backbone, "options": {**PANet.OPTIONS, **options}}


def build_model(name, backbone="efficientnet_lite0", weights="imagenet", batch_norm="eval", **options):
    """A model on a backbone.

    ``name``: one of ``MODELS``. ``backbone``, ``weights``, ``batch_norm``: see ``backbones.build_backbone``.
    ``options`` go to the model's class. The model carries its ``architecture``. Unknown names and options raise
    InputError.
    """
    described = architecture(name, backbone, **options)
    from .panet import PANet
    model = PANet(build_backbone(backbone, weights, batch_norm=batch_norm), **options)
    model.architecture = described
    return model
