"""A folder of photos: what is written, what is done once, what is passed over; and which photo to outline first."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import call
from PIL import Image

from fsslib.basics.errors import InputError
from fsslib.predict import Segmenter
from fsslib.predict.photos import photos_in, segment_photos
from fsslib.predict.suggest import FIRST, NEXT, suggest

SIZE = 64


@pytest.fixture
def learned(tiny_panet, toy):
    segmenter = Segmenter(tiny_panet, SIZE, "cpu")
    for c in (1, 2):
        i = next(i for i in range(len(toy)) if (toy.mask(i) == c).any())
        segmenter.learn(toy.image(i), mask=toy.mask(i) == c, name=toy.class_names[c - 1])
    return segmenter


@pytest.fixture
def folder(tmp_path, toy_folder):
    target = tmp_path / "photos"
    target.mkdir()
    for path in sorted((toy_folder / "images").iterdir())[:5]:
        shutil.copy(path, target / f"ä {path.name}")
    (target / "notes.txt").write_text("no photo")
    (target / ".hidden.png").write_bytes(b"")
    return target


def test_masks_and_predictions(learned, folder, tmp_path, toy):
    photos = photos_in(folder)
    truth = dict(zip(photos, (toy.mask(i) for i in range(5))))
    found = segment_photos(learned, photos, tmp_path / "out", truth.get, progress=False)
    assert found == json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["file"] for row in found["photos"]] == [f"ä toy{i:02}.png" for i in range(5)]
    for path, row in zip(photos, found["photos"]):
        picture = Image.open(tmp_path / "out" / "masks" / f"{path.stem}.png")
        mask, expected = np.array(picture), learned.segment(path)
        np.testing.assert_array_equal(mask, expected.mask)
        assert picture.mode == "P" and picture.getpalette()[3:6] == [128, 0, 0]              # VOC's colour of class 1
        for n, name in enumerate(learned.classes, 1):
            entry, valid = row["classes"][name], truth[path] != 255
            assert entry["area"] == pytest.approx((mask == n).mean(), abs=1e-6) and entry["empty"] == (not (mask == n).any())
            union = (((mask == n) | (truth[path] == n)) & valid).sum()
            both = ((mask == n) & (truth[path] == n) & valid).sum()
            assert entry["iou"] == (None if union == 0 else pytest.approx(both / union, abs=1e-4))
            assert ("reason" in entry) == entry["empty"]


def test_a_stopped_run_goes_on(learned, folder, tmp_path):
    photos, drawn = photos_in(folder), []

    def draw(path, image, mask):
        drawn.append(path.name)
        if len(drawn) == 3:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        segment_photos(learned, photos, tmp_path, drawn=draw, progress=False)
    with open(tmp_path / "progress.jsonl", "a") as file:
        file.write('{"job": "half a li')                                     # where a kill struck
    found = segment_photos(learned, photos, tmp_path, drawn=draw, progress=False)
    assert drawn == [path.name for path in (*photos[:3], *photos[2:])]
    segment_photos(learned, photos, tmp_path, drawn=draw, progress=False)
    assert len(drawn) == 6 and len(found["photos"]) == 5                     # done once
    learned.learn(np.zeros((30, 30, 3), np.uint8), box=(5, 5, 20, 20), name="new")
    segment_photos(learned, photos, tmp_path, drawn=draw, progress=False)
    assert len(drawn) == 11                                                  # other supports: all anew
    Image.new("RGB", (40, 40)).save(photos[0])
    segment_photos(learned, photos, tmp_path, drawn=draw, progress=False)
    assert drawn[11:] == [photos[0].name]                                    # another photo of the same name


def test_a_damaged_photo_stops_nothing(learned, folder, tmp_path):
    (folder / "b.jpg").write_bytes(b"\xff\xd8 no photo")
    photos = photos_in(folder)
    found = segment_photos(learned, photos, tmp_path, progress=False)
    errors = {row["file"]: row["error"] for row in found["photos"] if "error" in row}
    assert list(errors) == ["b.jpg"] and "expected a photo" in errors["b.jpg"]
    assert len(list((tmp_path / "masks").iterdir())) == len(photos) - 1


def test_a_mended_photo_is_done_after_all(learned, folder, tmp_path):
    (folder / "b.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "c.jpg").symlink_to(folder / "nowhere.jpg")
    photos = photos_in(folder)
    assert sum("error" in row for row in segment_photos(learned, photos, tmp_path, progress=False)["photos"]) == 2
    Image.new("RGB", (40, 40)).save(folder / "b.jpg")
    (folder / "c.jpg").unlink()
    shutil.copy(folder / "b.jpg", folder / "c.jpg")
    assert not any("error" in row for row in segment_photos(learned, photos, tmp_path, progress=False)["photos"])


def test_the_last_call_is_told_not_the_first(learned, folder, tmp_path):
    """Supports A, then B, then A again: the masks that lie there belong to what predictions.json says."""
    photos, photo = photos_in(folder), photos_in(folder)[1]
    first = segment_photos(learned, photos, tmp_path, progress=False)
    learned.learn(photos[0], box=(2, 2, 30, 30), name="another")
    segment_photos(learned, photos, tmp_path, progress=False)
    learned.forget("another")
    assert segment_photos(learned, photos, tmp_path, progress=False)["digest"] == first["digest"]
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "masks" / f"{photo.stem}.png")), learned.segment(photo).mask)


def test_masks_of_ones_own_are_never_written_over(learned, folder, tmp_path, monkeypatch, capsys):
    own = tmp_path / "own" / "masks"
    own.mkdir(parents=True)
    Image.new("L", (5, 5)).save(own / "ä toy00.png")
    before = (own / "ä toy00.png").read_bytes()
    with pytest.raises(InputError, match="masks of another origin"):
        segment_photos(learned, photos_in(folder), tmp_path / "own", progress=False)
    assert (own / "ä toy00.png").read_bytes() == before
    for arguments in (("--query", folder, "--box", "a.jpg", "1,1,4,4"), ("--suggest", folder), ("--root", folder)):
        code, _, err = call(monkeypatch, capsys, "predict", *arguments, "--out", folder)
        assert code == 2 and "the folder of your own photos" in err
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Give another --out"):
        segment_photos(learned, photos_in(folder), tmp_path / "file", progress=False)


def test_folders_that_cannot_be_meant(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        photos_in(tmp_path / "nowhere")
    with pytest.raises(InputError, match="a file"):
        photos_in(folder / "notes.txt")
    with pytest.raises(InputError, match="no photo to segment"):
        photos_in(folder, photos_in(folder))
    shutil.copy(photos_in(folder)[0], folder / "ä toy00.jpg")
    with pytest.raises(InputError, match="a second photo of the name ä toy00"):
        photos_in(folder)


def test_the_medoid_first_then_the_farthest():
    """On a line: 0, 1, 2, 3, 10. The medoid is 2 (distances 2+1+1+8), the farthest from it 10, then 0 (2 from 2)."""
    found = suggest(np.array([[0.0], [1], [2], [3], [10]]), 3)
    assert [index for index, _, _ in found] == [2, 4, 0] and [reason for _, reason, _ in found] == [FIRST, NEXT, NEXT]
    mean = np.mean([abs(a - b) for a in (0, 1, 2, 3, 10) for b in (0, 1, 2, 3, 10) if a is not b])
    assert found[1][2] == pytest.approx(8 / mean) and found[2][2] == pytest.approx(2 / mean)
    assert len(suggest(np.zeros((2, 3)), 5)) == 2                            # no more than there are; equal photos are no trouble


def test_the_command(monkeypatch, capsys, folder, toy_folder, tmp_path, toy):
    from fsslib.models import build_model
    monkeypatch.setattr("fsslib.models.build_model", lambda *_, **__: build_model("panet", "tiny", None))
    photos = photos_in(folder)
    mask = tmp_path / "mask.png"
    Image.fromarray((255 * (toy.mask(0) == 1)).astype(np.uint8)).save(mask)
    code, out, err = call(monkeypatch, capsys, "predict", "--support", f"hat={photos[0]}", mask, "--box", f"cap={photos[1]}", "5,5,20,20",
                          "--query", folder, "--out", tmp_path / "out", "--size", SIZE, "--format", "coco", "--format", "geojson")
    assert code == 0, err
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    names = [path.stem for path in photos[2:]]                               # the supports are not segmented again
    assert written == {"predictions.json", "progress.jsonl", "contact_sheet.jpg", "coco.json", *(f"masks/{n}.png" for n in names),
                       *(f"overlays/{n}.jpg" for n in names), *(f"geojson/{n}.geojson" for n in names)}
    assert "hat" in out and "of 3 photos" in out and "marked in" in out
    code, out, err = call(monkeypatch, capsys, "predict", "--suggest", folder, "--out", tmp_path / "out", "--size", SIZE)
    assert code == 0 and out.splitlines()[0].startswith("1  ä toy0") and (tmp_path / "out" / "suggested.jpg").is_file()
    code, out, err = call(monkeypatch, capsys, "predict", "--root", toy_folder, "--query", folder, "--out", tmp_path / "own", "--size", SIZE)
    assert code == 2 and "classes.txt" in err                                # its layout is told
    (tmp_path / "data").mkdir()
    for kind in ("images", "masks"):
        shutil.copytree(toy_folder / kind, tmp_path / "data" / kind)
    for path in sorted((tmp_path / "data" / "masks").iterdir())[6:]:
        path.unlink()
    (tmp_path / "data" / "classes.txt").write_text("\n".join(toy.class_names))
    code, out, err = call(monkeypatch, capsys, "predict", "--root", tmp_path / "data", "--out", tmp_path / "own", "--size", SIZE)
    assert code == 0 and len(list((tmp_path / "own" / "masks").iterdir())) == 18, err


@pytest.mark.parametrize("arguments, told", [
    (["--query", "x"], "--out: found none given"),
    (["--out", "o"], "supports: found none"),
    (["--out", "o", "--root", "r", "--box", "a.jpg", "1,1,4,4"], "both --root and --support"),
    (["--out", "o", "--box", "a.jpg", "1,1,4,4"], "--query: found none given"),
])
def test_calls_that_cannot_be_meant(monkeypatch, capsys, arguments, told):
    from fsslib.models import build_model
    monkeypatch.setattr("fsslib.models.build_model", lambda *_, **__: build_model("panet", "tiny", None))
    code, out, err = call(monkeypatch, capsys, "predict", *arguments)
    assert code == 2 and told in err


@pytest.mark.slow
def test_two_hundred_photos_killed_and_resumed(tmp_path, toy_folder):
    """SIGKILL in the midst of the work, by the command itself; the second call does only what is left."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for at in range(200):
        shutil.copy(toy_folder / "images" / f"toy{at % 24:02}.png", photos / f"{at:03}.png")
    command = [sys.executable, "-m", "fsslib", "predict", "--box", str(photos / "000.png"), "10,10,30,30", "--query", str(photos),
               "--out", str(tmp_path / "out")]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    lines = tmp_path / "out" / "progress.jsonl"
    while running.poll() is None and not (lines.exists() and len(lines.read_text().splitlines()) > 20):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "masks").iterdir()}
    assert 20 <= len(before) < 199
    subprocess.run(command, check=True, capture_output=True)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "masks").iterdir() if path.suffix == ".png"}
    assert len(after) == 199 and len(json.loads((tmp_path / "out" / "predictions.json").read_text())["photos"]) == 199
    assert sum(after.get(path) != stamp for path, stamp in before.items()) <= 1             # the one that the kill struck
