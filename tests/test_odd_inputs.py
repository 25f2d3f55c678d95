"""What people run into, as one table: each input is read right, or refused in one sentence with file, found, expected and cure.

Whatever comes: no traceback, no other file touched, nothing left half-written. What a value must be exactly is held by the
tests of its room; here the kinds stand side by side.
"""

import json
import os
import unicodedata

import numpy as np
import pytest
import torch
from conftest import call, own_images
from PIL import Image, PngImagePlugin

TINY = ("--backbone", "tiny", "--weights", "none", "--size", 64)
SCORE = ("evaluate", "--dataset", "folder", "--root", "a", *TINY, "--episodes", 4)
TRAIN = ("train", "--dataset", "folder", "--root", "a", *TINY, "--classes", "1", "--steps", 1, "--batch", 1, "--validate-every", 0, "--bank")
CHECK = ("data", "check", "folder", "--root", "a")
GREY = np.linspace(0, 255, 120 * 160).reshape(120, 160).astype(np.uint8)


def photo(name, make):
    """Photo p00 of the folder in another form."""
    def put(root):
        (root / "images/p00.png").unlink()
        make(root / "images" / name)
    return put


def saved(pixels, kind=None, **options):
    return lambda path: Image.fromarray(np.asarray(pixels)).save(path, kind, **options)


def mask(values, name="p00.png", kind=None, **options):
    """Mask p00 with other contents."""
    def put(root):
        (root / "masks/p00.png").unlink()
        if isinstance(values, bytes):
            (root / "masks" / name).write_bytes(values)
        else:
            Image.fromarray(np.asarray(values)).save(root / "masks" / name, kind, **options)
    return put


def classes(content):
    return lambda root: (root / "classes.txt").write_bytes(content)


def named(folder, old, new):
    return lambda root: (root / folder / old).rename(root / folder / new)


def written(name, content):
    def put(root):
        path = root.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    return put


def cut(name, share=0.5):
    def put(root):
        path = root / name
        path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    return put


def nothing(root):
    pass


def broken_comment(root):
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "hello")
    Image.fromarray(BOX).save(root / "masks/p00.png", pnginfo=about)
    content = (root / "masks/p00.png").read_bytes()
    (root / "masks/p00.png").write_bytes(content.replace(b"hello", b"hullo"))            # its checksum is now wrong


def set_to(**variables):
    return lambda root: os.environ.update(variables)


BOX = np.zeros((120, 160), np.uint8)
BOX[20:100, 20:100] = 1
COLOURS = np.array([[0, 0, 0], [128, 0, 0]], np.uint8)[BOX]
SMOOTH = np.asarray(Image.fromarray(255 * BOX[::4, ::4]).resize((160, 120)))

