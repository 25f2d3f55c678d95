"""VOC 2012 with SBD on a tiny tree: the rules of the lists, where masks come from, the check table."""

import os

import numpy as np
import pytest
from fsslib.datasets import check, open_dataset
from fsslib.datasets.voc_lists import build_list, find_tree, read_list
from fsslib.basics.errors import InputError
from PIL import Image

TRAIN, VAL = ("2007_1", "2008_1", "2008_2"), ("2007_9", "2008_9")
SBD_TRAIN, SBD_VAL = ("2008_2", "2009_1", "2008_9"), ("2009_2", "2009_3")   # one of VOC train, one of VOC val
DETECTION_VAL = ("2008_9", "2009_3")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def mask(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 4), value).save(path)


@pytest.fixture
def root(tmp_path):
    """VOC alone: five images with masks of class 1, detection lists as in the archive."""
    root = tmp_path / "data"
    voc = root / "VOCdevkit" / "VOC2012"
    write(voc / "ImageSets" / "Segmentation" / "train.txt", TRAIN)
    write(voc / "ImageSets" / "Segmentation" / "val.txt", VAL)
    write(voc / "ImageSets" / "Main" / "val.txt", DETECTION_VAL)
    (voc / "JPEGImages").mkdir()
    for i in dict.fromkeys(TRAIN + VAL + SBD_TRAIN + SBD_VAL):
        Image.new("RGB", (6, 4)).save(voc / "JPEGImages" / f"{i}.jpg")
    for i in TRAIN + VAL:
        mask(voc / "SegmentationClass" / f"{i}.png", 1)
    return root


def add_sbd(root, folder="sbd"):
    """SBD as torchvision reads it; its masks are of class 2."""
    from scipy.io import savemat
    sbd = root / folder
    write(sbd / "train.txt", SBD_TRAIN)
    write(sbd / "val.txt", SBD_VAL)
    (sbd / "cls").mkdir()
    for i in SBD_TRAIN + SBD_VAL:
        savemat(sbd / "cls" / f"{i}.mat", {"GTcls": {"Segmentation": np.full((4, 6), 2, np.uint8)}})
    return sbd


def add_merged(root):
    """Merged masks as everybody copies them: of all of VOC and SBD, here of class 3."""
    for i in dict.fromkeys(TRAIN + VAL + SBD_TRAIN + SBD_VAL):
        mask(voc_of(root) / "SegmentationClassAug" / f"{i}.png", 3)


def voc_of(root):
    return root / "VOCdevkit" / "VOC2012"


def refused(call, path, found, cure):
    with pytest.raises(InputError) as caught:
        call()
    assert str(path) in str(caught.value) and found in str(caught.value) and cure in str(caught.value)


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("sbd", ["sbd", "benchmark_RELEASE/dataset"])
def test_any_of_three_roots_finds_voc_and_sbd(root, below, sbd):
    add_sbd(root, sbd)
    tree = find_tree(root / below)
    assert tree.voc == voc_of(root) and tree.sbd.resolve() == root / sbd


def test_root_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("FSSLIB_DATA", str(root))
    data = open_dataset("voc", split="val")
    assert data.ids == VAL and data.images == "val" and len(data.class_names) == 20
    assert data.class_names[0] == "aeroplane" and data.class_names[14] == "person"
    assert data.areas[0].tolist() == [0, 24] + [0] * 19


@pytest.mark.parametrize("supply", [add_sbd, add_merged], ids=["mat", "merged"])
def test_lists_by_hand(root, supply):
    supply(root)
    tree = find_tree(root)
    assert build_list(tree, "voc") == TRAIN
    assert build_list(tree, "aug") == TRAIN + ("2009_1", "2009_2", "2009_3")     # 2008_2 once, 2008_9 not
    assert build_list(tree, "pfenet") == TRAIN + ("2009_1", "2009_2")            # 2009_3 is in detection val
    assert open_dataset("voc", root).images == "aug"


def test_sbds_own_train_noval_comes_first(root):
    write(add_sbd(root) / "train_noval.txt", ("2009_3", "2008_2"))
    assert build_list(find_tree(root), "pfenet") == TRAIN + ("2009_3",)


def test_defaults(root):
    assert open_dataset("voc", root).images == "voc"
    write(voc_of(root) / "ImageSets" / "Segmentation" / "train_aug.txt",
          [f"/JPEGImages/{i}.jpg /SegmentationClassAug/{i}.png" for i in ("2008_1", "2007_1", "2008_1")])
    data = open_dataset("voc", root)
    assert data.images == "train_aug" and data.ids == ("2008_1", "2007_1")


def test_vocs_own_mask_before_merged_before_mat(root):
    add_sbd(root)
    data = open_dataset("voc", root, images="aug")
    assert dict(zip(data.ids, data.areas.argmax(1).tolist())) == dict.fromkeys(TRAIN, 1) | {
        "2009_1": 2, "2009_2": 2, "2009_3": 2}
    add_merged(root)
    assert set(open_dataset("voc", root, images="aug").areas.argmax(1).tolist()) == {1, 3}


