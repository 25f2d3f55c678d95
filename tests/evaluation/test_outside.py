"""Masks of any other code: the same scores as ``evaluate``, and one sentence for every folder that cannot be scored."""

import json
import shutil

import numpy as np
import pytest
from conftest import Toy, call
from PIL import Image

from fsslib import datasets
from fsslib.basics.errors import InputError
from fsslib.basics.storage import sha256_json
from fsslib.episodes import folds
from fsslib.episodes.sampler import EpisodeList
from fsslib.evaluation.outside import read_list, score_masks, write_list
from fsslib.evaluation.scoring import evaluate, protocol_episodes
from fsslib.metrics import EpisodeScores

CLASSES = (1, 2, 3, 4)


@pytest.fixture(autouse=True)
def opened(monkeypatch, toy_folder):
    """Every data set that is opened by name is the toy one."""
    class Small(Toy):
        area_scale = 1 / 2048
    monkeypatch.setattr(datasets, "open_dataset", lambda name, root=None, split="train": Small(toy_folder, split))


@pytest.fixture
def listed(toy, tmp_path):
    """(path of a list of six episodes that is scored at the original size, its EpisodeList)."""
    write_list(tmp_path / "list.json", toy, CLASSES, 1, "pfenet", episodes=6)
    return tmp_path / "list.json", read_list(tmp_path / "list.json")[0]


def save_all(folder, answers):
    folder.mkdir()
    for number, answer in enumerate(answers):
        Image.fromarray(np.asarray(answer, np.uint8)).save(folder / f"{number:06d}.png")
    return folder


def truths(episodes, rows=slice(None)):
    """The object of each query, but only in some of its rows."""
    for episode in episodes:
        answer, mask = np.zeros((48, 64), np.uint8), episodes.dataset.mask(episode.query)
        answer[rows] = mask[rows] == episode.class_ids[0]
        yield answer


@pytest.mark.parametrize("protocol, ways, side", [("pfenet", 1, None), ("panet", 2, 417), ("symnet", 1, 473)])
def test_the_same_scores_as_evaluate(toy, tiny_panet, tmp_path, protocol, ways, side):
    episodes = protocol_episodes(toy, CLASSES, 1, protocol, ways, 4, (7, 8))
    direct = evaluate(tiny_panet, episodes, CLASSES, protocol, bank=False, progress=False, masks=tmp_path / "masks")
    listed = write_list(tmp_path / "list.json", toy, CLASSES, 1, protocol, ways, 4, (7, 8))
    outside = score_masks(tmp_path / "masks", tmp_path / "list.json")
    for key in ("scores", "miou", "fb_iou", "intervals", "per_class"):
        assert outside[key] == direct[key]
    assert len(outside["scores"]["rows"]) == 8 and outside["miou"] > 0
    assert outside["digests"] == {"data": toy.digest, "episodes": episodes.digest, "list": listed["list_digest"]}
    shared = outside["config"].keys() & direct["config"].keys() - {"split"}      # the list opens the protocol's own split
    assert {k: outside["config"][k] for k in shared} == {k: direct["config"][k] for k in shared} and len(shared) == 9
    sizes = {Image.open(path).size for path in (tmp_path / "masks").iterdir()}
    assert sizes == {(side, side) if side else (64, 48)}


def test_scores_against_a_count(listed):
    """The lower half of every object is missed: nothing is wrong but that, so IoU is what is left of each class."""
    path, episodes = listed
    save_all(path.parent / "half", truths(episodes, slice(0, 24)))
    kept, whole = dict.fromkeys(CLASSES, 0), dict.fromkeys(CLASSES, 0)
    for episode in episodes:
        (c,), mask = episode.class_ids, episodes.dataset.mask(episode.query)
        kept[c], whole[c] = kept[c] + (mask[:24] == c).sum(), whole[c] + (mask == c).sum()
    result = score_masks(path.parent / "half", path)
    shares = [kept[c] / whole[c] if whole[c] else 0 for c in CLASSES]            # a class that is never asked for counts 0
    assert 0 < max(shares) < 1
    assert result["per_class"] == {str(c): pytest.approx(100 * share, abs=0.005) for c, share in zip(CLASSES, shares)}
    assert result["miou"] == pytest.approx(100 * np.mean(shares), abs=0.005)


