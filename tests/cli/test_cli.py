"""The command line: help at once, one sentence and exit code 2 for bad input, and one run from end to end."""

import json
import os
import signal
import subprocess
import sys

import click
import pytest
import torch
from conftest import Toy, call, draw_toy

from fsslib import cli, datasets
from fsslib.episodes import folds
from fsslib.training import halves


def commands(group=cli.cli, path=()):
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture
def toy_voc(monkeypatch, tmp_path):
    """``--dataset voc`` opens a small drawn data set: 100 pictures, classes 1 and 2 are base, 3 and 4 novel."""
    class Small(Toy):
        name, area_scale = "voc", 1 / 2048
        class_names = tuple(f"class{c}" for c in range(1, 21))
    folder = draw_toy(tmp_path / "toy", count=100)
    monkeypatch.setattr(datasets, "open_dataset", lambda name, root=None, split="train": Small(folder, split))
    monkeypatch.setattr(folds, "novel_classes", lambda name, fold: (3, 4))
    monkeypatch.setattr(folds, "base_classes", lambda name, fold: (1, 2))
    return folder


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
def test_help(monkeypatch, capsys, path):
    code, out, err = call(monkeypatch, capsys, *path, "--help")
    assert code == 0 and "Usage: fsslib" in out and not err
    assert len(out.splitlines()) > 4


def test_version(monkeypatch, capsys):
    assert call(monkeypatch, capsys, "--version")[:2] == (0, f"fsslib, version {cli.__version__}\n")


TINY = ("--backbone", "tiny", "--weights", "none")


@pytest.mark.parametrize("arguments, word", [
    (("evaluate", "--model", "fpn"), "found 'fpn', expected one of panet"),
    (("evaluate", "--backbone", "vgg19"), "found 'vgg19', expected one of vgg16"),
    (("evaluate", "--backbone", "tiny"), "no ImageNet weights"),
    (("evaluate", "--weights", "gone.safetensors"), "gone.safetensors: found no such file"),
    (("evaluate", "--fold", 7), "fold: found 7, expected 0..3"),
    (("evaluate", "--protocol", "fss"), "protocol: found 'fss'"),
    (("evaluate", "--dataset", "mnist"), "data set: found 'mnist'"),
    (("evaluate", *TINY, "--checkpoint", "gone.pt"), "gone.pt: found no such file"),
    (("train", *TINY, "--fold", -1), "fold: found -1"),
    (("train", "--dataset", "mnist"), "data set: found 'mnist'"),
    (("train", "--config", "gone.yaml"), "gone.yaml: found no readable file"),
    (("train", "--model", "fpn"), "found 'fpn'"),
    (("results", "show", "gone.json"), "gone.json: found no such file"),
    (("results", "show", "."), ".: found a folder, expected a JSON file"),
    (("results", "run", "panet_shapes", "--only", "("), "--only: found '('"),
    (("train", *TINY, "--size", 8), "size: found 8"), (("train", *TINY, "--seed", 2 ** 80), "seed: found"),
    (("evaluate", *TINY, "--checkpoint", "."), ".: found a folder, expected a checkpoint"),
    (("evaluate", *TINY, "--dataset", "folder", "--root", "a" * 300), "File name too long"),
    (("results", "run", "nothing"), "found 'nothing', expected one of ablation_voc"),
    (("results", "run", "gone.yaml"), "gone.yaml: found no readable file"),
    (("results", "merge", "gone"), "gone: found no such folder"),
    (("evaluate", "--control", "outlined", "--model", "pfenet"), "--model: found --model beside --control"),
    (("evaluate", "--control", "outlined", "--support-test"), "--support-test: found --support-test beside --control"),
    (("evaluate", "--maps", "--support-test", "--model", "pfenet"), "beside --maps"),
    (("evaluate", "--classes", "3-"), "--classes: found '3-'"), (("train", "--classes", "2,1-3"), "each class once"),
    (("evaluate", "--model", "pfenet", "--option", "keys=layer5"), "keys: found 'layer5'"),
    (("evaluate", "--model", "pfenet", "--option", "start=zero"), "start: found 'zero'")])
