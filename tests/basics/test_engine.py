"""Processes: as many as asked or one sentence; loading ones only where shared memory has room."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fsslib.basics import engine
from fsslib.basics.errors import InputError

SLURM = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}


@pytest.fixture
def alone(monkeypatch):
    for name in (*engine.RANKS, "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return monkeypatch


@pytest.mark.parametrize("variables, devices, word", [
    ({**SLURM, "SLURM_NTASKS": "1"}, 2, r"2 asked, 1 process\(es\) given by SLURM.*--devices 1, or start with --ntasks-per-node=2 and srun"),
    ({**SLURM, "SLURM_NTASKS": "2"}, 2, "given by SLURM"),                       # a batch script that forgot srun would wait for ever
    ({**SLURM, "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, 2, r"4 process\(es\) given by SLURM"),
    ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "RANK": "0", "LOCAL_RANK": "0"}, 2, r"3 process\(es\) given by torchrun"),
    ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, 1, r"2 process\(es\) given by torchrun"),
    ({"LOCAL_RANK": "0"}, 2, r"1 process\(es\) given by the variables")])
def test_another_number_of_processes_is_refused(alone, variables, devices, word):
    for name, value in variables.items():
        alone.setenv(name, value)
    with pytest.raises(InputError, match=word):
        engine.start(devices, "32")


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_launch_with_another_result_is_refused(alone, kind):
    """Whatever cluster gave it: MPI, LSF, ..."""
    class Launched:
        world_size = 3

        def __init__(self, **options):
            assert options["accelerator"] == {"cpu": "cpu", "gpu": "cuda"}[kind]

        def launch(self):
            pass
    alone.setattr(engine, "Fabric", Launched)
    alone.setattr(torch.cuda, "device_count", lambda: 4 if kind == "gpu" else 0)
    with pytest.raises(InputError, match=r"2 asked, 3 process\(es\) started by the cluster.*--devices 3"):
        engine.start(2, "32")


def test_what_the_launcher_says_is_one_sentence(alone):
    class Unable:
        def __init__(self, **options):
            raise RuntimeError("not compatible with an interactive environment\nmore")
    alone.setattr(engine, "Fabric", Unable)
    with pytest.raises(InputError, match=r"2 asked and not started \(not compatible with an interactive environment\)"):
        engine.start(2, "32")


def test_one_process_asks_no_cluster(alone):
    """Four tasks of a job may be four trainings."""
    for name, value in {**SLURM, "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "LOCAL_RANK": "3"}.items():
        alone.setenv(name, value)
    fabric = engine.start(1, "32")
    assert (fabric.world_size, fabric.global_rank) == (1, 0) and engine.leads(1) and not engine.leads(4)


def test_fewer_loading_processes_in_small_shared_memory(alone, capsys):
    items = [{"image": torch.zeros(1000), "masks": (torch.zeros(500, dtype=torch.uint8),)}] * 8         # 4 500 bytes an item
    alone.setattr(sys, "platform", "linux")
    alone.setattr(os.path, "isdir", lambda path: True)
    for free, workers in ((10 ** 9, 8), (8 * 54_000, 8), (3 * 54_000, 3), (53_999, 0)):                  # 3 batches of 4 items in flight
        alone.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": free})())
        assert engine.reading(items, 8, 4)["num_workers"] == workers
        engine.reading(items, 8, 4)
        said = capsys.readouterr().err
        assert said.count("/dev/shm") == (workers < 8) and said.count(f"going on with {workers} ") == (workers < 8)


@pytest.mark.slow
def test_several_processes_from_the_command_line(tmp_path):
    """Two processes train one model, hold one lock and write one result."""
    command = [sys.executable, "-m", "fsslib", "train", "--backbone", "tiny", "--weights", "none", "--size", "64", "--batch", "1",
               "--validate-every", "0", "--steps", "2", "--devices", "2", "--precision", "32", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                          cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stderr and done.stdout.count("last checkpoint") == 1 and (tmp_path / "out" / "result.json").exists()