def test_every_lossless_way_to_write_a_mask(listed):
    path, episodes = listed
    folder, answers = path.parent / "kinds", list(truths(episodes, slice(10, 40)))
    folder.mkdir()
    for number, answer in enumerate(answers):
        image = Image.fromarray(answer)
        if number % 3 == 0:                              # a palette whose colours say something else
            image.putpalette([200, 0, 0, 0, 200, 0])
        elif number % 3 == 1:                            # black and white, one bit
            image = Image.fromarray(answer.astype(bool))
        image.save(folder / f"{number}.PNG")
    (folder / "notes.txt").write_text("no mask")
    (folder / ".hidden.png").write_text("no mask")
    plain = score_masks(save_all(path.parent / "plain", answers), path)
    assert score_masks(folder, path)["scores"] == plain["scores"] and plain["miou"] > 0


def remove(*numbers):
    return lambda folder: [(folder / f"{n:06d}.png").unlink() for n in numbers]


def save(image, name="000003.png", **options):
    return lambda folder: image.save(folder / name, **options)


def write(content, name="000003.png"):
    return lambda folder: (folder / name).write_bytes(content)


def cut(folder):
    path = folder / "000003.png"
    path.write_bytes(path.read_bytes()[:60])


def count_from_one(folder):
    for number in range(5, -1, -1):
        (folder / f"{number:06d}.png").rename(folder / f"{number + 1:06d}.png")


def to_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


def to_folder(folder):
    remove(3)(folder)
    (folder / "000003.png").mkdir()


def with_values(*values):
    mask = np.zeros((48, 64), np.uint8)
    mask[0, :len(values)] = values
    return save(Image.fromarray(mask))


def blank(mode, side=(64, 48)):
    return Image.new(mode, side)


WRONG = {
    "gone": (shutil.rmtree, ("masks: found no such folder", "000000.png")),
    "a file": (to_file, ("masks: found a file, expected a folder",)),
    "empty": (remove(*range(6)), ("masks: found no PNG, expected 6 masks",)),
    "one missing": (remove(5), ("000005.png: found no mask of episode 5, expected", "each of the 6")),
    "two missing": (remove(4, 2), ("000002.png: found no mask of episode 2 (and of 1 more)",)),
    "too many": (save(blank("L"), "8.png"), ("8.png: found a mask of episode 8, expected numbers 0 to 5", "6 episodes")),
    "from one": (count_from_one, ("found a mask of episode 6", "Number the masks from 0")),
    "no number": (save(blank("L"), "mask_3.png"), ("'mask_3.png', a name that is no number", "000012.png")),
    "minus": (save(blank("L"), "-3.png"), ("'-3.png', a name that is no number",)),
    "other digits": (save(blank("L"), "٣.png"), ("a name that is no number",)),
    "twice": (save(blank("L"), "3.png"), ("000003.png and 3.png, both number 3", "one file an episode")),
    "jpeg": (save(blank("L"), "000003.jpg"), ("'000003.jpg', a JPEG", "JPEG changes the numbers")),
    "jpeg called png": (save(blank("L"), format="JPEG"), ("000003.png: found a mask stored as JPEG called .png",)),
    "sideways": (save(blank("L", (48, 64))), ("found a mask of 48x64 px, expected 64x48 px, the size of its query image toy",)),
    "input size": (save(blank("L", (473, 473))), ("found a mask of 473x473 px, expected 64x48 px",)),
    "colours": (save(Image.new("RGB", (64, 48), "red")), ("found colours (1 of them, as (255, 0, 0))", "one 8-bit number a pixel", "grey PNG")),
    "colours and alpha": (save(blank("RGBA")), ("found colours", "grey PNG")),
    "grey and alpha": (save(blank("LA")), ("found colours", "grey PNG")),
    "16 bits": (save(Image.fromarray(np.full((48, 64), 300, np.uint16))), ("found the value 300", "0 (background) and 1")),
    "a class id": (with_values(1, 2), ("found the value 2, expected 0 (background) and 1 (object)", "not the class id")),
    "void": (with_values(1, 255), ("found the value 255", "Answer every pixel")),
    "0 and 255": (with_values(255), ("found a mask of 0 and 255", "Save 1 for the object instead of 255")),
    "all 255": (save(Image.new("L", (64, 48), 255)), ("found a mask of 255, expected 0", "instead of 255")),
    "cut short": (cut, ("000003.png: found a damaged image", "Save it again")),
    "no byte": (write(b""), ("000003.png: found an empty file", "Save it again")),
    "text": (write(b"0 0 1 1 0"), ("000003.png: found no image", "Save it again")),
    "a folder inside": (to_folder, ("000003.png: found a folder, expected a PNG",))}


