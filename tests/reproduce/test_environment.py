"""What a notebook finds in its environment, whatever folder it runs in."""

import os

import pytest
from test_reproduce import Project

from fsslib.basics.errors import InputError
from fsslib.reproduce import runner
from fsslib.reproduce.environment import for_kernel


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "project_folder", lambda: tmp_path)
    return Project(tmp_path)


CHECK = """
import os
assert os.path.isdir(os.environ["FSSLIB_DATA"]) and os.path.isdir(os.environ["TORCH_HOME"]), os.environ["FSSLIB_DATA"]
from fsslib.basics.storage import writable_cache
print(writable_cache().resolve())
import beside"""


def test_relative_folders(project, monkeypatch, tmp_path):
    for name in ("data", "hub", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "own" / "beside.py").write_text("")
    monkeypatch.chdir(tmp_path)
    for name, value in (("FSSLIB_DATA", "data"), ("TORCH_HOME", "hub"), ("FSSLIB_CACHE", "rc"), ("PYTHONPATH", "own")):
        monkeypatch.setenv(name, value)
    project.add("00_folders", CHECK)
    assert project.run() == 0, project.state()
    assert (tmp_path / "rc").is_dir() and not list(project.out.rglob("rc"))
    assert os.environ["FSSLIB_DATA"] == "data"               # this process is left as it was


def test_home_sign_and_search_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FSSLIB_DATA", "~/d")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["a", "/b"]))
    found = for_kernel("/package")
    assert found["FSSLIB_DATA"] == str(tmp_path / "d")
    assert found["PYTHONPATH"] == os.pathsep.join(["/package", str(tmp_path / "a"), "/b"])


PICTURE = """
import matplotlib.pyplot as plt
from fsslib.basics.storage import cache_dir
plt.subplots(figsize=(1, 1))
print(cache_dir())
plt.show()"""


def test_no_home(project, monkeypatch, tmp_path):
    import pwd

    def nobody(uid):
        raise KeyError(uid)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    project.add("00_picture", PICTURE)
    for name in ("HOME", "FSSLIB_CACHE", "FSSLIB_DATA", "MPLCONFIGDIR", "IPYTHONDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Set FSSLIB_CACHE"):
        project.run()
    monkeypatch.setenv("FSSLIB_CACHE", "cache")
    assert project.run() == 0, project.state()
    assert str(tmp_path / "cache") in (project.out / "00_picture.ipynb").read_text()
    assert "HOME" not in os.environ and (project.out / ".home").is_dir() and not (tmp_path / "~").exists()
    assert not list(tmp_path.rglob("~"))


def test_a_home_that_is_not_there(project, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    project.add("00_picture", PICTURE)
    assert project.run() == 0, project.state()
    assert not (tmp_path / "nowhere").exists()
