"""Checkpoints: everything a run needs to go on as if it had never stopped, and nothing that executes."""

import hashlib
from pathlib import Path

import torch

from .errors import InputError
from .storage import atomic_path


def weights_digest(model):
    """sha256 (hex) over names and values of a model's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path, **state):
    """Writes plain values and tensors, whole or not at all."""
    with atomic_path(path) as part:
        torch.save(state, part)


def load_checkpoint(path, architecture):
    """Reads what ``save_checkpoint`` wrote, without unpickling code.

    A missing or damaged file, or one of another ``architecture`` (model, backbone, options), raises InputError.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "a checkpoint", "Correct the path, or train first: fsslib train --help.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["architecture"]
    except Exception as error:
        raise InputError(path, f"no readable checkpoint ({type(error).__name__})", "a file written by fsslib train",
                         "Copy it again or train again.") from error
    if found != architecture:
        raise InputError(path, f"a checkpoint of {_name(found)}", _name(architecture),
                         "Build the model with the options that it was trained with.")
    return state


def _name(architecture):
    options = ", ".join(f"{k}={v}" for k, v in architecture["options"].items())
    return f"{architecture['model']} on {architecture['backbone']}" + (f" ({options})" if options else "")
