"""Runs of the command line: one at a time in a folder, none over another, none that ignores what it was told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import call
from PIL import Image
from test_cli import TINY, toy_voc  # noqa: F401 (a fixture)

from fsslib.basics.checkpoints import load_checkpoint
from fsslib.basics.storage import at_work

ROOT = Path(__file__).parents[2]
QUICK = "batch: 2\nvalidation: 0.3\nvalidate_every: 0\nprecision: '32'\ncheckpoint_every: 1000\n"
VOC = (*TINY, "--dataset", "voc", "--size", 40)


def own(root, names=("cup",), blank=0):
    """Six photos of one object each, of class 1; the last ``blank`` of them without a mask."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rng = np.random.default_rng(len(root.name))
    for k in range(6):
        mask = np.zeros((120, 160), np.uint8)
        mask[20:100, 20 + 5 * k:100 + 5 * k] = 1
        Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)).save(root / "images" / f"p{k}.png")
        if k < 6 - blank:
            Image.fromarray(mask).save(root / "masks" / f"p{k}.png")
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.mark.parametrize("command", [("train", "--config", "quick.yaml", "--steps", 1), ("evaluate", "--episodes", 2), ("probe",),
                                     ("pretrain", "--loss", "global", "--batch", 8, "--epochs", 1, "--probe-every", 0)],
                         ids=lambda command: command[0])
