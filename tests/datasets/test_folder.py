"""Own images: the layout, and the errors that teach it."""

import os
import sys

import numpy as np
import pytest
from fsslib.datasets import check, open_dataset
from fsslib.basics.errors import InputError
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    """Three photos, two masks, two classes."""
    root = tmp_path / "photos"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for k, suffix in enumerate(("jpg", "png", "JPEG")):
        Image.fromarray(np.full((4, 6, 3), 50 * k, np.uint8)).save(root / "images" / f"p{k}.{suffix}")
    mask(root, "p0", [[0, 1], [1, 255]])
    mask(root, "p2", [[2, 2], [0, 0]])
    (root / "classes.txt").write_text("cup\nred bowl\n\n\n")
    return root


def mask(root, stem, corner):
    ids = np.zeros((4, 6), np.uint8)
    ids[:2, :2] = corner
    Image.fromarray(ids).save(root / "masks" / f"{stem}.png")
    return root / "masks" / f"{stem}.png"


def refused(root, path, found, cure, read=False):
    with pytest.raises(InputError) as caught:
        data = open_dataset("folder", root)
        if read:
            data.areas
    text = str(caught.value)
    assert str(path) in text and found in text and cure in text
    return text


def test_lists_the_annotated_and_names_the_others(root):
    data = open_dataset("folder", root, split="val")
    assert data.ids == ("p0", "p2") and data.class_names == ("cup", "red bowl")
    assert data.unlabelled == (root / "images" / "p1.png",)
    assert data.areas.tolist() == [[21, 2, 0], [22, 0, 2]]
    assert data[1].image.shape == (4, 6, 3) and data[1].mask[0, 0] == 2 and data.mask(0)[1, 1] == 255
    assert open_dataset("folder", root, split="train").ids == data.ids


def test_files_of_the_system_are_passed_over(root):
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (root / "images" / name).write_text("x")
    assert len(open_dataset("folder", root)) == 2


def test_windows_text_file(root):
    (root / "classes.txt").write_bytes("﻿cup\r\nbowl\r\n".encode())
    assert open_dataset("folder", root).class_names == ("cup", "bowl")


def test_no_root(root):
    refused(None, "root", "no folder", "classes.txt")


def test_root_missing_or_a_file(root):
    refused(root / "nowhere", root / "nowhere", "no such folder", "images/       dog1.jpg")
    refused(root / "classes.txt", root / "classes.txt", "a file", "masks/        dog1.png")


@pytest.mark.parametrize("name", ["images", "masks"])
def test_folder_missing(root, name):
    (root / name).rename(root / "other")
    text = refused(root, root / name, "no such folder", "The folder looks like this:")
    assert "photos/\n" in text                           # the tree carries the user's own name


def test_no_image_and_no_mask(root):
    for path in (root / "masks").iterdir():
        path.unlink()
    refused(root, root / "masks", "no mask", "at least one image")
    for path in (root / "images").iterdir():
        path.unlink()
    refused(root, root / "images", "no image", "JPEG or PNG")


@pytest.mark.parametrize("content, found, cure", [
    (None, "no class names", "one name a line"),
    (b"", "an empty file", "line 1 is class 1"),
    (b"\n \n", "an empty file", "line 1 is class 1"),
    (b"cup\nbowl\ncup\n", "'cup' on lines 1 and 3", "Rename"),
    (b"cup\n\nbowl\n", "an empty line 2", "Write a name"),
    (b"caf\xe9\n", "no UTF-8 text", "in UTF-8"),
    (b"\n".join(b"%d" % k for k in range(255)), "255 names", "Keep the classes"),
], ids=["missing", "empty", "blank", "twice", "gap", "latin-1", "many"])
def test_class_names(root, content, found, cure):
    (root / "classes.txt").unlink()
    if content is not None:
        (root / "classes.txt").write_bytes(content)
    refused(root, root / "classes.txt", found, cure)


def test_mask_without_image(root):
    path = mask(root, "p7", [[1, 1], [1, 1]])
    refused(root, path, "a mask without an image", "the same name")


def test_mask_as_jpeg(root):
    path = root / "masks" / "p1.jpg"
    Image.new("L", (6, 4)).save(path)
    refused(root, path, "a mask stored as .jpg", "again as PNG")


def test_two_images_of_one_name(root):
    Image.new("RGB", (6, 4)).save(root / "images" / "p0.png")
    refused(root, root / "images" / "p0.png", "a second file called p0 beside p0.jpg", "Rename")


def test_image_format_that_is_not_read(root):
    Image.new("RGB", (6, 4)).save(root / "images" / "p9.tif")
    refused(root, root / "images" / "p9.tif", "a .tif file", "Convert it")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_file_name_that_is_no_text(root):
    (root / "images" / "p0.jpg").rename(os.fsdecode(os.fsencode(root) + b"/images/\xff.jpg"))
    refused(root, "udcff.jpg", "a name that is no text", "Rename")


def test_a_photo_that_its_exif_tag_turns(root):
    turned = Image.Exif()
    turned[0x112] = 6
    Image.new("RGB", (6, 4)).save(root / "images" / "p0.jpg", exif=turned)
    refused(root, root / "masks" / "p0.png", "a mask of 6x4 pixels, expected 4x6", "Turn the mask", read=True)


@pytest.mark.parametrize("corner, found", [([[0, 0], [0, 0]], "no pixel of a class"),
                                           ([[0, 255], [0, 0]], "no pixel of a class")])
def test_empty_mask(root, corner, found):
    path = mask(root, "p0", corner)
    refused(root, path, found, "Draw the object", read=True)
    with pytest.raises(InputError):
        open_dataset("folder", root).mask(0)


def test_mask_of_255_only(root):
    path = root / "masks" / "p0.png"
    Image.new("L", (6, 4), 255).save(path)
    refused(root, path, "only 255", "Draw the object", read=True)


def test_mask_with_a_class_without_name(root):
    path = mask(root, "p2", [[3, 0], [0, 0]])
    refused(root, path, "class id 3", "add the class to the list of names", read=True)


def test_check_names_what_cannot_be_used(root):
    assert {row.state for row in check.check("folder", root)} == {"ok"}
    (root / "images" / "p0.jpg").write_bytes(b"no picture")
    (row,) = [row for row in check.check("folder", root) if row.what.strip() == "p0.jpg"]
    assert row.state == "damaged" and row.found == "no image"
