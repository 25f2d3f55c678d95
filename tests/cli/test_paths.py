"""``~`` in every path that a command takes, and letters that a terminal does not have."""

import os
import subprocess
import sys

import click
import pytest
from conftest import call, own_images

from fsslib import cli
from fsslib.cli.paths import UserPath
from fsslib.datasets import open_dataset

REPOSITORY = __file__.rsplit("/tests/", 1)[0]
FILES = {"out", "root", "config", "checkpoint", "weights", "extractor", "profile", "save_masks", "list_path", "against", "folder",
         "folders", "table", "colours",
         "name of results show", "query of predict", "suggested of predict"}


def parameters(group=cli.cli, path=""):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from parameters(command, f"{path}{name} ")
        else:
            yield from ((f"{path}{name}", parameter) for parameter in command.params)


def test_every_path_is_one_of_a_user():
    for where, parameter in parameters():
        assert isinstance(parameter.type, UserPath) or not isinstance(parameter.type, click.Path), f"{where} {parameter.name}"
        assert isinstance(parameter.type, UserPath) == (parameter.name in FILES or f"{parameter.name} of {where}" in FILES), \
            f"{where} {parameter.name}"


SCORE = ("evaluate", "--dataset", "folder", "--backbone", "tiny", "--weights", "none", "--size", 64, "--episodes", 4)


def test_home_in_options(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FSSLIB_CACHE", "~/cache")
    own_images(tmp_path / "home" / "a")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    code, _, err = call(monkeypatch, capsys, *SCORE, "--root=~/a", "--out=~/result", "--save-masks=~/masks")
    assert code == 0, err
    assert (tmp_path / "home" / "result" / "result.json").exists() and len(list((tmp_path / "home" / "masks").iterdir())) == 4
    assert not list((tmp_path / "work").iterdir())
    assert len(open_dataset("folder", "~/a")) == 4
    for option, word in (("--weights", "expected a file of weights"), ("--checkpoint", "expected a checkpoint")):
        code, _, err = call(monkeypatch, capsys, "evaluate", "--backbone", "tiny", "--weights", "none", f"{option}=~/gone.pt")
        assert code == 2 and f"fsslib: {tmp_path}/home/gone.pt: found no such file" in err and word in err
    code, _, err = call(monkeypatch, capsys, "train", "--config=~/gone.yaml")
    assert code == 2 and f"{tmp_path}/home/gone.yaml" in err


def test_letters_that_a_terminal_lacks(tmp_path):
    own_images(tmp_path / "a", names=("чашка ☕",))
    command = [sys.executable, "-m", "fsslib", *map(str, SCORE), "--root", tmp_path / "a", "--out", tmp_path / "out"]
    for locale in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = subprocess.run(command, capture_output=True, cwd=tmp_path, env={
            **os.environ, "PYTHONPATH": REPOSITORY, "FSSLIB_CACHE": str(tmp_path / "cache"), **locale})
        assert done.returncode == 0, done.stderr.decode()
        assert b"mIoU" in done.stdout and ("чашка".encode() in done.stdout or rb"\u0447" in done.stdout)


def test_a_file_that_ends_early_is_no_interruption(monkeypatch, capsys):
    def ends():
        raise EOFError
    monkeypatch.setattr("fsslib.doctor.examine", ends)
    monkeypatch.setattr("sys.argv", ["fsslib", "doctor"])
    with pytest.raises(RuntimeError, match="a file ends before its time"):
        cli.main()
    assert "Aborted" not in capsys.readouterr().err
