"""Files: whole or not at all, one process a folder, room taken beforehand."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsslib.basics import storage
from fsslib.basics.errors import InputError
from fsslib.basics.storage import at_work, atomic_path, reserve

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
