"""What computes: versions and hardware, for the foot of a result. Loads torch only to ask for a GPU."""

import platform
from importlib import metadata

from .. import __version__

LIBRARIES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow", "scikit-image", "matplotlib",
             "ipywidgets", "papermill")


def versions():
    """{name: version} of Python, fsslib and the libraries whose version can change a number or a picture."""
    found = {"python": platform.python_version(), "fsslib": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware():
    """A line for the table's foot: GPU name, or the number of CPU threads and the architecture."""
    import torch
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