READ = {                                                         # read without doubt
    "grey photo": (photo("p00.png", saved(GREY)), CHECK),
    "16-bit photo": (photo("p00.png", saved(GREY.astype(np.uint16) * 257)), CHECK),
    "12 bits in 16": (photo("p00.tif", saved(GREY.astype(np.uint16) * 16)), CHECK),
    "float photo 0..1": (photo("p00.tif", saved((GREY / 255).astype(np.float32))), CHECK),
    "transparent photo": (photo("p00.png", saved(np.dstack([GREY] * 4))), CHECK),
    "grey and transparent": (photo("p00.png", saved(np.dstack([GREY] * 2))), CHECK),
    "palette photo": (photo("p00.png", lambda p: Image.fromarray(GREY).convert("P").save(p)), CHECK),
    "black and white": (photo("p00.png", saved(GREY > 99)), CHECK),
    "CMYK": (photo("p00.jpg", lambda p: Image.new("CMYK", (160, 120)).save(p)), CHECK),
    "JFIF": (photo("p00.jfif", saved(np.dstack([GREY] * 3), "JPEG")), CHECK),
    "WebP": (photo("p00.webp", saved(np.dstack([GREY] * 3))), CHECK),
    "TIFF": (photo("p00.tif", saved(np.dstack([GREY] * 3))), CHECK),
    "BMP": (photo("p00.bmp", saved(np.dstack([GREY] * 3))), CHECK),
    "MPO": (photo("p00.jpg", lambda p: Image.new("RGB", (160, 120)).save(p, "MPO", save_all=True,
                                                                            append_images=[Image.new("RGB", (160, 120))])), CHECK),
    "a PNG called .jpg": (photo("p00.jpg", saved(np.dstack([GREY] * 3), "PNG")), CHECK),
    "broken EXIF": (photo("p00.png", lambda p: Image.fromarray(np.dstack([GREY] * 3)).save(p, exif=b"b'Exif\\x00\\x00MM")), CHECK),
    "suffix in capitals": (named("images", "p00.png", "p00.PNG"), CHECK),
    "mask in 16 bits": (mask(BOX.astype(np.uint16)), CHECK),
    "mask in three equal channels": (mask(np.dstack([BOX] * 3)), CHECK),
    "mask as TIFF": (mask(BOX, "p00.tif"), CHECK),
    "mask of one bit": (mask(BOX.astype(bool)), CHECK),
    "two Unicode forms": (lambda root: [(root / folder / "p00.png").rename(root / folder / unicodedata.normalize(form, "Tür.png"))
                                        for folder, form in (("images", "NFC"), ("masks", "NFD"))], CHECK),
    "class names from Windows": (classes("\ufeffcup\r\n".encode()), CHECK),
    "class names of any language": (classes("чашка\n".encode()), CHECK),
    "files of the system": (written("a/images/Thumbs.db", b"x"), CHECK),
    "notes among the images": (written("a/images/notes.txt", b"x"), CHECK),
    "a pipe among the images": (lambda root: os.mkfifo(root / "images/q.jpg"), CHECK),
    "a broken chunk in a mask": (broken_comment, CHECK),
    "a photo twice": (lambda root: (root / "images/p00 (1).png").write_bytes((root / "images/p00.png").read_bytes()), CHECK),
    "an image without mask": (lambda root: (root / "masks/p00.png").unlink(), CHECK),
    "root from the environment": (set_to(FSSLIB_DATA="a"), ("data", "check", "folder")),
    "a class that no mask shows": (classes(b"cup\nbowl\n"), SCORE),
    "an image of 8x5 px": (lambda root: Image.new("RGB", (8, 5)).save(root / "images/q.png"), ("data", "superpixels", "--dataset", "folder", "--root", "a")),
    "damaged index": (lambda root: [path.write_bytes(b"x") for path in root.parent.glob("cache/index/*")], CHECK),
    "~ in --root": (nothing, ("data", "check", "folder", "--root", "~/a")),
}

