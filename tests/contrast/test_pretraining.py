"""Pretraining: it learns, it goes on after any interruption to the same bits, and it says when it cannot."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Toy, draw_toy, call
from PIL import Image
from test_training import Stop, Watched, in_process, stop_at  # noqa: F401 (in_process is a fixture)
from torchvision.transforms import v2

from fsslib import datasets
from fsslib.models.backbones import build_backbone
from fsslib.basics.checkpoints import load_checkpoint
from fsslib.contrast import PretrainConfig, pretrain, views
from fsslib.contrast.pretraining import learning_rate, probe_of
from fsslib.basics.errors import InputError
from fsslib.basics.storage import sha256_file
from fsslib.superpixels.cache import PatchCache, write_labels
from fsslib.training import split_validation

ROOT = __file__.rsplit("/tests/", 1)[0]
QUICK = PretrainConfig(epochs=2, batch=4, size=32, patch_size=32, queue=8, dim=8, sub_batches=2, held_out=0.3,
                       probe_every=1, probe_size=64, checkpoint_every=3, precision="32", key_momentum=0.9, lr=0.5)


def parts_of(mask):
    """Label map of a toy picture: each object, and four quarters of background."""
    y, x = np.indices(mask.shape)
    objects = np.where(mask == 255, 0, mask)
    return np.unique(np.where(objects, objects + 4, y // 24 * 2 + x // 32), return_inverse=True)[1].reshape(mask.shape)


def opened(folder):
    """The data set of a folder with its label maps in the cache: SLIC would need larger pictures than these."""
    data = Toy(folder)
    data.area_scale = 1 / 20
    for method in ("slic", "felzenszwalb"):
        cache = PatchCache(data, method)
        for i in range(len(data)):
            write_labels(cache.path(i), parts_of(data.mask(i)), cache._tag(i))
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_toy(tmp_path_factory.mktemp("pictures") / "data", seed=7)


@pytest.fixture(scope="module")
def data(folder):
    return opened(folder)


def encoder(batch_norm="train", seed=0):
    torch.manual_seed(seed)
    return build_backbone("tiny", None, 32, batch_norm)


def run(data, out=None, config=QUICK, start=None, **options):
    return pretrain(start or encoder(), data, config, out, progress=False, **options)


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run of 8 steps: folder, extractor, rows."""
    out = tmp_path_factory.mktemp("run")
    return out, *run(data, out)


def assert_same(out, extractor, rows, whole):
    assert timeless(rows) == timeless(whole[2])
    for name, value in whole[1].state_dict().items():
        assert torch.equal(extractor.state_dict()[name], value), name
    assert sha256_file(out / "extractor.safetensors") == sha256_file(whole[0] / "extractor.safetensors")
    logs = [list(csv.DictReader(open(folder / "log.csv", newline=""))) for folder in (out, whole[0])]
    assert timeless(logs[0]) == timeless(logs[1])
    results = [json.loads((folder / "result.json").read_text()) for folder in (out, whole[0])]
    assert all(results[0][k] == results[1][k] for k in ("config", "digests", "probe"))


