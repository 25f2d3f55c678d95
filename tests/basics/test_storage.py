"""Where files live: homes that are not there, ``~`` that no shell expands, caches that may only be read; files whole or not
at all, one process a folder, room taken beforehand."""

import errno
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import call

from fsslib.basics import storage
from fsslib.basics.errors import InputError
from fsslib.basics.storage import (at_work, atomic_path, cache_dir, data_dir, read_json, reserve, scratch_dir, user_path,
                                   writable_cache, write_json)

ORDINARY_USER = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everywhere")


@pytest.fixture
def homeless(monkeypatch):
    """A uid without HOME and without an entry in the list of users, as in many containers."""
    def nobody(uid):
        raise KeyError(uid)
    for name in ("HOME", "FSSLIB_CACHE", "FSSLIB_DATA", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_no_home(homeless, monkeypatch, tmp_path):
    for ask in (cache_dir, data_dir, writable_cache):
        with pytest.raises(InputError, match="no home folder of this user.*Set FSSLIB_CACHE"):
            ask()
    monkeypatch.setenv("FSSLIB_DATA", str(tmp_path))
    assert data_dir() == tmp_path
    with pytest.raises(InputError, match="~/x: found no home folder.*Set HOME"):
        user_path("~/x")
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "c"))
    assert cache_dir("a", "b") == tmp_path / "c" / "a" / "b" and not (tmp_path / "c").exists()


def test_doctor_without_a_home(homeless, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(monkeypatch, capsys, "doctor")
    assert code == 1 and not err and "LOOK  cache folder" in out and "LOOK  PASCAL VOC" in out and "Set FSSLIB_CACHE" in out
    assert "ok    Python" in out and not list(tmp_path.iterdir())


def test_one_sentence_without_a_home(homeless, monkeypatch, capsys, tmp_path):
    from fsslib.models.backbones.weights import downloaded
    code, _, err = call(monkeypatch, capsys, "evaluate", "--backbone", "tiny", "--weights", "none", "--dataset", "shapes")
    assert code == 2 and err.startswith("fsslib: ") and "Set FSSLIB_CACHE" in err and err.count("\n") == 1
    with pytest.raises(InputError, match="Set TORCH_HOME"):
        downloaded("file:///net-0123abcd.pth")


def test_home_sign_in_the_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FSSLIB_CACHE", "~/c")
    monkeypatch.setenv("FSSLIB_DATA", "~/d")
    assert (cache_dir("x"), data_dir()) == (tmp_path / "c" / "x", tmp_path / "d")
    monkeypatch.delenv("FSSLIB_DATA")
    assert data_dir() == tmp_path / "c" / "data"
    monkeypatch.delenv("FSSLIB_CACHE")
    assert cache_dir() == tmp_path / ".cache" / "fsslib"
    assert user_path("a~b/~") == user_path("a~b") / "~"
    write_json("~/d/x.json", 3)
    assert read_json("~/d/x.json") == 3 and (tmp_path / "d" / "x.json").exists()


def test_what_outlives_nothing_goes_elsewhere_where_the_cache_takes_nothing(monkeypatch, tmp_path):
    import tempfile
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    assert scratch_dir("locks") == tmp_path / "cache" / "locks"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    (tmp_path / "system").mkdir()
    assert scratch_dir("locks").is_relative_to(tmp_path / "system") and scratch_dir("locks").is_dir()
    with pytest.raises(InputError, match="a file on this path.*Set FSSLIB_CACHE"):
        writable_cache("index")


def test_json_of_too_many_brackets(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="deep.json: found no valid JSON"):
        read_json(tmp_path / "deep.json")


@ORDINARY_USER
def test_no_permission_is_neither_missing_nor_damaged(tmp_path):
    (tmp_path / "x.json").write_text("3")
    (tmp_path / "x.json").chmod(0)
    with pytest.raises(InputError, match="no permission to read it.*chmod"):
        read_json(tmp_path / "x.json")


ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def held_elsewhere(tmp_path, monkeypatch):
    """A folder at which another process is at work, and that process."""
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    script = f"import time; from fsslib.basics.storage import at_work\nwith at_work({str(tmp_path)!r}): print('in', flush=True); time.sleep(99)"
    process = subprocess.Popen([sys.executable, "-c", script], text=True, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout.readline() == "in\n"
    yield tmp_path, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_at_once(held_elsewhere):
    folder, process = held_elsewhere
    with pytest.raises(InputError, match="another process at work there.*another --out"), at_work(folder):
        pass
    process.kill()
    process.wait()
    with at_work(folder):                    # a killed one holds nothing
        pass


@pytest.mark.parametrize("given, environment", [({"wait": True}, {}), ({}, {"FSSLIB_WAIT": "1"})])
def test_or_waits_and_says_so(held_elsewhere, given, environment, monkeypatch, capsys):
    folder, process = held_elsewhere
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("builtins.print", lambda *said, print=print, **o: (print(*said, **o), process.kill()))
    with at_work(folder, **given):
        assert "waiting for it" in capsys.readouterr().out


def test_two_processes_with_one_number_write_two_parts(tmp_path, monkeypatch):
    """Containers that share a cache have process numbers of their own."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    with atomic_path(tmp_path / "x.json") as one:
        one.write_text("one")
        with atomic_path(tmp_path / "x.json") as other:
            assert other != one
            other.write_text("other")
        assert (tmp_path / "x.json").read_text() == "other" and one.read_text() == "one"
    assert (tmp_path / "x.json").read_text() == "one" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("system", ["this one", "no such call", "a file system without"])
def test_room_is_taken_and_nothing_else_touched(tmp_path, monkeypatch, system):
    if system == "no such call":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    if system == "a file system without":
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "")), raising=False)
    size = 5 << 20
    with open(tmp_path / "f", "w+b") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), b"before", 100)
        os.pwrite(file.fileno(), b"behind", 4 << 20)
        reserve(file, 1 << 20, 3 << 20)
        content = (tmp_path / "f").read_bytes()
        assert os.fstat(file.fileno()).st_blocks * 512 >= 3 << 20
    assert len(content) == size and content[100:106] == b"before" and content[4 << 20:][:6] == b"behind" and content.count(0) == size - 12


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")), raising=False)
    with open(tmp_path / "f", "w+b") as file, pytest.raises(OSError, match="full"):
        storage.reserve(file, 0, 10)
