"""A table of two tiny networks, added as data alone, through Snakemake: killed, resumed, repeated, changed, on a cluster."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TABLE = """
title: two tiny networks
shows: that it runs
kind: segmentation
defaults:
  {dataset: shapes, model: panet, backbone: tiny, weights: none, size: 64, episodes: 8,
   training: {config: quick.yaml, steps: 20, batch: 2, lr: 0.01, validate-every: 0}}
rows:
  - {label: with PAR}
  - {label: without, options: {align: false}}
differences: [[with PAR, without]]
"""


def call(folder, *arguments, **options):
    """``fsslib results run mine.yaml ARGUMENTS`` in ``folder``, as a user's process."""
    command = [sys.executable, "-m", "fsslib", "results", "run", "mine.yaml", "--results", "tables", *arguments]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}, **options)


def finished(folder, *arguments, code=0):
    process = call(folder, *arguments)
    said = process.communicate(timeout=500)[0]
    assert process.returncode == code, said
    return said


def project(folder, table=TABLE):
    folder.mkdir()
    (folder / "mine.yaml").write_text(table)
    (folder / "quick.yaml").write_text("checkpoint_every: 5\nprecision: '32'\n")
    return folder


def outcome(folder):
    """What a table says, but for times."""
    table = json.loads((folder / "tables" / "mine.json").read_text())
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in table["rows"]]
    return rows, table["means"], table["differences"], table["curves"], table["missing"]


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = project(tmp_path_factory.mktemp("grid") / "undisturbed")
    said = finished(folder, "--yes")
    assert "2 to run" in said and "2 x train, 2 x evaluate: about" in said
    return folder


def test_two_rows_and_their_table(undisturbed):
    rows, means, differences, curves, missing = outcome(undisturbed)
    assert [row["label"] for row in rows] == ["with PAR", "without"] and not missing and len(curves) == 2
    assert all(0 < row["miou"] < 100 and row["episodes"] == 8 and row["training_steps"] == 20 for row in rows)
    assert differences[0]["difference"] == pytest.approx(rows[0]["miou"] - rows[1]["miou"], abs=0.011)
    for row in rows:                                                         # its commands can be typed by hand
        assert [command.split()[1] for command in row["commands"]] == ["train", "evaluate"]
    typed = rows[1]["commands"][0].replace("runs/grid/", "by_hand/").split()[1:]
    done = subprocess.run([sys.executable, "-m", "fsslib", *typed], cwd=undisturbed, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    (result,) = (undisturbed / "by_hand").rglob("result.json")
    assert json.loads(result.read_text())["curve"]["loss"] == curves[1]["loss"]


@pytest.mark.slow
def test_killed_in_a_training_it_goes_on(undisturbed, tmp_path):
    folder = project(tmp_path / "killed")
    process, began = call(folder, "--yes"), time.monotonic()
    while not list(folder.glob("runs/grid/train/*/checkpoint.pt")):
        assert process.poll() is None and time.monotonic() - began < 300
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)                                   # the call, Snakemake and its jobs
    process.wait()
    process.stdout.close()
    assert not list(folder.glob("runs/grid/evaluate/*/result.json")) and (folder / "runs/grid/.lock").exists()
    left = len(list(folder.glob("runs/grid/train/*/result.json")))
    assert left < 2, "both trainings were over before the kill"
    assert "2 to run" in finished(folder, "--yes")
    assert outcome(folder) == outcome(undisturbed)


def test_a_second_call_does_nothing(undisturbed):
    before = stamps(undisturbed)
    assert "2 done" in finished(undisturbed, "--yes")
    shutil.rmtree(undisturbed / "runs/grid/.snakemake")                      # as in a fresh clone with the results copied
    said = finished(undisturbed, "--yes")
    assert "2 done" in said and "to run" not in said and stamps(undisturbed) == before


