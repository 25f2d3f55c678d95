"""Own images at the command line: which classes are scored and learned, and what is told where that cannot be."""

import itertools
import json

import numpy as np
import pytest
from conftest import call, own_images, read_only
from PIL import Image

from fsslib.basics.checkpoints import load_checkpoint
from fsslib.basics.errors import InputError
from fsslib.cli.options import class_ids

TINY = ("--backbone", "tiny", "--weights", "none", "--size", 64)
SCORE = ("evaluate", "--dataset", "folder", *TINY, "--episodes", 4, "--out", "out")


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def said(err):
    (line,) = [line for line in err.splitlines() if line.startswith("fsslib: ")]
    return line


def result():
    with open("out/result.json", encoding="utf-8") as file:
        return json.load(file)


def test_a_class_that_no_mask_shows(monkeypatch, capsys, tmp_path):
    own_images(tmp_path / "a", names=("cup", "bowl", "mug"))
    code, out, err = call(monkeypatch, capsys, *SCORE, "--root", "a")
    assert code == 0 and "left out, since no mask shows them: bowl, mug" in out, err
    assert result()["config"]["classes"] == [1] and result()["config"]["left_out"]["classes"] == ["bowl", "mug"]
    code, out, err = call(monkeypatch, capsys, "score", "episodes", "--dataset", "folder", "--root", "a",
                          "--episodes", 3, "--out", "l.json")
    assert code == 0 and "bowl, mug" in out, err
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root", "a", "--classes", "1,2")
    assert code == 2 and "class 2 (bowl)" in said(err) and "found 0 images" in said(err) and "--classes 1)" in said(err)


def test_the_cure_for_a_rare_class_works(monkeypatch, capsys, tmp_path):
    own_images(tmp_path / "a", 7, ("cup", "bowl", "mug", "jar"), classes=(1, 3, 4, 1, 3, 4, 2))        # one bowl
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root", "a")
    assert code == 2 and "class 2 (bowl)" in said(err) and "found 1 images" in said(err)
    cure = said(err).split("--classes ")[1].split(")")[0]
    assert cure == "1,3-4" and call(monkeypatch, capsys, *SCORE, "--root", "a", "--classes", cure)[0] == 0
    assert result()["config"]["classes"] == [1, 3, 4] and result()["config"]["left_out"]["classes"] == ["bowl"]
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root", "a", "--classes", "1", "--shots", 5)
    assert "found 2 images" in said(err) and "Ask for at most 1 shots" in said(err)
    assert call(monkeypatch, capsys, *SCORE[:-1], "out1", "--root", "a", "--classes", "1", "--shots", 1)[0] == 0


def test_the_cure_for_small_objects_works(monkeypatch, capsys, tmp_path):
    own_images(tmp_path / "a", shape=(48, 64), box=(slice(8, 40), slice(8, 40)))                        # 32 x 32 = 1024 px
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root", "a")
    assert code == 2 and "found 0 images with >= 2048 px and 4 that show it smaller" in said(err)
    assert "--protocol hsnet" in said(err)
    assert call(monkeypatch, capsys, *SCORE, "--root", "a", "--protocol", "hsnet")[0] == 0


def test_classes_by_name(monkeypatch, capsys, tmp_path):
    own_images(tmp_path / "a", 8, ("cup", "red bowl", "t-shirt", "7"), classes=(1, 2, 3, 4))
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root", "a", "--classes", "t-shirt, red bowl,1")
    assert code == 0, err
    assert sorted(result()["config"]["classes"]) == [1, 2, 3] and result()["config"]["left_out"]["classes"] == ["7"]
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root", "a", "--classes", "bowl")
    assert code == 2 and "--classes: found 'bowl', expected class ids such as 6-10,16, or names of folder: 'cup', 'red" in said(err)
    with pytest.raises(InputError, match="each class once"):
        class_ids("cup,1", "folder", "a")
    for text in ("1-999999999999", "3-", "", "1,,2"):
        with pytest.raises(InputError, match="--classes"):
            class_ids(text)


TRAIN = ("train", "--dataset", "folder", *TINY, "--batch", 1, "--steps", 2, "--precision", 32)


def test_training_on_own_classes(monkeypatch, capsys, tmp_path):
    own_images(tmp_path / "a", 24, ("cup", "bowl", "mug", "jar"), classes=(1, 2, 3, 4))
    code, _, err = call(monkeypatch, capsys, *TRAIN, "--root", "a", "--out", "run")
    assert code == 2 and said(err).startswith("fsslib: --classes: found none given") and "coco" not in said(err)
    learn = (*TRAIN, "--root", "a", "--classes", "cup,bowl", "--out", "run")
    code, _, err = call(monkeypatch, capsys, *learn)               # two or three images are held out: too few of a class
    assert code == 2 and "validation on held-out images" in said(err) and not (tmp_path / "run" / "checkpoint.pt").exists()
    share = said(err).split("(validation: ")[1].split(" ")[0]      # the cure, word for word
    (tmp_path / "more.yaml").write_text(f"validation: {share}\nvalidation_episodes: 4\nvalidate_every: 2\n")
    code, out, err = call(monkeypatch, capsys, *learn[:-1], "validated", "--config", "more.yaml")
    assert code == 0, err
    assert load_checkpoint("validated/checkpoint.pt")["rows"][-1]["val_miou"] is not None
    assert call(monkeypatch, capsys, *learn, "--validate-every", 0)[0] == 0
    score = (*SCORE, "--root", "a", "--checkpoint", "run/checkpoint.pt")
    code, _, err = call(monkeypatch, capsys, *score)
    assert code == 2 and "trained on the classes 1, 2 " in said(err) and "--classes that it has not learned" in said(err)
    assert call(monkeypatch, capsys, *score, "--classes", "mug,jar")[0] == 0


