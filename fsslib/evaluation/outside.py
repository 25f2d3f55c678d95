"""Scores of masks that any other code predicted: a hashed list of episodes goes out, one PNG an episode comes back."""

from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .. import datasets
from ..basics.errors import InputError
from ..basics.storage import read_json, sha256_json, user_path, writable_folder, write_json
from ..datasets.reading import read_numbers
from ..episodes.protocols import get_protocol
from ..episodes.sampler import EpisodeList
from ..metrics import EpisodeScores
from .masks import mask_path
from .scoring import in_percent, protocol_episodes, summary, truth_of

CONFIG = ("dataset", "split", "fold", "classes", "shots", "ways", "protocol", "size", "resize", "scored")
KEYS = {*CONFIG, "absent", "digest", "episodes", "list_digest"}
WRITE = "Write the list with fsslib score episodes, and leave it as it is."
SAVE = "Save it again as an 8-bit grey PNG of way numbers, with PIL: Image.fromarray(mask.astype('uint8')).save(path)."


def write_list(path, dataset, classes, shots, protocol="pfenet", ways=1, episodes=None, seeds=None, fold=None):
    """Draws the episodes as ``scoring.protocol_episodes`` does, writes them with all that their scores rest on as JSON
    and returns what was written.

    Beside what ``EpisodeList.save`` writes, the file holds how masks are scored, and ``list_digest``, a sha256 (hex) over
    everything else in it. ``fold`` is told, not used. A ``path`` that takes no file, or holds another one, raises InputError.
    """
    rules, classes = get_protocol(protocol), list(classes)
    writable_file(path)
    drawn = protocol_episodes(dataset, classes, shots, protocol, ways, episodes, seeds)
    listed = {**drawn.to_dict(), "protocol": protocol, "fold": fold, "classes": classes, "shots": shots, "ways": ways,
              "size": rules.size.get(dataset.name, rules.size["voc"]), "resize": rules.resize, "scored": rules.scored,
              "absent": rules.absent}
    listed["list_digest"] = sha256_json(listed)
    _refuse_other(path, ("list_digest",), listed["list_digest"])
    write_json(path, listed)
    return listed


def read_list(path, root=None):
    """(EpisodeList, dict of the whole file) of a list that ``write_list`` wrote; its data set is opened in ``root``.

    Another file, a changed list or a data set without its images raises InputError.
    """
    listed = read_json(path, WRITE)
    if not isinstance(listed, dict) or set(listed) != KEYS:
        raise InputError(path, "no list of fsslib score episodes", "the keys that it writes", WRITE)
    digest = sha256_json({key: value for key, value in listed.items() if key != "list_digest"})
    if digest != listed["list_digest"]:
        raise InputError(path, f"a list with the digest {digest[:12]}", f"{str(listed['list_digest'])[:12]} as stored in it",
                         "The list was edited: take the original, or write it again with fsslib score episodes.")
    return EpisodeList.load(path, datasets.open_dataset(listed["dataset"], root, listed["split"])), listed


def score_masks(folder, list_path, root=None, against=None):
    """The result of the masks in ``folder`` on a list of ``write_list``, with the scores that ``evaluate`` would give.

    ``folder``: one PNG an episode, see ``mask_files`` and ``read_answer`` · ``root``: of the data set · ``against``: a second
    folder; ``result["difference"]`` is then the mIoU of the first less that of the second, paired episode by episode.
    A file that cannot be scored raises InputError; all names are looked at before the first pixel.
    """
    episodes, listed = read_list(list_path, root)
    folders = [folder] if against is None else [folder, against]
    files = [mask_files(place, len(episodes)) for place in folders]
    scores = [EpisodeScores(listed["classes"], listed["absent"]) for _ in folders]
    for number, episode in enumerate(tqdm(episodes, desc="masks", unit="episode", disable=None)):
        truth = truth_of(episodes.dataset, episode, listed["scored"], listed["size"], listed["resize"]).numpy()
        query = episodes.dataset.ids[episode.query]
        whose = f"its query image {query}" if listed["scored"] == "original" else f"the input that {listed['protocol']} scores"
        for paths, into in zip(files, scores):
            answer = read_answer(paths[number], len(episode.class_ids), truth.shape, whose)
            into.update(answer, truth, episode.class_ids, query)
    config = {key: listed[key] for key in CONFIG}
    result = {"config": {**config, "episodes": len(episodes), "masks": Path(folder).resolve().name},
              "digests": {"data": episodes.dataset.digest, "episodes": episodes.digest, "list": listed["list_digest"]},
              **summary(scores[0]), "scores": scores[0].to_dict()}
    if against is not None:
        change, interval = scores[0].difference(scores[1])
        result["difference"] = {"against": Path(against).resolve().name, "miou": in_percent(change),
                                "interval": [in_percent(v) for v in interval]}
    return result


