"""The runner is believed only if every way a notebook can fail to complete is caught."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import filelock
import pytest
import yaml

from fsslib.basics.errors import InputError
from fsslib.reproduce import publish, runner
from fsslib.reproduce.profile import load_profile

REPOSITORY = Path(__file__).parents[2]
IDS = itertools.count()
SETUP = "from pathlib import Path\nPath('log').open('a').write('{name} ')"       # leaves a trace of each execution


def cell(text, *tags, kind="code"):
    extra = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"x{next(IDS)}", "metadata": {"tags": list(tags)} if tags else {},
            "source": text, **extra}


class Project:
    """A small checkout: notebooks, one profile, and the runner pointed there."""

    def __init__(self, folder):
        self.folder, self.out, self.runs = folder, folder / "runs" / "small", []
        (folder / "notebooks").mkdir()

    def add(self, name, *cells, parameters=None):
        head = [cell(f"# Notebook {name}\n\nDoes it **run**?", kind="markdown"),
                cell("seed = 0  # of the draw\nsteps = 3  # how many", "parameters"), cell(SETUP.format(name=name))]
        content = {"cells": head + [c if isinstance(c, dict) else cell(c) for c in cells], "nbformat": 4,
                   "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3", "language": "python",
                                                                    "display_name": "Python 3"}}}
        (self.folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(content))
        self.runs = [run for run in self.runs if run["name"] != name]
        self.runs.append({"name": name, "parameters": parameters or {}})

    def profile(self, cell_timeout=60):
        path = self.folder / "small.yaml"
        path.write_text(yaml.safe_dump({"name": "small", "budget_minutes": 1, "cell_timeout": cell_timeout,
                                        "notebooks": self.runs}))
        return path

    def run(self, cell_timeout=60, **options):
        return runner.reproduce(self.profile(cell_timeout), **options)

    def start(self, script="", **options):
        """The same in a process of its own; ``script`` runs there afterwards."""
        code = f"""
            import sys
            from pathlib import Path
            from fsslib.reproduce import runner
            runner.project_folder = lambda: Path({str(self.folder)!r})
            status = runner.reproduce({str(self.profile())!r}, **{options!r})
            """
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code) + script + "\nsys.exit(status)"],
                                env=environment, cwd=self.folder, stdout=subprocess.PIPE, text=True)

    def log(self):
        return (self.out / "log").read_text().split()

    def state(self):
        return json.loads((self.out / "state.json").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "project_folder", lambda: tmp_path)
    return Project(tmp_path)


PICTURE = """
import os, sys
import matplotlib.pyplot as plt
figure, _ = plt.subplots(figsize=(2, 1))
figure.savefig(os.environ['FSSLIB_FIGURES'] + '/drawn.png')
print('drawn with seed', seed)
print('noise', file=sys.stderr)
plt.show()"""
DEBRIS = "import ipywidgets\nfrom tqdm.notebook import tqdm\nfor i in tqdm(range(2)): pass\nipywidgets.IntSlider()"
TABLE = "from IPython.display import HTML\nHTML('<table><tr><td>46.6</td></tr></table>')"


def test_runs_skips_publishes(project, capsys, monkeypatch):
    # a user's own kernel "python3" that is another, here missing, Python
    kernel = project.folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/missing/python", "{connection_file}"], "display_name": "", "language": "python"}')
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(project.folder / "jupyter"))
    project.add("00_first", cell("## A figure", kind="markdown"), PICTURE, DEBRIS, TABLE, parameters={"seed": 0})
    project.add("01_second", "import sys\nprint(sys.executable, __import__('fsslib').__file__)")
    assert project.run() == 0
    assert project.log() == ["00_first", "01_second"]
    out = capsys.readouterr().out
    assert re.search(r"^00_first +completed  6 cells", out, re.MULTILINE)

    # the kernel is this Python with this fsslib
    executed = json.loads((project.out / "01_second.ipynb").read_text())
    assert "".join(executed["cells"][-1]["outputs"][0]["text"]).split() == \
        [sys.executable, str(REPOSITORY / "fsslib" / "__init__.py")]

    # the report: a card each, the picture and the table inside, nothing from elsewhere
    page = (project.out / "index.html").read_text()
    assert page.count('<section class="card" id=') == 2 and "Does it run?" in page and "46.6" in page
    assert "data:image/png;base64,iVBOR" in page and "A figure</figcaption>" in page
    assert not re.search(r'(?:src|href)="(?:https?:|//)', page)
    assert (project.out / "00_first.html").exists() and 'href="00_first.html"' in page

    # a second call runs nothing, and loads neither torch nor papermill to say so
    probe = "print({name.split('.')[0] for name in sys.modules} & {'torch', 'papermill', 'IPython', 'nbconvert'})"
    begun = time.monotonic()
    second = project.start(probe)
    text = second.communicate()[0]
    assert second.returncode == 0 and text.count("up to date") == 2 and text.endswith("set()\n")
    assert time.monotonic() - begun < 10 and project.log() == ["00_first", "01_second"]

    # another source, only that notebook; --force, only what was asked for
    project.add("01_second", "print('new')")
    assert project.run() == 0 and project.log() == ["00_first", "01_second", "01_second"]
    assert project.run(force=True, only=["01"]) == 0 and project.log()[3:] == ["01_second"]

    assert project.run(publish=True) == 0 and len(project.log()) == 4
    assert (project.folder / "figures" / "drawn.png").read_bytes()[1:4] == b"PNG"
    text = (project.folder / "notebooks" / "00_first.ipynb").read_text()
    stored = json.loads(text)["cells"]
    code = [c for c in stored if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == [1, 2, 3, 4, 5]
    assert [c["id"] for c in stored] == [f"00-{i:02d}" for i in range(len(stored))]
    assert [o["output_type"] for o in code[2]["outputs"]] == ["stream", "display_data"]
    assert "drawn with seed 0" in text and code[3]["outputs"] == []
    assert not re.search("papermill|noise\\\\n|widget-view|injected|Parameters", text)
    assert code[0]["metadata"] == {"tags": ["parameters"]}
    assert project.run() == 0 and len(project.log()) == 4            # publishing makes nothing out of date
    measured = project.folder / "figures" / "results" / "reproduce_small.json"
    both = json.loads(measured.read_text())
    assert list(both["notebooks"]) == ["00_first", "01_second"]
    for record in both["notebooks"].values():
        record["seconds"] = -1
    measured.write_text(json.dumps(both))
    shutil.rmtree(project.out)                                       # another machine, one notebook only
    assert project.run(publish=True, only=["01"]) == 0
    assert [r["seconds"] < 0 for r in json.loads(measured.read_text())["notebooks"].values()] == [True, False]
    (project.folder / "notebooks" / "00_first.ipynb").unlink()               # renamed or gone: its minutes go, too
    assert project.run(publish=True, only=["01"]) == 0
    assert list(json.loads(measured.read_text())["notebooks"]) == ["01_second"]


@pytest.mark.parametrize("text, message", [
    ("import sys\nsys.exit(0)", "SystemExit: 0"),
    ("raise KeyError('mask')", "KeyError: 'mask'"),
    ("import time\ntime.sleep(600)", "still running after 3 s"),
    ("import os\nos._exit(1)", "the kernel died"),
], ids=["exit", "exception", "stuck", "dead"])
def test_incomplete_is_failure(project, capsys, text, message):
    project.add("00_bad", text, "print('never')", parameters={"steps": 1})
    assert project.run(cell_timeout=3) == 1
    first = text.splitlines()[0]
    out = capsys.readouterr().out
    assert f"00_bad, cell 4 ({first!r}): " in out and message in out and "failed: 00_bad" in out
    assert (project.out / "00_bad.failed.ipynb").exists() and not (project.out / "00_bad.ipynb").exists()
    assert project.state()["00_bad"]["status"] == "failed"
    assert message in (project.out / "index.html").read_text().replace("&#39;", "'")
    project.add("00_bad", "print('mended')")
    assert project.run() == 0 and not (project.out / "00_bad.failed.ipynb").exists()


def test_killed_goes_on(project):
    project.add("00_first", "print(1)")
    project.add("01_long", """
        import os, time
        if not Path('once').exists():
            Path('once').write_text(str(os.getpid()))
            time.sleep(300)""".replace("\n        ", "\n"))
    project.add("02_last", "print(3)")
    process, once = project.start(), project.out / "once"
    wait_for(lambda: once.exists() and once.read_text())
    with pytest.raises(InputError, match="another 'fsslib reproduce'"):
        project.run()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kernel = int(once.read_text())
    wait_for(lambda: not running(kernel))                            # the kernel goes with its runner
    assert list(project.state()) == ["00_first"] and not (project.out / "01_long.ipynb").exists()
    assert project.run() == 0
    assert project.log() == ["00_first", "01_long", "01_long", "02_last"]
    assert not list(project.out.glob("*.part*"))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def record(project, name):
    """Marks a notebook as completed without running it, as an earlier call would have left it."""
    notebook = runner.planned(load_profile(project.profile()), project.folder, [name])[0][1]
    key = runner.fingerprint.key(notebook, project.runs[0]["parameters"],
                                 runner.fingerprint.surroundings(project.folder))
    project.out.mkdir(parents=True, exist_ok=True)
    executed = json.loads(notebook.path.read_text())
    for i, c in enumerate(c for c in executed["cells"] if c["cell_type"] == "code"):
        c["execution_count"] = i + 1
    (project.out / f"{name}.ipynb").write_text(json.dumps(executed))
    (project.out / "state.json").write_text(json.dumps({name: {
        "status": "completed", "key": key, "sha256": runner.sha256_file(project.out / f"{name}.ipynb"), "seconds": 1,
        "cells": 1, "figures": [], "title": name, "machine": "", "versions": {}, "parameters": {}}}))
    (project.out / "index.html").write_text("")


@pytest.fixture
def attempts(monkeypatch):
    """The names the runner would execute, without executing them."""
    names = []

    def execute(notebook, parameters, folder, cell_timeout):
        names.append(notebook.name)
        raise runner.NotebookFailed("not executed here.")
    monkeypatch.setattr(runner, "execute", execute)
    return names


@pytest.mark.parametrize("change", ["nothing", "source", "parameter", "results", "half", "state", "version", "output"])
def test_what_is_up_to_date(project, attempts, monkeypatch, change):
    project.add("00_one", "print(1)", parameters={"seed": 0})
    record(project, "00_one")
    if change == "source":
        project.add("00_one", "print(2)", parameters={"seed": 0})
    elif change == "parameter":
        project.runs[0]["parameters"] = {"seed": 1}
    elif change == "results":
        (project.folder / "figures" / "results").mkdir(parents=True)
        (project.folder / "figures" / "results" / "new.json").write_text("{}")
    elif change == "half":
        executed = project.out / "00_one.ipynb"
        executed.write_bytes(executed.read_bytes()[:-100])
    elif change == "state":
        (project.out / "state.json").write_text('{"00_one": {"sta')
    elif change == "version":
        versions = runner.fingerprint.versions()
        monkeypatch.setattr(runner.fingerprint, "versions", lambda: {**versions, "torch": "1.0"})
    elif change == "output":                                         # stored outputs are no part of the recipe
        path = project.folder / "notebooks" / "00_one.ipynb"
        content = json.loads(path.read_text())
        content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hi"}]
        path.write_text(json.dumps(content))
    status = project.run()
    assert (status, attempts) == ((0, []) if change in ("nothing", "output") else (1, ["00_one"]))


@pytest.mark.parametrize("options, parameters, message", [
    ({}, {"sed": 1}, "notebook 00_one: found the unknown parameter 'sed', expected one of seed, steps"),
    ({"only": ["07"]}, {}, "found '07', expected one of 00_one"),
    ({"out": __file__}, {}, "a file on this path"),
    ({"publish": True}, {"seed": 5}, "seed = 5 in the profile, expected 0 as in the notebook"),
], ids=["parameter", "only", "out", "publish"])
def test_refused(project, attempts, options, parameters, message):
    project.add("00_one", "print(1)", parameters=parameters)
    if "publish" in options:
        record(project, "00_one")
    with pytest.raises(InputError, match=re.escape(message)):
        project.run(**options)
    assert attempts == []


def test_missing_notebook_and_profile(project):
    project.add("00_one", "1")
    (project.folder / "notebooks" / "00_one.ipynb").write_text('{"cells"')
    with pytest.raises(InputError, match="no valid JSON"):
        project.run()
    (project.folder / "notebooks" / "00_one.ipynb").unlink()
    with pytest.raises(InputError, match="00_one.ipynb: found no such file"):
        project.run()
    with pytest.raises(InputError, match="profile: found 'dmeo', expected one of demo"):
        runner.reproduce("dmeo")


def test_lock_of_the_dead_is_no_lock(project, attempts):
    project.add("00_one", "1")
    project.out.mkdir(parents=True)
    (project.out / ".lock").write_text("4194304")                    # a file left behind, held by nobody
    assert project.run() == 1 and attempts == ["00_one"]
    with filelock.FileLock(project.out / ".lock"), pytest.raises(InputError, match="one at a time"):
        project.run()


def test_cleaned_refuses_paths_of_this_machine():
    content = {"cells": [{**cell("print(path)"), "execution_count": 1, "outputs": [
        {"output_type": "stream", "name": "stdout", "text": ["written to\n", "/home/ada/runs/x.json\n"]}]}]}
    with pytest.raises(InputError, match="notebook 01_x, cell 1: found a path of this machine .*ada/runs"):
        publish.cleaned(content, "01_x")
    content["cells"][0]["outputs"][0]["text"] = ["runs/x.json of https://example.org/home/x, 1/tmp/2\n"]
    assert publish.cleaned(content, "01_x")["cells"][0]["outputs"]
