"""What computes: versions and hardware, for the foot of a result."""

import platform

import torch

from .. import __version__


def versions():
    """Versions of what computes: dict name -> str."""
    import numpy
    import timm
    import torchvision
    return {"fsslib": __version__, "python": platform.python_version(), "torch": torch.__version__,
            "torchvision": torchvision.__version__, "timm": timm.__version__, "numpy": numpy.__version__}


def hardware():
    """A line for the table's foot: GPU name, or the number of CPU threads and the architecture."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
