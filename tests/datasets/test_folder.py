"""Own images: the layout, and the errors that teach it."""

import os
import sys
import unicodedata

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


def test_files_of_the_system_are_passed_over_and_others_told(root, capfd):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "images" / name).write_text("x")
    assert open_dataset("folder", root).passed_over == () and "passed over" not in "".join(capfd.readouterr())
    (root / "images" / "p0.json").write_text("{}")               # labelme writes it beside the photo
    (root / "masks" / "more").mkdir()
    data = open_dataset("folder", root)
    assert len(data) == 2 and [path.name for path in data.passed_over] == ["p0.json", "more"]
    assert "passed over, no pictures: p0.json, more" in "".join(capfd.readouterr())
    assert [row.note for row in check.check("folder", root) if row.what == "other files"] == ["p0.json, more"]


def test_windows_text_file(root):
    (root / "classes.txt").write_bytes("﻿cup\r\nbowl\r\n".encode())
    assert open_dataset("folder", root).class_names == ("cup", "bowl")


def test_no_root(root, monkeypatch):
    monkeypatch.delenv("FSSLIB_DATA", raising=False)
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
    (b"_background_\ncup\n", "'_background_' on line 1", "the background has no line"),
    (b"Background\ncup\n", "'Background' on line 1", "the background has no line"),
    (b"__ignore__\ncup\n", "'__ignore__' on line 1", "the background has no line"),
    (b"cup\nvoid\n", "'void' on line 2", "the background has no line"),
    (b"0 background\n1 cup\n", "numbers in front of the names", "Write the names alone"),
    (b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:128,0,0::\n", "CVAT's labelmap", "fsslib data masks"),
], ids=["missing", "empty", "blank", "twice", "gap", "latin-1", "many", "labelme", "background", "ignored", "void", "numbered", "CVAT"])
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


def test_root_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("FSSLIB_DATA", str(root))
    assert len(open_dataset("folder")) == 2 and check.check("folder")[0].found == "2"
    monkeypatch.setenv("FSSLIB_DATA", str(root / "images"))
    refused(None, "root", "no images/ in FSSLIB_DATA", "--root my_photos")


@pytest.mark.parametrize("suffix", ["heic", "jxl", "dng", "psd", "npy"])
def test_pictures_that_are_not_read(root, suffix):
    (root / "images" / f"p9.{suffix}").write_bytes(b"x")
    refused(root, root / "images" / f"p9.{suffix}", f"a .{suffix} file", "Convert it")


@pytest.mark.parametrize("suffix", ["jfif", "tif", "webp", "bmp", "jpe"])
def test_pictures_of_other_names_are_read(root, suffix):
    Image.new("RGB", (6, 4)).save(root / "images" / f"p9.{suffix}", "JPEG" if suffix[0] == "j" else None)
    assert [path.name for path in open_dataset("folder", root).unlabelled] == ["p1.png", f"p9.{suffix}"]


@pytest.mark.parametrize("suffix", ["npy", "json", "mat", "xml", "txt"])
def test_masks_in_other_forms_are_told(root, suffix):
    (root / "masks" / "p0.png").unlink()
    (root / "masks" / f"p0.{suffix}").write_bytes(b"x")
    refused(root, root / "masks" / f"p0.{suffix}", f"a mask stored as .{suffix}", "again as PNG")


@pytest.mark.parametrize("name", ["p1_mask.png", "P1.png", "p1.png.png"])
def test_a_mask_of_nearly_the_right_name(root, name):
    Image.fromarray(np.ones((4, 6), np.uint8)).save(root / "masks" / name)
    refused(root, root / "masks" / name, "a mask without an image", "It seems to belong to p1.png: call it p1.png.")


def test_one_name_in_two_unicode_forms(root):
    (root / "images" / "p0.jpg").rename(root / "images" / unicodedata.normalize("NFC", "Tür.jpg"))
    (root / "masks" / "p0.png").rename(root / "masks" / unicodedata.normalize("NFD", "Tür.png"))
    data = open_dataset("folder", root)
    assert data.ids == ("Tür", "p2") or data.ids == ("p2", unicodedata.normalize("NFC", "Tür"))
    (root / "classes.txt").write_text("caf\u00e9\ncafe\u0301\n", encoding="utf-8")
    refused(root, "classes.txt", "on lines 1 and 2", "Rename")
    (root / "images" / unicodedata.normalize("NFD", "Tür.png")).write_bytes(b"x")
    (root / "classes.txt").write_text("cup\nbowl\n")
    refused(root, "images", "a second file called", "Rename")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_file_name_that_is_no_text(root):
    (root / "images" / "p0.jpg").rename(os.fsdecode(os.fsencode(root) + b"/images/\xff.jpg"))
    refused(root, "udcff.jpg", "a name that is no text", "Rename")


def test_a_photo_that_its_exif_tag_turns(root):
    turned = Image.Exif()
    turned[0x112] = 6
    Image.new("RGB", (6, 4)).save(root / "images" / "p0.jpg", exif=turned)
    refused(root, root / "masks" / "p0.png", "a mask of 6x4 pixels, expected 4x6", "Turn the mask", read=True)


@pytest.mark.parametrize("corner, found, cure", [
    ([[0, 0], [0, 0]], "no pixel of a class", "Draw the object"),
    ([[0, 255], [0, 0]], "only 0 and 255, no pixel of a class; 255 means ignored here", "divide by 255 so that 1 is the class")])
def test_empty_mask(root, corner, found, cure):
    path = mask(root, "p0", corner)
    refused(root, path, found, cure, read=True)
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
    assert {row.state for row in check.check("folder", root)} == {"ok", "look"}      # a class on one image
    (root / "images" / "p0.jpg").write_bytes(b"no picture")
    (row,) = [row for row in check.check("folder", root) if row.what.strip() == "p0.jpg"]
    assert row.state == "damaged" and row.found == "no image"


def rows_of(root):
    return {row.what.strip(): row for row in check.check("folder", root)}


def test_check_tells_each_class_at_one_glance(root):
    (root / "classes.txt").write_text("cup\nred bowl\nplate\n")
    rows = rows_of(root)
    assert rows["class 1 (cup)"].found == "1 images, 4.3 % of the pixels"          # 2 of 47: one is ignored
    assert rows["class 1 (cup)"].note.startswith("smallest 2 px in p0; 1 below 2048 px")
    assert (rows["class 3 (plate)"].found, rows["class 3 (plate)"].state) == ("0 images", "look")


def test_check_doubts_copies_palettes_and_masks_without_background(root):
    (root / "images" / "p0 (1).jpg").write_bytes((root / "images" / "p0.jpg").read_bytes())
    swapped = Image.fromarray(np.full((4, 6), 1, np.uint8))
    swapped.putpalette([0, 0, 0, 192, 128, 128])                 # VOC's colour of class 15 under number 1
    swapped.save(root / "masks" / "p0.png")
    rows = rows_of(root)
    assert rows["copies"].found == "p0.jpg, p0 (1).jpg" and rows["copies"].state == "look"
    assert rows["p0.png"].found == "number 1 in the colour of class 15"
    assert "no background" not in rows
    mask(root, "p2", [[2, 2], [2, 2]])
    Image.fromarray(np.full((4, 6), 2, np.uint8)).save(root / "masks" / "p2.png")
    assert rows_of(root)["no background"].state == "look"