def mask_files(folder, count):
    """``count`` paths: the masks of episodes 0, 1, ... in ``folder``, named by the number, with or without zeros in front.

    A missing mask, one too many, two for one episode, a PNG with another name or a JPEG raises InputError. Files of other
    kinds are passed over, and so are hidden ones.
    """
    folder, found = user_path(folder), {}
    if not folder.is_dir():
        raise InputError(folder, "a file" if folder.exists() else "no such folder", "a folder of masks",
                         f"Give the folder that holds {mask_path('', 0)} and the others.")
    for path in sorted(folder.iterdir()):
        kind, name = path.suffix.lower(), repr(path.name)        # repr: a name may hold bytes that are no text
        if path.name.startswith(".") or kind not in (".png", ".jpg", ".jpeg"):
            continue
        if kind != ".png":
            raise InputError(folder, f"{name}, a JPEG", "PNG files: JPEG changes the numbers", "Save the masks as PNG.")
        if not (path.stem.isascii() and path.stem.isdecimal()):
            raise InputError(folder, f"{name}, a name that is no number",
                             f"the number of an episode, as in {mask_path('', 12)}",
                             "Rename the file or take it out of the folder.")
        other = found.setdefault(int(path.stem), path)
        if other != path:
            raise InputError(folder, f"{other.name} and {path.name}, both number {int(path.stem)}", "one file an episode",
                             "Take one of the two out of the folder.")
    if not found:
        raise InputError(folder, "no PNG", f"{count} masks, {mask_path('', 0)} and so on", "Give the folder of the masks.")
    if beyond := sorted(set(found) - set(range(count))):
        raise InputError(found[beyond[0]], f"a mask of episode {beyond[0]}" + _others(beyond),
                         f"numbers 0 to {count - 1}, as the list has {count} episodes",
                         "Number the masks from 0 in the order of the list, or give the list that they belong to.")
    if missing := sorted(set(range(count)) - set(found)):
        raise InputError(mask_path(folder, missing[0]), f"no mask of episode {missing[0]}" + _others(missing),
                         f"one for each of the {count} episodes", "Predict it too, numbered from 0 in the order of the list.")
    return [found[number] for number in range(count)]


def _others(numbers):
    return f" (and of {len(numbers) - 1} more)" if len(numbers) > 1 else ""


def read_answer(path, ways, shape, whose):
    """uint8 (H,W) of a PNG with one number a pixel (grey, palette: the index, or black and white) at ``shape`` (H, W).

    ``whose``: what has that shape, in words. Anything but 0 to ``ways`` in 8 bits raises InputError.
    """
    try:
        labels = read_numbers(path, ways)                        # every value: what a wrong one means is told below
    except InputError as error:
        raise InputError(path, error.found, "a PNG with one 8-bit number a pixel", SAVE) from error
    if labels.shape != shape:
        raise InputError(path, f"a mask of {labels.shape[1]}x{labels.shape[0]} px",
                         f"{shape[1]}x{shape[0]} px, the size of {whose}",
                         "Bring the scores of the classes to that size before you choose the highest, and save that.")
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    if values[-1] > ways:
        whole = f"0 (background) to {ways} (object of way {ways})" if ways > 1 else "0 (background) and 1 (object)"
        found, cure = f"the value {values[-1]}", "Save the number of the way, not the class id, and 0 for all else."
        if set(values) <= {0, 255}:
            found, cure = "a mask of 0 and 255" if len(values) > 1 else "a mask of 255", "Save 1 for the object instead of 255."
        elif values[-1] == 255:
            cure = "Answer every pixel: only the truth has pixels that do not count."
        raise InputError(path, found, whole, cure)
    return labels.astype(np.uint8)


def refuse_other_result(path, list_path):
    """Raises InputError where a result can be written at ``path`` only in place of something else than a result on this list."""
    writable_file(path)
    listed = read_json(list_path, WRITE)
    _refuse_other(path, ("digests", "list"), listed.get("list_digest") if isinstance(listed, dict) else None)


def _refuse_other(path, keys, expected):
    """A file that is there may be replaced if its value under ``keys`` is the ``expected`` one."""
    if not Path(path).exists():
        return
    try:
        found = read_json(path)
    except InputError:
        found = None
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if found is None or found != expected:
        raise InputError(path, "another file" if found is None else "another list, or a result on another one",
                         "none, or what the same call wrote", "Give another --out, or delete it.")


def writable_file(path):
    """Raises InputError unless a file can be written at ``path``: before the work, not after it."""
    if Path(path).is_dir():
        raise InputError(path, "a folder", "the path of a file", "Give another --out.")
    writable_folder(Path(path).parent, "Give another --out.")