@pytest.mark.parametrize("spoil, words", WRONG.values(), ids=WRONG)
def test_a_wrong_folder_is_refused(listed, spoil, words):
    path, episodes = listed
    folder = save_all(path.parent / "masks", truths(episodes))
    assert len(score_masks(folder, path)["scores"]["rows"]) == 6             # right before it is spoilt
    spoil(folder)
    with pytest.raises(InputError) as error:
        score_masks(folder, path)
    message = str(error.value)
    assert str(folder) in message and "\n" not in message and message.endswith(".")
    assert [word for word in words if word not in message] == []


def test_all_names_are_looked_at_before_the_first_pixel(listed):
    path, episodes = listed
    folder = save_all(path.parent / "masks", truths(episodes))
    write(b"", "000000.png")(folder)
    other = save_all(path.parent / "other", truths(episodes))
    remove(5)(other)
    with pytest.raises(InputError, match="no mask of episode 5"):
        score_masks(folder, path, against=other)
    remove(5)(folder)
    with pytest.raises(InputError, match="no mask of episode 5"):
        score_masks(folder, path)


def test_sizes_and_values_of_another_protocol(toy, tmp_path):
    write_list(tmp_path / "list.json", toy, CLASSES, 1, "panet", 2, 1, (0,))
    for mask, word in ((np.zeros((48, 64)), "64x48 px, expected 417x417 px, the size of the input that panet scores"),
                       (np.full((417, 417), 3), "the value 3, expected 0 (background) to 2 (object of way 2)")):
        folder = save_all(tmp_path / f"masks{len(mask)}", [mask])
        with pytest.raises(InputError) as error:
            score_masks(folder, tmp_path / "list.json")
        assert word in str(error.value)
    halves = np.repeat([[1], [2]], [208, 209], 0).repeat(417, 1)         # each way somewhere
    assert score_masks(save_all(tmp_path / "right", [halves]), tmp_path / "list.json")["fb_iou"] > 0


EDITS = {"scored": "input", "absent": "ignored", "size": 321, "resize": "square", "protocol": "bam", "classes": [1, 2, 3],
         "fold": 1, "shots": 5, "ways": 2, "split": "val", "dataset": "voc", "digest": "0", "list_digest": "0", "episodes": []}


@pytest.mark.parametrize("key", EDITS)
def test_an_edited_list_is_refused(listed, key):
    path, episodes = listed
    stored = json.loads(path.read_text())
    assert stored[key] != EDITS[key] and set(EDITS) == set(stored)
    path.write_text(json.dumps(stored))                              # other white space is no edit
    assert read_list(path)[0].episodes == episodes.episodes
    path.write_text(json.dumps({**stored, key: EDITS[key]}))
    with pytest.raises(InputError, match="The list was edited"):
        read_list(path)


def test_other_files_are_no_list(listed, toy):
    path, episodes = listed
    stored = json.loads(path.read_text())
    EpisodeList(toy, episodes.episodes).save(path.parent / "plain.json")
    del stored["absent"]
    for name, text, word in (("plain.json", None, "no list of fsslib score episodes"), ("none.json", None, "no such file"),
                             ("short.json", json.dumps(stored), "no list of fsslib"), ("list", "[]", "no list of fsslib"),
                             ("text", "{", "no valid JSON")):
        if text:
            (path.parent / name).write_text(text)
        with pytest.raises(InputError, match=word):
            read_list(path.parent / name)


def test_a_list_of_images_that_are_not_there(listed):
    path, _ = listed
    stored = json.loads(path.read_text())
    stored["episodes"][0][2] = "toy99"                               # with a digest that fits: another version of the data
    del stored["list_digest"]
    path.write_text(json.dumps({**stored, "list_digest": sha256_json(stored)}))
    with pytest.raises(InputError, match="image 'toy99'"):
        read_list(path)


