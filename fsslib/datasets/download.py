"""Fetches PASCAL VOC 2012 and SBD: with progress, by checksum, and whole or not at all."""

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..basics.storage import data_dir, writable_folder

ROOM = "Choose a folder on another disk with FSSLIB_DATA."


@dataclass(frozen=True)
class Part:
    """One address. ``inside``: the folder of the archive that becomes ``target`` below the root; "" for a file."""
    url: str
    md5: str
    file: str
    inside: str
    target: str
    optional: bool = False


def voc_parts():
    """VOC2012, SBD and SBD's train_noval list, with the addresses and checksums that torchvision keeps."""
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT
    voc = DATASET_YEAR_DICT["2012"]
    return (Part(voc["url"], voc["md5"], voc["filename"], "VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),
            Part(SBDataset.url, SBDataset.md5, SBDataset.filename, "benchmark_RELEASE/dataset", "sbd"),
            # often out of reach; voc_lists builds the list by rule where it is missing
            Part(SBDataset.voc_train_url, SBDataset.voc_split_md5, SBDataset.voc_split_filename, "",
                 "sbd/train_noval.txt", optional=True))


def fetch(name, root=None, progress=True, addresses=None):
    """Downloads and unpacks the data set ``name`` ("voc") into ``root``; returns the root as a Path.

    What lies unpacked in ``root`` already is left alone, and an archive that lies complete in ``root/downloads``
    is not downloaded again. ``addresses``: Parts in place of ``voc_parts()``, for a mirror. Raises InputError if
    the network is out of reach, a file is short or changed, or an archive would write outside its folder; nothing
    half-written keeps the name of the whole.
    """
    if name != "voc":
        raise InputError("data set", repr(name), "'voc', the one that is downloaded",
                         "'shapes' is drawn on first use and 'folder' holds your own images.")
    root = writable_folder(root if root is not None else data_dir(), "Set FSSLIB_DATA to a folder you may write to.")
    for part in voc_parts() if addresses is None else addresses:
        target = root / part.target
        if target.exists():
            tqdm.write(f"{target}: there already")
            continue
        try:
            archive = download(part, root, progress)
        except InputError as error:
            if not part.optional:
                raise
            tqdm.write(f"{error} Going on without it.")
            continue
        if part.inside:
            unpack(archive, part.inside, target, progress)
        else:
            _move(archive, target)
    return root


def download(part, root, progress=True):
    """Path of ``root/downloads/<file>``, complete by its checksum; downloaded unless it is there."""
    try:
        import pooch
        from requests.exceptions import RequestException
    except ImportError as error:
        raise InputError("pooch", "not installed", "the package that downloads", "pip install pooch") from error
    folder = writable_folder(root / "downloads", "Set FSSLIB_DATA to a folder you may write to.")
    for left in folder.glob("tmp*"):             # pooch's part files, left by a process that was killed
        left.unlink(missing_ok=True)
    by_hand = f"Try again, or download it in a browser and save it as {folder / part.file}; then run this again."
    try:
        pooch.get_logger().setLevel("WARNING")
        return Path(pooch.retrieve(part.url, f"md5:{part.md5}", part.file, folder,
                                   downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60)))
    except RequestException as error:
        raise InputError(part.url, f"no complete download ({_reason(error)})", part.file, by_hand) from error
    except ValueError as error:                  # pooch's word for a wrong checksum
        raise InputError(part.url, "a file with another checksum, cut short or changed", f"md5 {part.md5}",
                         by_hand) from error
    except OSError as error:
        raise InputError(folder / part.file, f"a disk that does not take it ({error.strerror})", "room for it",
                         ROOM) from error


def unpack(archive, inside, target, progress=True):
    """Unpacks the folder ``inside`` of a tar file as ``target``, which appears at the end, whole or not at all."""
    part = target.parent / f".{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)      # left by a process that was killed
    again = f"Delete {archive} and run this again."
    try:
        part.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            bar = tqdm(tar, desc=f"unpack {Path(archive).name}", unit="file", disable=None if progress else True)
            tar.extractall(part, members=bar, filter=_only_below)
        if not (part / inside).is_dir():
            raise InputError(archive, f"no folder {inside} in it", "the published archive", again)
        _move(part / inside, target)
    except tarfile.FilterError as error:
        raise InputError(archive, f"a path that leaves the archive's folder ({error.tarinfo.name})",
                         "paths below it", "Do not use this file: it is not the published one.") from error
    except (tarfile.TarError, EOFError) as error:
        raise InputError(archive, f"no whole tar file ({error})", "the published archive", again) from error
    except OSError as error:
        raise InputError(archive, f"it cannot be unpacked ({error})", f"room in {target.parent}", ROOM) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _only_below(member, folder):
    """tarfile's "data" filter, which refuses ``..``, outward links and devices; absolute names it would shorten."""
    if PurePosixPath(member.name).is_absolute():
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)


def _move(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def _reason(error):
    """The short end of requests' nested messages."""
    text = str(error).rstrip(")'\" ").split(": ")[-1]
    return f"{type(error).__name__}: {text}" if len(text) < 120 else type(error).__name__