def test_bad_input_is_one_line_and_exit_2(monkeypatch, capsys, tmp_path, arguments, word):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 2 and err.startswith("fsslib: ") and word in err and err.count("\n") == 1
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("arguments, word", [
    (("evaluate", *TINY, "--shots", 0), "shots: found 0"), (("evaluate", *TINY, "--shots", 50), "at least 51 (K + 1)"),
    (("evaluate", *TINY, "--ways", 3), "ways: found 3, expected 1..2"),
    (("evaluate", *TINY, "--episodes", 0), "episodes"),
    (("evaluate", *TINY, "--size", 0, "--episodes", 1), "size: found 0"),
    (("evaluate", *TINY, "--episodes", 1, "--out", "file"), "file: found a file on this path"),
    (("train", *TINY, "--steps", 0), "steps: found 0"), (("train", *TINY, "--shots", 0), "shots: found 0"),
    (("train", *TINY, "--lr", -1), "lr: found -1.0"), (("train", *TINY, "--batch", 0), "batch: found 0"),
    (("train", *TINY, "--out", "file"), "file: found a file on this path")])
def test_bad_numbers(monkeypatch, capsys, tmp_path, toy_voc, arguments, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, out, err = call(monkeypatch, capsys, *arguments, "--dataset", "voc")
    lines = [line for line in err.splitlines() if line.startswith("fsslib: ")]     # beside the index's progress
    assert code == 2 and len(lines) == 1 and word in lines[0] and "Traceback" not in err
    assert not list(tmp_path.rglob("result.json")) and not list(tmp_path.rglob("checkpoint.pt"))


def test_train_then_evaluate(monkeypatch, capsys, tmp_path, toy_voc):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text("steps: 3\nbatch: 2\nvalidation: 0.3\nvalidate_every: 0\nprecision: '32'\n")
    options = (*TINY, "--dataset", "voc", "--size", 40, "--out", tmp_path / "run")
    code, out, _ = call(monkeypatch, capsys, "train", *options, "--config", "quick.yaml", "--steps", 2)
    assert code == 0 and "steps=2" in out and (tmp_path / "run" / "checkpoint.pt").exists()
    code, out, _ = call(monkeypatch, capsys, "train", "--model", "whichnet", *options[2:-1], tmp_path / "kit", "--config", "quick.yaml", "--lr", -1)
    assert "optimizer=adamw" in out and "crowded=0.4" in out and "batch=2" in out         # the model's recipe, where the file says nothing
    checkpoint = ("--checkpoint", tmp_path / "run" / "checkpoint.pt")
    trained = (tmp_path / "run" / "result.json").read_bytes()
    code, _, err = call(monkeypatch, capsys, "evaluate", *options, *checkpoint, "--episodes", 4)
    assert code == 2 and "found the result of another call (fsslib train " in err and (tmp_path / "run" / "result.json").read_bytes() == trained
    options = (*options[:-1], tmp_path / "scored")
    code, out, _ = call(monkeypatch, capsys, "evaluate", *options, *checkpoint, "--episodes", 4)
    result = json.loads((tmp_path / "scored" / "result.json").read_text())
    assert code == 0 and f"{result['miou']:.2f} %" in out and result["config"]["checkpoint"] == "checkpoint.pt"
    assert str(tmp_path) not in json.dumps(result)                   # a result names no folder of this machine
    with monkeypatch.context() as other:                             # a fold that shares a class with the training
        other.setattr(folds, "novel_classes", lambda name, fold: (2, 3))
        code, _, err = call(other, capsys, "evaluate", *options, *checkpoint, "--episodes", 4)
        assert code == 2 and "found a model trained on the classes 2 " in err
    scored, options = options, (*options[:-1], tmp_path / "run")
    code, _, err = call(monkeypatch, capsys, "train", *options, "--config", "quick.yaml", "--steps", 2)
    assert code == 2 and "checkpoint of an earlier run" in err
    code, _, err = call(monkeypatch, capsys, "evaluate", *scored, *checkpoint, "--option", "align=false")
    assert code == 2 and "found a checkpoint of panet on tiny" in err
    code, _, err = call(monkeypatch, capsys, "train", *options, "--config", "quick.yaml", "--resume", "--steps", 9)
    assert code == 2 and "found a finished run with steps=2, expected steps=9" in err
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    code, _, err = call(monkeypatch, capsys, "evaluate", *scored, "--checkpoint", tmp_path / "other.pt")
    assert code == 2 and "no readable checkpoint" in err


def test_controls_and_the_support_test(monkeypatch, capsys, tmp_path, toy_voc):
    options = ("--dataset", "voc", "--episodes", 4)
    code, out, _ = call(monkeypatch, capsys, "evaluate", *options, "--control", "outlined", "--out", tmp_path / "control")
    result = json.loads((tmp_path / "control" / "result.json").read_text())
    assert code == 0 and f"{result['miou']:.2f} %" in out and result["config"]["model"] == "outlined" and "weights" not in result["digests"]
    code, out, _ = call(monkeypatch, capsys, "evaluate", *TINY, *options, "--size", 40, "--support-test", "--out", tmp_path / "tested")
    found = json.loads((tmp_path / "tested" / "result.json").read_text())["support_test"]["crowded"]["auc"]
    assert code == 0 and f"{'crowded AUC':18}{found['value']:6.2f} %" in out and found["interval"][0] <= found["value"] <= found["interval"][1]
    code, _, err = call(monkeypatch, capsys, "evaluate", *TINY, *options, "--size", 40, "--ways", 2, "--support-test", "--out", tmp_path / "x")
    assert code == 2 and "support test: found 2 ways" in err


def test_a_random_start_is_the_same_every_time(monkeypatch, capsys, tmp_path, toy_voc):
    options = (*TINY, "--dataset", "voc", "--size", 40, "--episodes", 4)
    scores = []
    for out in ("a", "b"):
        torch.rand(3)
        assert call(monkeypatch, capsys, "evaluate", *options, "--out", tmp_path / out)[0] == 0
        scores.append(json.loads((tmp_path / out / "result.json").read_text()))
    assert scores[0]["digests"] == scores[1]["digests"] and scores[0]["miou"] == scores[1]["miou"]


def test_an_interrupted_training_says_how_to_go_on(monkeypatch, capsys, tmp_path, toy_voc):
    def stop(*arguments, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr("fsslib.training.fit", stop)
    options = ("train", *TINY, "--dataset", "voc", "--size", 40, "--resume", "--out", tmp_path)
    code, out, err = call(monkeypatch, capsys, *options)
    assert code == 130 and "not there yet" in out and "before the first checkpoint" in err
    (tmp_path / "checkpoint.pt").write_text("")
    code, out, err = call(monkeypatch, capsys, *options)
    assert code == 130 and "not there yet" not in out and "--resume goes on from" in err


@pytest.mark.parametrize("error, word", [
    (OSError(28, "No space left on device"), "disk: found No space left on device"),
    (PermissionError(13, "Permission denied", "result.json"), "result.json: found Permission denied"),
    (MemoryError(), "memory: found too little of it"), (OSError(12, "Cannot allocate memory"), "memory: found too little of it"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "no room for 2.00 GiB on the GPU, expected enough"),
    (ModuleNotFoundError("No module named 'timm'", name="timm"), "found no package 'timm'")])
def test_the_machine_says_no(monkeypatch, capsys, error, word):
    def fail():
        raise error
    monkeypatch.setattr("fsslib.doctor.examine", fail)
    code, _, err = call(monkeypatch, capsys, "doctor")
    assert code == 2 and err.startswith("fsslib: ") and word in err and err.count("\n") == 1


def test_doctor_survives_a_broken_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libc10.so is missing')")
    root = __file__.rsplit("/tests/", 1)[0]
    done = subprocess.run([sys.executable, "-m", "fsslib", "doctor"], capture_output=True, text=True, cwd=root,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"})
    assert done.returncode == 1 and "torch does not load (libc10.so is missing)" in done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_as_a_module(tmp_path):
    done = subprocess.run([sys.executable, "-m", "fsslib", "doctor"], capture_output=True, text=True,
                          cwd=__file__.rsplit("/tests/", 1)[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    Python" in done.stdout and "cache folder" in done.stdout and "torch" in done.stdout


def test_doctor_tells_what_is_missing(monkeypatch, capsys, tmp_path):
    from fsslib import doctor
    monkeypatch.setenv("FSSLIB_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-package"))
    code, out, _ = call(monkeypatch, capsys, "doctor")
    assert code == 1 and "pip install no-such-package" in out and "LOOK  PASCAL VOC" in out
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "file"))
    code, out, _ = call(monkeypatch, capsys, "doctor")
    assert code == 1 and "Set FSSLIB_CACHE" in out


def test_help_needs_no_torch():
    code = "import sys; from fsslib import cli; assert 'torch' not in sys.modules, 'torch was loaded'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=__file__.rsplit("/tests/", 1)[0])
    assert done.returncode == 0, done.stderr


def test_classes_and_images_of_a_choice(monkeypatch, capsys, tmp_path, toy_voc):
    """A training on two classes leaves out half of the images with others; these alone are tested."""
    monkeypatch.chdir(tmp_path)
    options = (*TINY, "--dataset", "voc", "--size", 40)
    (tmp_path / "quick.yaml").write_text("batch: 2\nprecision: '32'\nvalidate_every: 0\n")
    code, _, err = call(monkeypatch, capsys, "train", *options, "--classes", "1-2", "--images", "learned", "--config", "quick.yaml",
                        "--steps", 2, "--out", "run")
    assert code == 0, err
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    assert told["command"].startswith("fsslib train ") and "--classes 1-2" in told["command"] and len(told["curve"]["loss"]) == 2
    checkpoint = ("--checkpoint", "run/checkpoint.pt")
    code, _, err = call(monkeypatch, capsys, "evaluate", *options, *checkpoint, "--classes", "3,4", "--split", "train", "--images",
                        "held-out", "--episodes", 12, "--seed", 0, "--out", "scored")
    assert code == 0, err
    result = json.loads((tmp_path / "scored" / "result.json").read_text())
    dataset = datasets.open_dataset("voc")
    learned, tested = halves(dataset, range(3, 21))
    queries = {row[0] for row in result["scores"]["rows"]}
    assert queries <= {dataset.ids[i] for i in tested} and not queries & {dataset.ids[i] for i in learned}
    assert result["config"]["classes"] == [3, 4] and result["config"]["training_steps"] == 2
    code, _, err = call(monkeypatch, capsys, "evaluate", *options, "--split", "train", "--images", "held-out")
    assert code == 2 and "held-out without a --checkpoint" in err


def test_maps_are_measured(monkeypatch, capsys, tmp_path, toy_voc):
    options = (*TINY, "--dataset", "voc", "--size", 40, "--model", "qgnet", "--extractor", "random", "--option", "width=6")
    code, out, err = call(monkeypatch, capsys, "evaluate", *options, "--episodes", 4, "--maps", "--out", tmp_path / "maps")
    result = json.loads((tmp_path / "maps" / "result.json").read_text())
    assert code == 0 and "guided" in out, err
    assert set(result["maps"]) == {"guided", "prior", "1 - prior"} and result["episodes"] == 4
    prior, opposite = result["maps"]["prior"], result["maps"]["1 - prior"]
    assert prior["inside"][0] + opposite["inside"][0] == pytest.approx(100, abs=0.02)
    assert prior["gap"][0] == pytest.approx(-opposite["gap"][0], abs=0.02) and len(prior["recall"]) == 9


def test_a_kept_bank_gives_the_scores_of_half_precision(monkeypatch, capsys, tmp_path, toy_voc):
    options = ("evaluate", *TINY, "--dataset", "voc", "--size", 40, "--episodes", 6)
    for name, more in (("plain", ()), ("kept", ("--keep-bank",)), ("again", ("--keep-bank",))):
        assert call(monkeypatch, capsys, *options, *more, "--out", tmp_path / name)[0] == 0
    plain, kept, again = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("plain", "kept", "again"))
    assert kept["miou"] == again["miou"] == pytest.approx(plain["miou"], abs=1.0)
    assert kept["digests"]["job"] == again["digests"]["job"] != plain["digests"]["job"]


def test_a_probe_by_itself(monkeypatch, capsys, tmp_path):
    seen = []
    monkeypatch.setattr("fsslib.contrast.pretraining.probe_of", lambda data, config: type("Probe", (), {
        "score": lambda self, network: seen.append((data.name, network.name)) or network})())
    monkeypatch.setattr("fsslib.contrast.probe.probe_summary", lambda scores: {"accuracy": 12.34, "interval": [1.0, 20.0], "asked": 5})
    code, out, err = call(monkeypatch, capsys, "probe", *TINY, "--out", tmp_path)
    assert code == 0 and "accuracy 12.3 %, 95 % interval 1.0 to 20.0; 5 patches" in out, err
    assert seen == [("shapes", "tiny")] and json.loads((tmp_path / "result.json").read_text())["probe"]["accuracy"] == 12.34


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_any_command(monkeypatch, capsys, number, status):
    monkeypatch.setattr("fsslib.doctor.examine", lambda: signal.raise_signal(number))
    code, _, err = call(monkeypatch, capsys, "doctor")
    assert code == status and err.strip() == "fsslib: stopped"