def test_the_same_call_writes_the_same_list(toy, tmp_path):
    first, again, other = (write_list(tmp_path / f"{at}.json", toy, CLASSES, 2, "hsnet", 1, 5, (seed,))
                           for at, seed in enumerate((3, 3, 4)))
    assert first == again == json.loads((tmp_path / "0.json").read_text()) and first["list_digest"] != other["list_digest"]
    assert {k: first[k] for k in ("protocol", "shots", "size", "resize", "scored", "absent", "fold")} == {
        "protocol": "hsnet", "shots": 2, "size": 400, "resize": "square", "scored": "input", "absent": "counted", "fold": None}
    with pytest.raises(InputError, match="a folder"):
        write_list(tmp_path, toy, CLASSES, 1, episodes=1)


def test_the_commands(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folds, "novel_classes", lambda name, fold: {2: CLASSES}[fold])
    code, out, _ = call(monkeypatch, capsys, "score", "episodes", "--dataset", "voc", "--fold", 2, "--episodes", 3, "--seed", 1,
                        "--seed", 2, "--out", "list.json")
    listed = json.loads((tmp_path / "list.json").read_text())
    assert code == 0 and listed["fold"] == 2 and len(listed["episodes"]) == 6
    for word in ("6 episodes", listed["list_digest"], "000000.png to 000005.png", "that of each query image", "1 object"):
        assert word in out
    episodes, _ = read_list("list.json")
    save_all(tmp_path / "half", truths(episodes, slice(0, 24)))
    save_all(tmp_path / "third", truths(episodes, slice(0, 20)))
    code, out, _ = call(monkeypatch, capsys, "score", "masks", "half", "--list", "list.json", "--against", "third", "--out",
                        "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    third = score_masks("third", "list.json")
    change, interval = EpisodeScores.from_dict(result["scores"]).difference(EpisodeScores.from_dict(third["scores"]))
    assert change > 0 and result["difference"] == {
        "against": "third", "miou": round(100 * change, 2), "interval": [round(100 * v, 2) for v in interval]}
    assert result["config"]["masks"] == "half" and str(tmp_path) not in json.dumps(result)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0 and f"{result['miou']:.2f} %" in lines["mIoU"] and f"{result['fb_iou']:.2f} %" in lines["FB-IoU"]
    assert f"{result['per_class']['3']:.2f} %" in lines["disc"]
    for value in (result["difference"]["miou"], *result["difference"]["interval"]):
        assert f"{value:.2f} %" in lines["difference"]


@pytest.mark.parametrize("protocol, word", [("panet", "417x417 px, to which"), ("symnet", "473x473 px: the long side")])
def test_the_size_of_the_masks_is_told(monkeypatch, capsys, tmp_path, protocol, word):
    code, out, _ = call(monkeypatch, capsys, "score", "episodes", "--classes", "1-4", "--ways", 2, "--protocol", protocol,
                        "--episodes", 1, "--out", tmp_path / "list.json")
    assert code == 0 and word in out and "1 to 2 the object of way" in out
    assert json.loads((tmp_path / "list.json").read_text())["fold"] is None          # the classes were chosen


@pytest.mark.parametrize("arguments, word", [
    (("episodes", "--protocol", "fss", "--out", "new.json"), "protocol: found 'fss'"),
    (("episodes", "--classes", "1-4", "--episodes", 0, "--out", "new.json"), "episodes: found 0"),
    (("episodes", "--classes", "1-4", "--episodes", 1, "--out", "."), ".: found a folder, expected the path of a file"),
    (("masks", "gone", "--list", "list.json"), "gone: found no such folder"),
    (("masks", "gone", "--list", "gone.json"), "gone.json: found no such file"),
    (("masks", "gone", "--list", "list.json", "--out", "list.json/result.json"), "found a file on this path")])
def test_bad_input_is_one_line_and_exit_2(monkeypatch, capsys, listed, arguments, word):
    monkeypatch.chdir(listed[0].parent)
    code, out, err = call(monkeypatch, capsys, "score", *arguments)
    lines = err.strip().splitlines()
    assert code == 2 and not out and lines[-1].startswith("fsslib: ") and word in lines[-1] and "Traceback" not in err
    assert [file.name for file in listed[0].parent.rglob("*.json")] == ["list.json"]