def test_what_a_run_leaves(data, whole):
    out, extractor, rows = whole
    seen, held_out = split_validation(data, 0.3)
    steps = 2 * (len(seen) // 4)
    assert [row["step"] for row in rows] == list(range(steps + 1))
    assert [row["step"] for row in rows if "probe" in row] == [0, steps // 2, steps]
    assert all(0 < row["probe"] <= 100 for row in rows if "probe" in row)
    for row in rows[1:]:
        assert row["loss"] == pytest.approx(row["global"] + row["local"], rel=1e-6)
        assert 0 <= row["accuracy_global"] <= 1 and 0 <= row["accuracy_local"] <= 1 and row["images_per_second"] > 0
    assert [row["lr"] for row in rows[1:]] == [learning_rate(QUICK, step, steps) for step in range(steps)]
    table = list(csv.DictReader(open(out / "log.csv", newline="")))
    assert [float(row["loss"]) for row in table[1:]] == [row["loss"] for row in rows[1:]]
    assert float(table[0]["probe"]) == rows[0]["probe"] and table[1]["probe"] == ""
    result = json.loads((out / "result.json").read_text())
    assert result["config"]["lr"] == 0.5 and result["config"]["backbone"] == "tiny" and result["config"]["queue"] == 8
    assert (result["config"]["images"], result["config"]["held_out_images"]) == (len(seen), len(held_out))
    assert result["versions"]["torch"] == torch.__version__.split("+")[0] and result["hardware"] and result["seconds"] > 0
    assert result["digests"]["digest"] == data.digest and len(result["digests"]["start"]) == 64
    assert result["digests"]["extractor"] == sha256_file(out / "extractor.safetensors")
    assert result["probe"]["accuracy"] == pytest.approx(rows[-1]["probe"], abs=0.01) and result["rows"] == rows
    assert list(out.glob("events.*")) and not list(out.glob(".*part")) and str(out) not in json.dumps(result)


def test_the_extractor_is_the_momentum_encoder_at_stride_8(data, whole):
    out, extractor, rows = whole
    state = load_checkpoint(out / "checkpoint.pt", {"model": "moco", "backbone": "tiny",
                                                    "options": {"loss": "both", "queue": 8, "batch_norm": "train"}})
    assert state["step"] == len(rows) - 1
    built = build_backbone("tiny", out / "extractor.safetensors")
    for name, value in built.state_dict().items():
        assert torch.equal(value, state["model"][f"key_encoder.{name}"])
        assert torch.equal(value, extractor.state_dict()[name])
    assert not torch.equal(built.state_dict()["stem.weight"], state["model"]["encoder.stem.weight"])
    assert not extractor.training and built(torch.rand(1, 3, 64, 64))["layer4"].shape == (1, 16, 8, 8)
    scores = probe_of(data, QUICK).score(built)
    assert 100 * scores.miou() == pytest.approx(rows[-1]["probe"], abs=1e-6)


def test_the_same_call_gives_the_same_bits_and_another_seed_others(data, whole, tmp_path):
    torch.rand(3)
    assert_same(tmp_path, *run(data, tmp_path), whole)
    start = encoder()
    _, rows = run(data, config=replace(QUICK, seed=1), start=start)
    assert not any(row["global"] == before["global"] for row, before in zip(rows[1:], whole[2][1:]))


@pytest.mark.parametrize("step", [2, 3, 5, 8])
def test_resumed_is_uninterrupted(data, whole, tmp_path, step):
    """Stopped before a checkpoint was kept, at one, between two with a probe before it, and at the last step."""
    with pytest.raises(Stop):
        run(data, tmp_path, report=stop_at(step))
    assert (tmp_path / "checkpoint.pt").exists() == (step > 3) and not (tmp_path / "result.json").exists()
    torch.rand(5)
    assert_same(tmp_path, *run(data, tmp_path, resume=True), whole)


def test_resuming_a_finished_run_changes_nothing(data, whole, tmp_path):
    run(data, tmp_path)
    assert_same(tmp_path, *run(data, tmp_path, resume=True), whole)


CHILD = """
import sys, time
sys.path[:0] = ["tests", "tests/contrast"]
from pathlib import Path
from test_pretraining import opened, run
run(opened(Path(sys.argv[1])), Path(sys.argv[2]),
    report=lambda row: (print(row["step"], flush=True), time.sleep(0.3)))
"""


def test_killed_and_resumed(data, folder, whole, tmp_path):
    """SIGKILL when step 6 is told: after the checkpoint of step 3, perhaps within writing that of step 6."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(tmp_path)], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT})
    for line in child.stdout:
        if line.strip() == "6":
            break
    time.sleep(0.31)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    assert_same(tmp_path, *run(data, tmp_path, resume=True), whole)


TWO = """
import sys
sys.path[:0] = ["tests", "tests/contrast"]
from dataclasses import replace
from pathlib import Path
import torch
from test_pretraining import QUICK, encoder, opened, run
extractor, _ = run(opened(Path(sys.argv[1])), Path(sys.argv[2]),
                   replace(QUICK, devices=2, probe_every=0), encoder("eval"))
torch.save(extractor.state_dict(), f"{sys.argv[2]}/rank{torch.distributed.get_rank()}.pt")
"""


def test_two_processes_are_one_with_twice_the_batch(data, folder, tmp_path):
    """With stored batch-norm statistics a step of 2 x 4 images is a step of 8: same weights, and both queues hold the
    keys of both processes, in the order of the images."""
    (tmp_path / "two.py").write_text(TWO)
    done = subprocess.run([sys.executable, tmp_path / "two.py", folder, tmp_path / "two"], cwd=ROOT, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": ROOT}, timeout=200)
    assert done.returncode == 0, done.stderr
    config = replace(QUICK, batch=8, probe_every=0)
    run(data, tmp_path / "one", config, encoder("eval"))
    one, two = (load_checkpoint(tmp_path / name / "checkpoint.pt", {"model": "moco", "backbone": "tiny", "options": {
        "loss": "both", "queue": 8, "batch_norm": "eval"}}) for name in ("one", "two"))
    assert one["step"] == two["step"] == 4 and {"queues.global.keys", "queues.local.keys"} < set(one["model"])
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, atol=1e-4, rtol=0, msg=name)
    ranks = [torch.load(tmp_path / "two" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])


def test_it_learns(tmp_path, monkeypatch):
    """64 pictures, each with stripes of its own; with a light augmentation, so that 60 steps are enough. The encoder
    that may learn tells them apart better than the one that may not (lr 0), which sees the same views."""
    rng, (y, x) = np.random.default_rng(0), np.indices((40, 40))
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for at in range(64):
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(.3, 1.2)
        stripes = np.sign(np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle))))[..., None]
        image = rng.uniform(40, 210, 3) + rng.uniform(-45, 45, 3) * stripes
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path / "images" / f"{at:02}.png")
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "masks" / f"{at:02}.png")
    monkeypatch.setattr(views, "moco_augmentation", lambda size: v2.Compose([
        v2.RandomCrop(size), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)]))
    config = replace(QUICK, loss="global", epochs=15, batch=16, queue=32, dim=16, held_out=0.0, probe_every=0,
                     key_momentum=0.99, weight_decay=0.0)
    ends = [np.mean([row["loss"] for row in run(Toy(tmp_path), config=replace(config, lr=lr))[1][-20:]])
            for lr in (0.0, 1.0)]
    assert ends[1] < ends[0] - 0.3


def test_held_out_images_are_never_seen(data, in_process):  # noqa: F811
    class Seen(Watched):
        def image(self, i):
            self.read.add(int(i))
            return self.dataset.image(i)

        def mask(self, i):
            raise AssertionError("pretraining asked for a mask")

    train, held_out = split_validation(data, 0.3)
    watched = Seen(data)
    run(watched, config=replace(QUICK, epochs=6, probe_every=0))
    assert watched.read == set(train) and not watched.read & set(held_out)
    watched.read.clear()
    run(watched, config=replace(QUICK, epochs=1, probe_every=0, held_out=0.0))
    assert watched.read == set(range(24))                            # the paper's "entire dataset"


@pytest.mark.parametrize("loss, patches", [("global", 0), ("local", 24)])
def test_only_the_local_loss_needs_superpixels(toy_folder, tmp_path, monkeypatch, loss, patches):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("fsslib.superpixels.cache.cores", lambda: 1)
    monkeypatch.setattr(PatchCache, "_made", lambda self, i: write_labels(
        self.path(i), parts_of(self.dataset.mask(i)), self._tag(i)))
    _, rows = run(Toy(toy_folder), config=replace(QUICK, loss=loss, probe_every=0, epochs=1))
    assert {"global", "local"} & set(rows[0]) == {loss} and rows[0]["loss"] == rows[0][loss]
    assert len(list((tmp_path / "cache" / "superpixels").rglob("*.png"))) == patches


def test_other_options_or_data_are_refused(data, whole, tmp_path):
    out = whole[0]
    kept = (out / "checkpoint.pt").read_bytes()
    for changes, word in ((dict(lr=0.1), "found a run with lr=0.5, expected lr=0.1"), (dict(epochs=3), "epochs=2"),
                          (dict(patches="felzenszwalb"), "patches='slic'"), (dict(seed=1), "seed=0"),
                          (dict(queue=16), "queue=8.*queue=16"), (dict(loss="global"), "loss=both.*loss=global")):
        with pytest.raises(InputError, match=word):
            run(data, out, replace(QUICK, **changes), resume=True)
    with pytest.raises(InputError, match="a run with start="):
        run(data, out, start=encoder(seed=9), resume=True)
    with pytest.raises(InputError, match="checkpoint of an earlier run.*--resume"):
        run(data, out)
    draw_toy(tmp_path / "other", seed=8)
    with pytest.raises(InputError, match="a run with digest="):
        run(opened(tmp_path / "other"), out, resume=True)
    assert (out / "checkpoint.pt").read_bytes() == kept


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(data, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="loss nan.*Lower lr.*no step was kept"):
        run(data, tmp_path / "wild", replace(QUICK, lr=1e30, checkpoint_every=100))
    assert not (tmp_path / "wild" / "extractor.safetensors").exists()
    with pytest.raises(Stop):
        run(data, tmp_path, report=stop_at(5))
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    from fsslib.contrast import moco
    plain = moco.own_key_first
    monkeypatch.setattr(moco, "own_key_first", lambda logits: plain(logits) * math.nan)
    with pytest.raises(InputError, match=f"step 3: found loss nan.*{tmp_path / 'checkpoint.pt'}"):
        run(data, tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_schedule():
    config = PretrainConfig(batch=64, lr=0.03)
    assert [learning_rate(config, step, 8) for step in (0, 4, 8)] == pytest.approx([0.0075, 0.00375, 0])
    assert learning_rate(replace(config, devices=4), 0, 8) == 0.03
    assert learning_rate(config, 2, 8) == pytest.approx(0.0075 * (1 + .5 ** .5) / 2)


@pytest.mark.parametrize("change, word", [
    (dict(temperature=0.0), "temperature: found 0.0"), (dict(key_momentum=1.0), "key momentum: found 1.0"),
    (dict(patches="grid"), "found 'grid', expected one of slic, felzenszwalb"), (dict(size=8), "size: found 8"),
    (dict(precision="16"), "precision: found '16'"), (dict(lr=float("nan")), "lr: found nan"),
    (dict(held_out=1.0), "held_out: found 1.0"), (dict(epochs=0), "epochs: found 0"), (dict(dim=0), "dim: found 0"),
    (dict(seed=-1), "seed: found -1"), (dict(queue=0), "queue: found 0"), (dict(min_area=0), "min_area: found 0")])
def test_bad_configuration_leaves_nothing(data, tmp_path, change, word):
    with pytest.raises(InputError, match=word):
        run(data, tmp_path / "new", replace(QUICK, **change))
    assert not (tmp_path / "new").exists()


def test_a_network_without_stride_8_cannot_be_probed(data, tmp_path):
    start = build_backbone("resnet18", None, 32, "train")
    with pytest.raises(InputError, match="8 for resnet18"):
        run(data, tmp_path / "new", start=start)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def toy_voc(monkeypatch, folder, data):
    """``--dataset voc`` opens the toy pictures."""
    class Small(Toy):
        name, area_scale = "voc", 1 / 20
    monkeypatch.setattr(datasets, "open_dataset", lambda name, root=None, split="train": Small(folder, split))


@pytest.mark.parametrize("step", [2, 5])
def test_stopped_by_ctrl_c_it_keeps_the_step(data, whole, tmp_path, step):
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, report=lambda row: row["step"] == step and signal.raise_signal(signal.SIGINT))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == step and not (tmp_path / "result.json").exists()
    assert_same(tmp_path, *run(data, tmp_path, resume=True), whole)


def test_more_epochs_name_the_way(data, whole, tmp_path):
    with pytest.raises(InputError, match=r"a finished run with epochs=2, expected epochs=4.*--weights .*extractor.safetensors, with the same"):
        run(data, whole[0], replace(QUICK, epochs=4), resume=True)
    with pytest.raises(Stop):
        run(data, tmp_path, report=stop_at(4))
    with pytest.raises(InputError, match="found a run with epochs=2.*Resume with the same options"):
        run(data, tmp_path, replace(QUICK, epochs=4), resume=True)


def test_the_extractor_is_what_safetensors_itself_would_write(whole, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file
    file = whole[0] / "extractor.safetensors"
    with safe_open(file, "pt") as opened:
        assert set(opened.metadata()) == {"about"}
    assert all(torch.equal(load_file(file)[name], value) for name, value in whole[1].state_dict().items())


TINY = ("pretrain", "--backbone", "tiny", "--weights", "none", "--dataset", "voc")


@pytest.mark.parametrize("arguments, word", [
    (("--queue", 20, "--batch", 8), "queue: found length 20 with 8 keys a step, expected a multiple. Use 16."),
    (("--batch", 1), "batch: found 1"), (("--batch", 6), "batch: found 6 images in 4 parts"),
    (("--batch", 32), "batch: found 32 images a step of"), (("--seed", 2 ** 80), "seed: found 12089258196"),
    (("--config", "unknown.yaml"), "loss: found 'everything', expected one of global, local, both"),
    (("--config", "key.yaml"), "unknown key 'epoch'"), (("--config", "parts.yaml"), "8 images in 8 parts"),
    (("--probe-every", 1, "--images", "all"), "held_out: found 0.0"), (("--lr", -1), "lr: found -1.0"),
    (("--out", "unknown.yaml", "--batch", 8), "unknown.yaml: found a file on this path")])
def test_bad_input_is_one_line_and_exit_2(monkeypatch, capsys, tmp_path, toy_voc, arguments, word):
    monkeypatch.chdir(tmp_path)
    files = {"unknown.yaml": "loss: everything\n", "key.yaml": "epoch: 3\n", "parts.yaml": "batch: 8\nsub_batches: 8\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    code, _, err = call(monkeypatch, capsys, *TINY, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("fsslib: ")]     # beside the index's progress
    assert code == 2 and len(lines) == 1 and word in lines[0] and "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_from_the_command_line(monkeypatch, capsys, tmp_path, toy_voc):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text("batch: 4\nsub_batches: 2\ndim: 8\nprecision: '32'\nheld_out: 0.3\n")
    options = (*TINY, "--config", "quick.yaml", "--size", 32, "--patch-size", 32, "--epochs", 1)
    code, out, _ = call(monkeypatch, capsys, *options, "--images", "all", "--loss", "global")
    folder = tmp_path / "runs" / "pretrain" / "voc-tiny-none-global-slic"
    result = json.loads((folder / "result.json").read_text())
    assert code == 0 and "held_out=0.0" in out and "sees the validation images" in out
    assert (result["config"]["images"], result["digests"]["split"], len(result["rows"])) == (24, "all", 6)
    code, _, err = call(monkeypatch, capsys, *options, "--images", "all", "--loss", "global")
    assert code == 2 and "checkpoint of an earlier run" in err
    code, _, err = call(monkeypatch, capsys, *options, "--loss", "global", "--resume")
    assert code == 2 and "expected" in err and "Traceback" not in err