REFUSED = {                                                      # one sentence: these words, exit code 2 (check: 1, in a row)
    "float photo": (photo("p00.tif", saved(GREY.astype(np.float32) * 9)), CHECK, ("values from 0 to", "take this file out")),
    "signed photo": (photo("p00.tif", saved(-GREY.astype(np.int32))), CHECK, ("values from -255", "take this file out")),
    "animation": (photo("p00.gif", saved(GREY, save_all=True, append_images=[Image.fromarray(GREY.T)])), CHECK, ("2 pictures", "a file of its own")),
    "cut PNG": (cut("images/p00.png"), CHECK, ("damaged image", "Copy or download")),
    "web page as photo": (photo("p00.jpg", lambda p: p.write_text("<html>")), CHECK, ("a text or a web page", "Replace the file")),
    "empty photo": (photo("p00.jpg", lambda p: p.write_bytes(b"")), CHECK, ("an empty file", "Replace the file")),
    "Git LFS pointer": (photo("p00.jpg", lambda p: p.write_text("version https://git-lfs")), CHECK, ("a Git LFS pointer", "Replace")),
    "HEIC": (photo("p00.heic", lambda p: p.write_bytes(b"x")), SCORE, ("a .heic file", "Convert it")),
    "HEIC called .jpg": (photo("p00.jpg", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")), CHECK, ("a HEIC photo", "export it again")),
    "raw photo": (photo("p00.nef", lambda p: p.write_bytes(b"x")), SCORE, ("a .nef file", "Convert it")),
    "two photos of one name": (lambda root: Image.new("RGB", (160, 120)).save(root / "images/p00.jpg"), SCORE, ("a second file called p00", "Rename")),
    "photo of another size": (photo("p00.png", saved(GREY[:60])), CHECK, ("a mask of 160x120 pixels", "Export the mask")),
    "mask of 0 and 255": (mask(255 * BOX), CHECK, ("255 means ignored here", "fsslib data masks")),
    "smoothed mask": (mask(SMOOTH), CHECK, ("grey values from smoothing", "without smoothing")),
    "colour mask": (mask(COLOURS), CHECK, ("colours (2 of them", "--colours labelmap.txt")),
    "JPEG called .png as mask": (mask(BOX, kind="JPEG"), CHECK, ("stored as JPEG called .png", "again as PNG")),
    "JPEG mask": (mask(BOX, "p00.jpg"), SCORE, ("a mask stored as .jpg", "again as PNG")),
    "NumPy mask": (mask(b"x", "p00.npy"), SCORE, ("a mask stored as .npy", "again as PNG")),
    "labelme's JSON": (mask(b"{}", "p00.json"), SCORE, ("a mask stored as .json", "again as PNG")),
    "empty mask": (mask(0 * BOX), CHECK, ("no pixel of a class", "Draw the object")),
    "a class without a name": (mask(7 * BOX), CHECK, ("class id 7", "line n names class n")),
    "16-bit white": (mask(BOX.astype(np.uint16) * 65535), CHECK, ("only 0 and 65535", "fsslib data masks")),
    "mask named p00_mask": (named("masks", "p00.png", "p00_mask.png"), SCORE, ("a mask without an image", "call it p00.png")),
    "background as a class": (classes(b"_background_\ncup\n"), SCORE, ("'_background_' on line 1", "the background has no line")),
    "CVAT's labelmap": (classes(b"background:0,0,0::\ncup:128,0,0::\n"), SCORE, ("CVAT's labelmap", "fsslib data masks")),
    "numbered names": (classes(b"0 background\n1 cup\n"), SCORE, ("numbers in front", "names alone")),
    "names in Latin-1": (classes(b"caf\xe9\n"), SCORE, ("no UTF-8 text", "in UTF-8")),
    "names in UTF-16": (classes("cup\n".encode("utf-16")), SCORE, ("no UTF-8 text", "in UTF-8")),
    "one name twice": (classes(b"cup\ncup\n"), SCORE, ("on lines 1 and 2", "Rename")),
    "no classes.txt": (lambda root: (root / "classes.txt").unlink(), SCORE, ("no class names", "one name a line")),
    "objects below the rule": (lambda root: [mask(np.where(np.indices(BOX.shape).sum(0) < 30, 1, 0).astype(np.uint8), f"p{k:02}.png")(root)
                                             if k == 0 else Image.fromarray(np.where(np.indices(BOX.shape).sum(0) < 30, 1, 0).astype(np.uint8)).save(root / f"masks/p{k:02}.png")
                                             for k in range(4)], SCORE, ("2048", "--protocol hsnet")),
    "more shots than images": (nothing, (*SCORE, "--shots", 9), ("found 4 images", "shots")),
    "an unknown class": (nothing, (*SCORE, "--classes", "plate"), ("'plate'", "cup")),
    "--fold beside own images": (nothing, (*SCORE, "--fold", 2), ("--fold", "Leave one of them out")),
    "an option cut short": (nothing, (*SCORE, "--model", "pfenet", "--option", "width=[1"), ("width", "quot")),
    "an unknown option": (nothing, (*SCORE, "--model", "pfenet", "--option", "wdith=1"), ("wdith", "width")),
    "an unknown backbone": (nothing, ("evaluate", "--dataset", "folder", "--root", "a", "--backbone", "resnet5"), ("resnet5", "resnet50")),
    "size 0": (nothing, (*SCORE[:-4], "--size", 0, "--episodes", 4), ("size", "32")),
    "a training without classes": (nothing, ("train", "--dataset", "folder", "--root", "a", *TINY), ("--classes", "cup,bowl")),
    "training steps below 1": (nothing, (*TRAIN, "--steps", 0), ("steps", "from 1 up")),
    "no checkpoint": (nothing, (*SCORE, "--checkpoint", "none.pt"), ("no such file", "Correct the path")),
    "a text as checkpoint": (written("c.pt", b"<html>"), (*SCORE, "--checkpoint", "c.pt"), ("c.pt", "Copy it again")),
    "an empty checkpoint": (written("c.pt", b""), (*SCORE, "--checkpoint", "c.pt"), ("c.pt", "Copy it again")),
    "a checkpoint that is a list": (written("c.pt", [torch.zeros(2)]), (*SCORE, "--checkpoint", "c.pt"), ("c.pt", "Copy it again")),
    "weights of another network": (written("w.pth", {"module.conv.weight": torch.zeros(2)}), (*SCORE[:5], "--backbone", "resnet50", "--weights", "w.pth"),
                                   ("w.pth", "resnet50")),
    "weights that are a page": (written("w.pth", b"<html>"), (*SCORE[:5], "--backbone", "resnet50", "--weights", "w.pth"), ("w.pth", "tensors")),
    "a config that is no YAML": (written("c.yaml", b"steps: [1"), (*TRAIN, "--config", "c.yaml"), ("c.yaml", "YAML")),
    "a config with another key": (written("c.yaml", b"stepz: 1"), (*TRAIN, "--config", "c.yaml"), ("'stepz'", "'steps'")),
    "an episode list that is none": (written("l.json", b"[1"), ("score", "masks", "m", "--list", "l.json"), ("l.json", "JSON")),
    "a labelmap that is none": (written("labelmap.txt", b"cup 1 2 3\n"), ("data", "masks", "a/masks", "--colours", "labelmap.txt"), ("labelmap.txt, line 1", "cup:128,0,0")),
    "masks into a full folder": (nothing, ("data", "masks", "a/masks", "--out", "a/images"), ("something there already", "nothing is overwritten")),
    "a list of VOC with a mark": (written("v/VOC2012/ImageSets/Segmentation/val.txt", b"\xef\xbb\xbfnone\r\n"), ("evaluate", "--dataset", "voc", "--root", "v", *TINY),
                                  ("no image of list entry none", "fsslib data check voc")),
    "root that is a file": (nothing, ("evaluate", "--dataset", "folder", "--root", "a/classes.txt", *TINY), ("a file", "masks/")),
    "cache that is a file": (set_to(FSSLIB_CACHE="a/classes.txt"), (*SCORE, "--keep-bank"), ("a file on this path", "Set FSSLIB_CACHE")),
    "more processes than the cluster gave": (set_to(SLURM_JOB_ID="1", SLURM_NTASKS="1", SLURM_JOB_NAME="x", SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NODEID="0"),
                                             (*TRAIN, "--devices", 2), ("devices", "SLURM")),
    "data set without a reader": (nothing, ("evaluate", "--dataset", "coco", *TINY), ("coco", "shapes")),
    "greys renumbered by a palette": (lambda root: [classes(b"a\nb\nc\nd\ne\n")(root), mask(5 * BOX, "p00.gif", "GIF")(root)], CHECK,
                                      ("the numbers 0, 1 in the greys 0, 5", "without a palette")),
    "names in UTF-16 without a mark": (classes("cup\n".encode("utf-16-le")), SCORE, ("control characters", "in UTF-8")),
    "a link to nowhere": (lambda root: (root / "images/q.png").symlink_to(root / "none.png"), SCORE, ("a link to a file", "Put it back")),
    "links in a circle": (lambda root: [(root.parent / one).symlink_to(root.parent / other) for one, other in ("xy", "yx")],
                          (*SCORE, "--out", "x"), ("x: found a link that leads to itself", "another --out")),
    "no classes between the quotes": (nothing, (*SCORE, "--classes", ""), ("--classes: found ''", "Correct")),
    "many names": (nothing, (*SCORE, "--classes", ",".join(f"class_number_{k:03}" for k in range(30))), ("class_number_000", "cup")),
    "width 0": (nothing, (*SCORE, "--model", "pfenet", "--option", "width=0"), ("width", "from 1 up")),
    "maps into a file": (nothing, (*SCORE, "--model", "pfenet", "--maps", "--out", "a/classes.txt"), ("a file on this path", "--out")),
    "a probe's seed": (nothing, ("probe", "--dataset", "folder", "--root", "a", "--backbone", "tiny", "--weights", "none", "--seed", 10 ** 23),
                       ("seed", "smaller seed")),
    "weights as checkpoint": (written("e.safetensors", b"x"), (*SCORE, "--checkpoint", "e.safetensors"), ("weights alone", "--extractor")),
    "other files in --out": (lambda root: [written("p/config.json", b"{}")(root), written("p/log.csv", b"mine")(root)],
                             (*TRAIN, "--out", "p"), ("config.json: found a file that is not of this run", "another --out")),
    "an extractor in --out": (written("p/extractor.safetensors", b"x"), ("pretrain", "--dataset", "folder", "--root", "a", "--backbone", "tiny", "--weights",
                              "none", "--probe-every", 0, "--loss", "global", "--batch", 4, "--config", "one.yaml", "--out", "p"), ("an extractor of another run", "another --out")),
    "a list over class names": (nothing, ("score", "episodes", "--dataset", "folder", "--root", "a", "--episodes", 2, "--out", "a/classes.txt"), ("another file", "another --out")),
    "protocol of a typo": (nothing, (*SCORE, "--protocol", "pfnet"), ("'pfnet'", "pfenet")),
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Four own images, in a folder that is also home; the environment comes back afterwards."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "FSSLIB"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.update(HOME=str(tmp_path), FSSLIB_CACHE=str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text("sub_batches: 1\nheld_out: 0.0\n")
    return own_images(tmp_path / "a")


def contents(folder):
    """{file: bytes} of what a person put there."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.relative_to(folder).parts[0] not in ("cache", "runs")}


@pytest.mark.parametrize("case", READ)
def test_read_without_doubt(case, root, monkeypatch, capsys):
    put, arguments = READ[case]
    if case == "damaged index":
        call(monkeypatch, capsys, *CHECK)
    put(root)
    before = contents(root.parent)
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 0 and "Traceback" not in err and "damaged   " not in out, out + err
    assert contents(root.parent) == before


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case, root, monkeypatch, capsys):
    put, arguments, words = REFUSED[case]
    put(root)
    before = contents(root.parent)
    code, out, err = call(monkeypatch, capsys, *arguments)
    if arguments[:2] == ("data", "check") and code == 1:         # a table: the sentence is a row of it
        (told,) = [line for line in out.splitlines() if line.startswith("  p00")]
    else:
        (told,) = [line for line in err.splitlines() if line.startswith(("fsslib: ", "Error: "))]
        assert code == 2 and ("found" in told and "expected" in told or told.startswith("Error: "))
        told = err[err.index(told):]                             # a layout may be drawn below
    assert all(word in told for word in words), told
    assert "Traceback" not in err and contents(root.parent) == before
    results = list(root.parent.glob("runs/**/result.json"))
    assert not results and not list(root.parent.rglob("*.part"))


def test_the_table_is_long_enough():
    assert len(READ) + len(REFUSED) >= 60 and not set(READ) & set(REFUSED)


def test_a_list_with_a_mark_is_read(root, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "score", "episodes", "--dataset", "folder", "--root", "a", "--episodes", 2, "--out", "l.json")
    assert code == 0, err
    stored = json.loads((root.parent / "l.json").read_text())
    (root.parent / "l.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(stored).encode())
    code, _, err = call(monkeypatch, capsys, "score", "masks", "nowhere", "--list", "l.json", "--root", "a")
    assert "nowhere: found no such folder" in err