def test_two_folders_are_two_data_sets(monkeypatch, capsys, tmp_path):
    own_images(tmp_path / "a", 12, ("cup", "bowl"), classes=(1, 2))
    own_images(tmp_path / "b", 12, ("jar", "cup"), classes=(1, 2))
    assert call(monkeypatch, capsys, *TRAIN, "--root", "a", "--classes", "cup", "--validate-every", 0, "--out", "run")[0] == 0
    score = (*SCORE, "--root", "b", "--checkpoint", "run/checkpoint.pt", "--classes")
    assert call(monkeypatch, capsys, *score, "1")[0] == 0            # a jar, class 1 of the other folder
    code, _, err = call(monkeypatch, capsys, *score, "2")
    assert code == 2 and "trained on the classes 2 " in said(err)


def test_folds_are_offered_of_what_can_be_read(monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "train", "--dataset", "mnist")
    assert code == 2 and "expected one with folds (voc, shapes)" in said(err)


PRETRAIN = ("pretrain", "--dataset", "folder", "--root", "a", *TINY[:4], "--size", 32, "--patch-size", 32, "--batch", 8,
            "--epochs", 1, "--precision", 32, "--out", "run")


def test_contrast_takes_every_image(monkeypatch, capsys, tmp_path):
    """40 photos, 4 with a mask; one of them smaller than its patches are many."""
    root = own_images(tmp_path / "a", 40)
    for k in range(4, 40):
        (root / "masks" / f"p{k:02}.png").unlink()
    Image.new("RGB", (8, 5)).save(root / "images" / "p39.png")
    seen = []
    from fsslib.contrast.views import ContrastViews
    plain = ContrastViews.__getitem__
    monkeypatch.setattr(ContrastViews, "__getitem__", lambda self, t: (
        seen.append(self.dataset.ids[self.image_of(t)]), plain(self, t))[1])
    monkeypatch.setattr("fsslib.basics.engine.DataLoader", lambda items, batch_size, sampler, **_: (
        __import__("torch").utils.data.default_collate([items[t], *(items[n] for n in itertools.islice(sampler, batch_size - 1))])
        for t in sampler))
    code, _, err = call(monkeypatch, capsys, *PRETRAIN)
    assert code == 2 and said(err).startswith("fsslib: probe: found ") and "--probe-every 0" in said(err)
    code, _, err = call(monkeypatch, capsys, *PRETRAIN, "--probe-every", 0, "--images", "all")
    assert code == 0, err
    assert len(set(seen)) == 40                  # the first one twice: its size tells how many loading processes fit
    with open("run/result.json", encoding="utf-8") as file:
        assert json.load(file)["config"]["images"] == 40


def test_contrast_without_any_mask(monkeypatch, capsys, tmp_path):
    root = own_images(tmp_path / "a", 16)
    for path in (root / "masks").iterdir():
        path.unlink()
    assert call(monkeypatch, capsys, *PRETRAIN)[0] == 2
    code, _, err = call(monkeypatch, capsys, *PRETRAIN, "--probe-every", 0)
    assert code == 0, err
    (root / "masks").rmdir()
    (root / "classes.txt").unlink()
    code, _, err = call(monkeypatch, capsys, *PRETRAIN[:-1], "images_alone", "--probe-every", 0)
    assert code == 0, err
    digests = [json.loads((tmp_path / out / "result.json").read_text())["digests"]["digest"] for out in ("run", "images_alone")]
    Image.fromarray(np.full((120, 160, 3), 9, np.uint8)).save(root / "images" / "p00.png")
    assert call(monkeypatch, capsys, *PRETRAIN[:-1], "changed", "--probe-every", 0)[0] == 0
    assert json.loads((tmp_path / "changed" / "result.json").read_text())["digests"]["digest"] not in digests
    code, out, err = call(monkeypatch, capsys, "data", "superpixels", "--dataset", "folder", "--root", "a", "--workers", 1)
    assert code == 0 and "0 images segmented, 16 were there" in out, err
    assert call(monkeypatch, capsys, *SCORE, "--root", "a")[0] == 2


def test_a_cache_that_may_only_be_read(monkeypatch, capsys, tmp_path):
    """A prepared cache gives the same scores; what is not in it is computed where it can be, and told where it cannot."""
    own_images(tmp_path / "a")
    own_images(tmp_path / "b", 5)
    kept = (*SCORE[:-1], "kept", "--keep-bank")
    for call_ in ((*SCORE, "--root", "a"), (*kept, "--root", "a")):
        assert call(monkeypatch, capsys, *call_)[0] == 0
    first = [json.loads((tmp_path / out / "result.json").read_text())["miou"] for out in ("out", "kept")]
    files = read_only(monkeypatch, tmp_path / "cache")
    before = files()
    for call_ in ((*SCORE[:-1], "out2", "--root", "a"), (*kept[:-2], "kept2", "--keep-bank", "--root", "a")):
        code, out, err = call(monkeypatch, capsys, *call_)
        assert code == 0 and "index" not in out, err
    assert [json.loads((tmp_path / out / "result.json").read_text())["miou"] for out in ("out2", "kept2")] == first
    code, out, err = call(monkeypatch, capsys, *SCORE[:-1], "other", "--root", "b")
    assert code == 0 and "the index of these images is not kept" in out, err
    code, _, err = call(monkeypatch, capsys, *SCORE[:-1], "kept3", "--keep-bank", "--root", "b")
    assert code == 2 and "takes no files (Read-only file system)" in said(err) and "Set FSSLIB_CACHE" in said(err)
    code, out, _ = call(monkeypatch, capsys, "doctor")
    assert "LOOK  cache folder" in out and "What is in it is used" in out
    assert files() == before