def test_a_changed_option_repeats_its_row_alone(undisturbed, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(undisturbed, folder)
    before = stamps(folder / "runs")
    (folder / "mine.yaml").write_text(TABLE.replace("align: false", "align: false, scale: 10"))
    assert "1 done, 1 to run" in finished(folder, "--yes")
    assert {path: stamp for path, stamp in stamps(folder / "runs").items() if path in before} == before
    assert len(stamps(folder / "runs")) == len(before) + 2
    assert outcome(folder)[0][0] == outcome(undisturbed)[0][0] and outcome(folder)[0][1] != outcome(undisturbed)[0][1]


def test_an_evaluation_alone(undisturbed, tmp_path):
    """Killed in the last job, or a new row on a training that is there: the training is taken as it is. A space in the path."""
    folder = tmp_path / "an evaluation"
    shutil.copytree(undisturbed, folder)
    lost = sorted(folder.glob("runs/grid/evaluate/*/result.json"))[0]
    lost.unlink()
    before = stamps(folder / "runs")
    assert "1 done, 1 stored" in finished(folder, "--dry-run")               # its number stands in the table
    shutil.rmtree(folder / "tables")
    assert "1 x evaluate: about" in finished(folder, "--yes")
    assert lost.exists() and {path: stamp for path, stamp in stamps(folder / "runs").items() if path in before} == before
    assert outcome(folder) == outcome(undisturbed)


@pytest.mark.slow
def test_a_changed_input_repeats_what_rests_on_it(undisturbed, tmp_path):
    """The file of a training's configuration is another one: its digest stands in the result and is compared. A dry run, on a
    cluster too, touches nothing; the run starts anew, not from the old checkpoint."""
    folder = tmp_path / "input"
    shutil.copytree(undisturbed, folder)
    (folder / "quick.yaml").write_text("checkpoint_every: 10\nprecision: '32'\nmomentum: 0.5\n")
    before = stamps(folder / "runs")
    for executor in ((), ("--executor", "slurm")):
        said = finished(folder, "--dry-run", *executor)
        assert "2 to run" in said and "2 x train, 2 x evaluate" in said and stamps(folder / "runs") == before
    finished(folder, "--yes")
    assert outcome(folder)[3][0]["loss"] != outcome(undisturbed)[3][0]["loss"] and "2 done" in finished(folder, "--yes")


def test_dry_run_and_cluster(tmp_path):
    folder = project(tmp_path / "dry")
    said = finished(folder, "--dry-run")
    assert "hours of computing" in said and said.count(" min  fsslib train") == 2 and not list(folder.rglob("result.json"))
    said = finished(folder, "--dry-run", "--executor", "slurm")
    assert said.count("rule evaluate:") == said.count("rule train:") == 2 and said.count("mem_mb=6000") == 4
    assert said.count("runtime=30") == 4 and "This was a dry-run" in said and not (folder / "tables" / "mine.json").exists()


@pytest.mark.slow
def test_a_job_that_fails_is_named_and_the_others_are_kept(tmp_path):
    folder = project(tmp_path / "fails", TABLE.replace("align: false", "align: false, scale: word"))
    said = finished(folder, "--yes", code=1)
    assert "failed: train/" in said and "option scale: found 'word'" in said
    rows, _, _, _, missing = outcome(folder)
    assert [row["label"] for row in rows] == ["with PAR"] and missing == ["without, fold 0, seed 0"]


def test_a_second_call_is_refused_and_snakemake_holds_the_folder_alone(tmp_path):
    """Of a call that was killed Snakemake may live on: it inherits the lock. No process number is read, containers have their own."""
    from fsslib.basics.errors import InputError
    from fsslib.grid.run import _alone
    with _alone(tmp_path) as lock:
        with pytest.raises(InputError, match="another call at work there, expected one at a time"), _alone(tmp_path):
            pass
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with pytest.raises(InputError, match="another call at work"), _alone(tmp_path):
        pass
    child.communicate(b"\n")
    with _alone(tmp_path):
        pass