def test_the_second_in_a_folder_is_refused(monkeypatch, capsys, tmp_path, toy_voc, command):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text(QUICK)
    options = (*TINY, "--dataset", "voc", "--out", "two")
    holder = subprocess.Popen([sys.executable, "-c", "import time; from fsslib.basics.storage import at_work\n"
                               "with at_work('two'): print('in', flush=True); time.sleep(99)"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert holder.stdout.readline() == "in\n"
    code, _, err = call(monkeypatch, capsys, *command, *options)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    lines = [line for line in err.splitlines() if line.startswith("fsslib: ")]
    assert code == 2 and len(lines) == 1 and "two: found another process at work there" in lines[0] and not Path("two").exists()


def test_default_folders_tell_apart_what_was_scored(monkeypatch, capsys, tmp_path):
    """Another root, size, seed, checkpoint or file of the same name: another folder. The same call: the same."""
    monkeypatch.chdir(tmp_path)
    own(tmp_path / "A"), own(tmp_path / "longer name")
    options = ("evaluate", *TINY, "--dataset", "folder", "--episodes", 2)

    def score(*more):
        code, _, err = call(monkeypatch, capsys, *options, *more)
        assert code == 0, err
        return set(Path("runs/evaluate").iterdir())
    found = score("--root", "A", "--size", 64)
    for more in (("--root", "longer name", "--size", 64), ("--root", "A", "--size", 96), ("--root", "A", "--size", 64, "--seed", 5)):
        before, found = found, score(*more)
        assert len(found) == len(before) + 1
    assert score("--root", "A", "--size", 64) == found and all("fold" not in path.name.replace("folder", "") for path in found)


def test_a_result_of_another_call_is_not_replaced(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = ("evaluate", *TINY, "--dataset", "folder", "--root", own(tmp_path / "A"), "--size", 64, "--out", "out")
    assert call(monkeypatch, capsys, *options, "--episodes", 2)[0] == 0
    first = Path("out/result.json").read_bytes()
    code, _, err = call(monkeypatch, capsys, *options, "--episodes", 3)
    assert code == 2 and "out/result.json: found the result of another call (fsslib evaluate " in err and "--episodes 2" in err
    assert Path("out/result.json").read_bytes() == first and call(monkeypatch, capsys, *options, "--episodes", 2)[0] == 0
    Path("out/result.json").unlink()                                         # the cure
    assert call(monkeypatch, capsys, *options, "--episodes", 3)[0] == 0


def test_a_result_of_own_images_says_whose(monkeypatch, capsys, tmp_path):
    root = own(tmp_path / "my photos", ("cup", "bowl"), blank=2)
    options = ("evaluate", *TINY, "--dataset", "folder", "--root", root, "--classes", 1, "--size", 64, "--episodes", 2)
    code, _, err = call(monkeypatch, capsys, *options, "--out", tmp_path / "out")
    assert code == 0, err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["config"]["root"] == "my photos" and result["config"]["class_names"] == {"1": "cup"} and "fold" not in result["config"]
    assert result["config"]["left_out"] == {"classes": ["bowl"], "images_without_mask": ["p4.png", "p5.png"]}
    assert str(tmp_path) not in json.dumps(result)


@pytest.mark.parametrize("command, beside", [
    (("evaluate", "--dataset", "folder", "--root", "A", "--fold", 1), "--fold: found --fold beside --dataset folder"),
    (("score", "episodes", "--dataset", "folder", "--root", "A", "--fold", 1, "--out", "x"), "--fold: found --fold beside --dataset folder"),
    (("score", "episodes", "--classes", 2, "--fold", 1, "--out", "x"), "--fold: found --fold beside --classes"),
    (("train", "--classes", 2, "--fold", 1), "--fold: found --fold beside --classes"),
    (("evaluate", "--maps", "--model", "pfenet", "--annotation", "box"), "--annotation: found --annotation beside --maps"),
    (("evaluate", "--maps", "--model", "pfenet", "--save-masks", "x"), "--save-masks: found --save-masks beside --maps"),
    (("evaluate", "--maps", "--model", "pfenet", "--ways", 2), "--ways: found --ways beside --maps"),
    (("evaluate", "--maps", "--model", "pfenet", "--no-bank"), "--bank: found --bank beside --maps"),
    (("evaluate", "--keep-bank", "--no-bank"), "--keep-bank: found --keep-bank beside --no-bank"),
    (("evaluate", "--model", "qgnet", "--extractor", "random", "--checkpoint", "x"), "--extractor: found --extractor beside --checkpoint"),
    (("pretrain", "--loss", "global", "--patches", "slic"), "--patches: found --patches beside --loss global"),
    (("probe", "--seed", 3), "--seed: found --seed beside --weights imagenet")])
def test_an_option_that_nothing_would_read_is_refused(monkeypatch, capsys, tmp_path, command, beside):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(monkeypatch, capsys, *command)
    assert code == 2 and beside in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_more_steps_start_a_new_training_from_a_finished_one(monkeypatch, capsys, tmp_path, toy_voc):  # noqa: F811
    """The sentence names the way, and the way starts from the weights that were there."""
    monkeypatch.chdir(tmp_path)
    Path("quick.yaml").write_text(QUICK)
    options = ("train", *VOC, "--config", "quick.yaml")
    assert call(monkeypatch, capsys, *options, "--steps", 2, "--out", "first")[0] == 0
    code, _, err = call(monkeypatch, capsys, *options, "--steps", 4, "--out", "first", "--resume")
    assert code == 2 and "a finished run with steps=2, expected steps=4" in err and "--checkpoint first/checkpoint.pt, with another --seed" in err
    longer = (*options, "--steps", 4, "--checkpoint", "first/checkpoint.pt", "--seed", 1, "--lr", 0)
    assert call(monkeypatch, capsys, *longer, "--out", "second")[0] == 0     # a rate of 0 keeps the start as it is
    first, second = (load_checkpoint(f"{name}/checkpoint.pt") for name in ("first", "second"))
    assert second["step"] == 4 and len(second["data"]["start"]) == 64 and "start" not in first["data"]
    assert all(torch.equal(first["model"][name], value) for name, value in second["model"].items())
    assert "--checkpoint first/checkpoint.pt" in json.loads(Path("second/result.json").read_text())["command"]
    code, _, err = call(monkeypatch, capsys, *options, "--steps", 4, "--checkpoint", "first/checkpoint.pt", "--classes", 3, "--out", "third")
    assert code == 2 and "a model trained on class1, class2 of voc, expected one of class3 of voc alone" in err and not Path("third").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_that_is_stopped_keeps_its_step(tmp_path, number, status):
    """The signal goes to the whole group, as from a terminal or a scheduler; it ends like an undisturbed run."""
    (tmp_path / "quick.yaml").write_text(QUICK)
    command = [sys.executable, "-m", "fsslib", "train", *TINY, "--size", "64", "--config", "quick.yaml", "--steps", "300", "--out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    assert subprocess.run([*command, "whole"], cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    process = subprocess.Popen([*command, "cut"], cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True)
    began = time.monotonic()
    while not (log := tmp_path / "cut" / "log.csv").exists() or len(log.read_text().splitlines()) < 20:
        assert process.poll() is None and time.monotonic() - began < 200
        time.sleep(0.01)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status and "the same command with --resume goes on from cut/checkpoint.pt" in said and "Traceback" not in said
    assert 15 < load_checkpoint(tmp_path / "cut" / "checkpoint.pt")["step"] < 300 and not (tmp_path / "cut" / "result.json").exists()
    done = subprocess.run([*command, "cut", "--resume"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, cut = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "cut"))
    assert all(torch.equal(whole["model"][name], value) for name, value in cut["model"].items())
    assert [row["loss"] for row in whole["rows"]] == [row["loss"] for row in cut["rows"]]


def test_a_folder_is_free_again_after_a_refusal(tmp_path):
    with at_work(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_a_resumed_training_replaces_no_evaluation(monkeypatch, capsys, tmp_path, toy_voc):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text(QUICK)
    options = ("train", *VOC, "--config", "quick.yaml", "--steps", 2, "--out", "t")
    assert call(monkeypatch, capsys, *options)[0] == 0
    assert call(monkeypatch, capsys, *options, "--resume")[0] == 0           # its own result may be written again
    result = Path("t/result.json")
    scored = {**json.loads(result.read_text()), "command": "fsslib evaluate ...", "digests": {"job": "another"}}
    result.write_text(json.dumps(scored))
    code, _, err = call(monkeypatch, capsys, *options, "--resume")
    assert code == 2 and "t/result.json: found the result of another call (fsslib evaluate ...)" in err
    assert json.loads(result.read_text()) == scored
