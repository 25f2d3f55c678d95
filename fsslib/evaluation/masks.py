"""Answers as files: one PNG an episode, named by its number, at the size that the protocol scores."""

from PIL import Image

from ..basics.errors import InputError
from ..basics.storage import user_path, writable_folder


def mask_path(folder, number):
    """``folder/000012.png`` for episode 12."""
    return user_path(folder) / f"{number:06d}.png"


def save_mask(folder, number, labels):
    """Writes ``labels`` uint8 (H,W): 0 background, n the object of way n."""
    Image.fromarray(labels).save(mask_path(folder, number), compress_level=1)


def empty_folder(folder):
    """``folder``, made if missing; one that holds something raises InputError, for a mask left there would be scored."""
    if any(writable_folder(folder, "Give another folder for the masks.").iterdir()):
        raise InputError(folder, "a folder that is not empty", "an empty or a new one", "Give another folder for the masks.")
