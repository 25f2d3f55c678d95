"""Checkpoints: everything a run needs to go on as if it had never stopped, and nothing that executes."""

import hashlib
import io
import math
from dataclasses import asdict
from pathlib import Path

import torch

from .errors import InputError, not_readable
from .storage import atomic_path, user_path

PARTS = {"architecture": dict, "config": dict, "step": int, "model": dict, "optimizer": dict, "rows": list}


def weights_digest(model):
    """sha256 (hex) over names and values of a model's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path, **state):
    """Writes plain values and tensors, whole or not at all."""
    buffer = io.BytesIO()                    # torch's own writer names no cause when the disk is full
    torch.save(state, buffer)
    with atomic_path(path) as part:
        part.write_bytes(buffer.getbuffer())


def load_checkpoint(path, architecture=None):
    """Reads what ``save_checkpoint`` wrote, without unpickling code.

    A missing or damaged file, or one of another ``architecture`` (model, backbone, options; None: any), raises
    InputError.
    """
    path = user_path(path)
    if not path.is_file():
        raise InputError(path, "a folder" if path.is_dir() else "no such file", "a checkpoint",
                         "Correct the path, or train first: fsslib train --help.")
    if path.suffix == ".safetensors":
        raise InputError(path, "weights alone", "a checkpoint.pt of fsslib train", "Give them as --weights, or as --extractor.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        lacking = [name for name, kind in PARTS.items() if not isinstance(state[name], kind)]
        found = lacking or _name(state["architecture"])
    except PermissionError as error:
        raise not_readable(path, "a checkpoint") from error
    except Exception as error:
        raise InputError(path, f"no readable checkpoint ({type(error).__name__})", "a file written by fsslib train",
                         "Copy it again or train again.") from error
    if lacking:
        raise InputError(path, f"no readable checkpoint (in its part {lacking[0]!r})", "a file written by fsslib train",
                         "Copy it again or train again.")
    if architecture is not None and state["architecture"]["model"] == "moco" != architecture["model"]:
        raise InputError(path, "a checkpoint of fsslib pretrain", f"one of {_name(architecture)}",
                         f"Give {path.with_name('extractor.safetensors')}, its outcome, as --weights or as --extractor.")
    if architecture is not None and state["architecture"] != architecture:
        raise InputError(path, f"a checkpoint of {found}", _name(architecture),
                         "Build the model with the options that it was trained with.")
    return state


def fill(path, state, model, optimizer=None):
    """Copies a checkpoint's ``state`` into model and optimizer; tensors that do not fit raise InputError."""
    try:
        model.load_state_dict(state["model"])
        if optimizer:
            optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(path, "tensors of other names or shapes", f"those of {_name(state['architecture'])}",
                         "It was changed, or written by another version: train again.") from error


def restore(path, model, optimizer, config, data):
    """Fills model and optimizer from the run that ``path`` belongs to; returns (steps done, rows of its log).

    ``config``: dataclass of the run asked for, ``data``: dict of what it runs on; any difference from what the
    checkpoint was made with raises InputError.
    """
    state = load_checkpoint(path, model.architecture)
    then, now = {**data, **state.get("data", {}), **state["config"]}, {**data, **asdict(config)}
    changed = next((k for k, v in now.items() if then.get(k) != v), None)
    extractor = Path(path).with_name("extractor.safetensors")
    if changed == "steps" and state["step"] == then["steps"] or changed == "epochs" and extractor.exists():
        cure = ("start a new training from it, --checkpoint {}, with another --seed" if changed == "steps" else
                "start a new pretraining from its extractor, --weights {1}, with the same --batch-norm").format(path, extractor)
        raise InputError(path, f"a finished run with {changed}={then[changed]!r}", f"{changed}={now[changed]!r} as asked now",
                         f"Its learning rates went down to its last step; to learn more, {cure}, another --out and no --resume.")
    if changed:
        raise InputError(path, f"a run with {changed}={then.get(changed)!r}",
                         f"{changed}={now[changed]!r} as asked now",
                         "Resume with the same options, or give another --out.")
    fill(path, state, model, optimizer)
    return state["step"], state["rows"]


def refuse_other_start(path, state, dataset, classes):
    """Raises InputError if a training on the class ids ``classes`` of ``dataset`` cannot start from the run behind ``state``: a
    class learned there and not here would count as never seen."""
    run, names = state.get("data", {}), [dataset.class_names[c - 1] for c in classes]
    learned = run.get("names", ())
    if run.get("dataset") != dataset.name or not learned or set(learned) - set(names):
        raise InputError(path, f"a model trained on {', '.join(learned) or 'unknown classes'} of {run.get('dataset')}",
                         f"one of {', '.join(names)} of {dataset.name} alone, which are learned now",
                         "Give a checkpoint of the same --dataset and --fold.")


def refuse_infinite(loss, step, lr, path):
    """Raises InputError for a loss that is not finite, naming the last good checkpoint if ``path`` is one."""
    if not math.isfinite(loss):
        kept = f"the last good checkpoint is {path}" if path and path.exists() else "no step was kept yet"
        raise InputError(f"training step {step}", f"loss {loss}", "a finite number",
                         f"Lower lr ({lr:g} at this step); {kept}.")


def refuse_seen(path, state, dataset, classes):
    """Raises InputError if the run behind ``state`` trained on any of the class ids ``classes`` of ``dataset``.

    Two folders of own images are different data sets of one name: there the names of the classes tell.
    """
    run, names = state.get("data", {}), dict(enumerate(dataset.class_names, 1))
    learned = run.get("names", [names.get(c) for c in run.get("classes", ())])
    seen = [c for c in sorted(classes) if c in names and names[c] in learned] if run.get("dataset") == dataset.name else ()
    if seen:
        raise InputError(path, f"a model trained on the classes {', '.join(map(str, seen))} that it is scored on",
                         "one that has never seen the novel classes",
                         "Give the --fold that it was trained for, or --classes that it has not learned.")


def _name(architecture):
    options = ", ".join(f"{k}={v}" for k, v in architecture["options"].items())
    return f"{architecture['model']} on {architecture['backbone']}" + (f" ({options})" if options else "")
