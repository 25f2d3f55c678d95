"""``build_model``: every system of the kit behind one signature, ``model(EpisodeBatch) -> EpisodeOutput``."""

import torch

from ..basics.errors import InputError
from .backbones import build_backbone

MODELS = ("panet", "pfenet", "qgnet", "symnet", "whichnet")


def model_class(name):
    """The class of a model of that name; an unknown name raises InputError."""
    from .panet import PANet
    from .pfenet import PFENet
    from .qgnet import QGNet
    from .symnet.symnet import SymNet
    from .whichnet import WhichNet
    classes = dict(zip(MODELS, (PANet, PFENet, QGNet, SymNet, WhichNet)))
    if name not in classes:
        raise InputError("model", repr(name), f"one of {', '.join(MODELS)}", "Correct the name.")
    return classes[name]


def architecture(name, backbone, **options):
    """What a checkpoint stores and compares: model, backbone and every option, defaults filled in.

    An unknown model or option raises InputError.
    """
    known = model_class(name).OPTIONS
    if unknown := set(options) - set(known):
        raise InputError(f"option of {name}", repr(sorted(unknown)[0]), f"one of {', '.join(known)}",
                         "Correct the name.")
    return {"model": name, "backbone": backbone, "options": {**known, **options}}


def build_model(name, backbone="efficientnet_lite0", weights="imagenet", batch_norm="eval", extractor=None,
                extractor_backbone=None, **options):
    """A model on a backbone.

    ``name``: one of ``MODELS``. ``backbone``, ``weights``, ``batch_norm``: see ``backbones.build_backbone``.
    ``extractor``: weights of QGNet's prior extractor, a file of ``fsslib pretrain`` or as ``weights``; ``"random"`` or None
    is a random start, a control, the first the same one always. ``extractor_backbone``: its network, by default ``backbone``. ``options`` go to the
    model's class. The model carries its ``architecture``. Unknown names and options raise InputError.
    """
    described = architecture(name, backbone, **options)
    networks = [build_backbone(backbone, weights, batch_norm=batch_norm)]
    if name == "qgnet":
        with torch.random.fork_rng(devices=[], enabled=extractor == "random"):
            if extractor == "random":
                torch.manual_seed(0)         # one control for all seeds of a training, as a pretrained extractor is
            networks.append(build_backbone(extractor_backbone or backbone, None if extractor == "random" else extractor))
        described["extractor"] = networks[1].name
    elif extractor or extractor_backbone:
        raise InputError("extractor", str(extractor or extractor_backbone), f"none, {name} has no prior extractor",
                         "Leave it out, or build qgnet.")
    model = model_class(name)(*networks, **options)
    model.architecture = described
    return model