def test_sbd_image_where_voc_lacks_it(root):
    sbd = add_sbd(root)
    (sbd / "img").mkdir()
    (voc_of(root) / "JPEGImages" / "2009_1.jpg").rename(sbd / "img" / "2009_1.jpg")
    data = open_dataset("voc", root)
    assert data[data.ids.index("2009_1")].image.shape == (4, 6, 3)


def test_damaged_mat(root):
    path = add_sbd(root) / "cls" / "2009_1.mat"
    path.write_bytes(path.read_bytes()[:150])
    refused(lambda: open_dataset("voc", root).areas, path, "a damaged MATLAB file", "download it again")


@pytest.mark.parametrize("folder, suffix, what", [("JPEGImages", "jpg", "image"), ("SegmentationClass", "png", "mask")])
def test_list_entry_without_file(root, folder, suffix, what):
    for i in VAL:
        (voc_of(root) / folder / f"{i}.{suffix}").unlink()
    refused(lambda: open_dataset("voc", root, split="val"), voc_of(root) / folder / f"2007_9.{suffix}",
            f"no {what} of list entry 2007_9 (and 1 more)", "fsslib data check voc")


def test_no_root_file_as_root_empty_root(root, tmp_path):
    refused(lambda: open_dataset("voc", tmp_path / "no"), tmp_path / "no", "no such folder", "fsslib data fetch voc")
    (tmp_path / "file").write_text("")
    refused(lambda: open_dataset("voc", tmp_path / "file"), tmp_path / "file", "a file", "FSSLIB_DATA")
    (tmp_path / "empty").mkdir()
    refused(lambda: open_dataset("voc", tmp_path / "empty"), tmp_path / "empty", "neither VOCdevkit", "FSSLIB_DATA")


@pytest.mark.parametrize("split, images, found", [("train", "val", "'val'"), ("val", "voc", "'voc'"),
                                                  ("train", "all", "'all'")])
def test_list_of_another_name(root, split, images, found):
    refused(lambda: open_dataset("voc", root, split=split, images=images), "images", found, "Correct the name")


def test_lists_that_cannot_be_built(root):
    refused(lambda: build_list(find_tree(root), "aug"), voc_of(root), "no SBD", "images='voc'")
    refused(lambda: build_list(find_tree(root), "train_aug"), "train_aug.txt", "no list", "fsslib data fetch voc")
    add_sbd(root)
    path = voc_of(root) / "ImageSets" / "Main" / "val.txt"
    path.unlink()
    refused(lambda: build_list(find_tree(root), "pfenet"), path, "no such file", "train_noval.txt")


def test_a_list_from_windows(tmp_path):
    (tmp_path / "list.txt").write_bytes("\ufeffa\r\nb\r\n".encode())
    assert read_list(tmp_path / "list.txt") == ("a", "b")


def test_empty_and_binary_list(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    refused(lambda: read_list(tmp_path / "a.txt"), tmp_path / "a.txt", "an empty list", "fsslib data fetch voc")
    (tmp_path / "b.txt").write_bytes(b"\xff\xd8\xff\xe0")
    refused(lambda: read_list(tmp_path / "b.txt"), tmp_path / "b.txt", "no text", "fsslib data fetch voc")


def test_check_tells_missing_and_damaged(root):
    (voc_of(root) / "JPEGImages" / "2008_1.jpg").unlink()
    mask(voc_of(root) / "SegmentationClass" / "2008_9.png", 21)
    Image.new("L", (5, 4), 1).save(voc_of(root) / "SegmentationClass" / "2007_9.png")
    (voc_of(root) / "JPEGImages" / "2007_1.jpg").write_bytes(b"\xff\xd8\xff")
    rows = check.check("voc", root)
    by = {row.what.strip(): row for row in rows}
    assert (by["list val"].found, by["list val"].expected, by["list val"].state) == ("2", "1449", "less")
    assert by["list aug"].state == "missing" and by["entries without image"].note == "2008_1"
    assert by["images and masks read"].found == "4" and by["images and masks read"].note == "3 cannot be used:"
    assert by["2008_9.png"].found == "class id 21" and by["2007_9.png"].found == "a mask of 5x4 pixels"
    assert by["2007_1.jpg"].state == "damaged"
    lines = check.table(rows).splitlines()
    assert len(lines) == len(rows) + 2
    assert {line[lines[0].index("state"):].split()[0] for line in lines[2:]} <= {"ok", "less", "missing", "damaged"}


def test_check_of_another_name(root):
    refused(lambda: check.check("coco", root), "data set", "'coco'", "Correct the name")


@pytest.mark.skipif(not os.path.isdir(os.path.join(os.environ.get("FSSLIB_DATA", ""), "VOCdevkit")),
                    reason="FSSLIB_DATA names no folder with VOCdevkit")
def test_images_with_a_novel_class_as_published():
    """Sym-Net's and BAM's lists: val images, and (image, class) pairs, with a novel class of >= 2 048 px."""
    large = open_dataset("voc", split="val").areas >= 2048
    folds = [large[:, 5 * fold + 1:5 * fold + 6] for fold in range(4)]
    assert [int(fold.any(1).sum()) for fold in folds] == [364, 445, 592, 336]
    assert [int(fold.sum()) for fold in folds] == [365, 467, 734, 357]
    assert len(open_dataset("voc", images="voc")) == 1464
