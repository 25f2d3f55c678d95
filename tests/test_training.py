"""Training: it learns, it goes on after any interruption to the same bits, and it says when it cannot."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Toy, draw_toy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fsslib.episodes.batches import EpisodeTensors
from fsslib.episodes.sampler import EpisodeSampler
from fsslib.episodes.transforms import image_to_input, mask_to_input
from fsslib.models.bank import ModelBank
from fsslib.basics.checkpoints import load_checkpoint
from fsslib.basics.errors import InputError
from fsslib.models import build_model
from fsslib.training import TrainingConfig, fit, learning_rate, split_validation

BASE = (1, 2, 3, 4)
QUICK = TrainingConfig(steps=6, batch=2, size=40, lr=0.02, validate_every=3, validation_episodes=16, validation=0.3,
                       checkpoint_every=2, precision="32")


def panet(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("panet", "tiny", None, **options)


def run(toy, out=None, config=QUICK, classes=BASE, model=None, **options):
    model = model or panet()
    return model, fit(model, toy, classes, config, out, progress=False, **options)


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(autouse=True)
def few_episodes_for_the_rule_of_presence(monkeypatch):
    monkeypatch.setattr("fsslib.training.presence.EPISODES", 40)


class Stop(Exception):
    """Stands for whatever ends a run: a full disk, a closed laptop."""


def stop_at(step):
    def report(row):
        if row["step"] == step:
            raise Stop
    return report


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """An uninterrupted run: folder, model, rows."""
    out = tmp_path_factory.mktemp("run")
    return out, *run(toy, out)


@pytest.fixture(scope="module")
def whole_qgnet(toy, tmp_path_factory):
    """QGNet with AdamW, its bank and five views, uninterrupted."""
    out = tmp_path_factory.mktemp("qgnet")
    return out, *run_qgnet(toy, out)


def run_qgnet(toy, out, **options):
    torch.manual_seed(0)
    model = build_model("qgnet", "tiny", None, width=6)
    config = replace(QUICK, **type(model).TRAINING | dict(lr=1e-3, lr_times_ten=False), optimizer="adamw", views=5)
    with ModelBank(model, toy, 40, "pad") as bank:
        return run(toy, out, config, model=model, bank=bank, **options)


def run_whichnet(toy, out, **options):
    torch.manual_seed(0)
    model = build_model("whichnet", "tiny", None, width=6)
    config = replace(QUICK, **type(model).TRAINING | dict(steps=6, batch=2, absent=0.2))
    with ModelBank(model, toy, 40, "pad") as bank:
        return run(toy, out, config, model=model, bank=bank, **options)


def assert_same(out, model, rows, whole):
    assert timeless(rows) == timeless(whole[2])
    for name, value in whole[1].state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    board = [EventAccumulator(str(folder)).Reload().Scalars("loss") for folder in (out, whole[0])]
    assert [(e.step, e.value) for e in board[0]] == [(e.step, e.value) for e in board[1]]
    logs = [list(csv.DictReader(open(folder / "log.csv", newline=""))) for folder in (out, whole[0])]
    assert timeless(logs[0]) == timeless(logs[1])


def test_the_loss_falls_and_scores_rise(toy):
    config = replace(QUICK, steps=60, batch=4, validate_every=0)
    _, rows = run(toy, config=config)
    losses = [row["query"] for row in rows]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_what_a_run_leaves(whole):
    out, model, rows = whole
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert all(row["loss"] == pytest.approx(row["query"] + row["align"]) for row in rows[1:])
    assert [row["step"] for row in rows if "val_miou" in row] == [0, 3, 6]
    assert all(0 < rows[step]["val_miou"] <= 100 and 0 < rows[step]["val_distance"] < 2 for step in (0, 3, 6))
    assert json.loads((out / "config.json").read_text())["lr"] == 0.02
    table = list(csv.DictReader(open(out / "log.csv", newline="")))
    assert [int(row["step"]) for row in table] == [0, 1, 2, 3, 4, 5, 6]
    assert [float(row["loss"]) for row in table[1:]] == [row["loss"] for row in rows[1:]]
    assert float(table[0]["val_miou"]) == rows[0]["val_miou"] and table[1]["val_miou"] == ""
    state = load_checkpoint(out / "checkpoint.pt", model.architecture)
    assert state["step"] == 6 and all(torch.equal(state["model"][k], v) for k, v in model.state_dict().items())
    assert list(out.glob("events.*")) and not list(out.glob(".*part"))


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_resumed_is_uninterrupted(toy, whole, tmp_path, step):
    """Stopped before a checkpoint was kept, between two, at one with validation before it, and at the end."""
    with pytest.raises(Stop):
        run(toy, tmp_path, report=stop_at(step))
    time.sleep(1 - time.time() % 1)          # TensorBoard orders files by the second, then "10" before "9"
    model, rows = run(toy, tmp_path, resume=True, model=panet(seed=0 if step == 1 else 9))
    assert_same(tmp_path, model, rows, whole)


def test_resuming_a_finished_run_changes_nothing(toy, whole, tmp_path):
    run(toy, tmp_path)
    model, rows = run(toy, tmp_path, resume=True, model=panet(9))
    assert_same(tmp_path, model, rows, whole)


CHILD = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from conftest import Toy
from test_training import run, run_qgnet
import time
toy = Toy(Path(sys.argv[1])); toy.area_scale = 1 / 2048
{"panet": run, "qgnet": run_qgnet}[sys.argv[3]](
    toy, Path(sys.argv[2]), report=lambda row: (print(row["step"], flush=True), time.sleep(0.3)))
"""


@pytest.mark.parametrize("name", ["panet", "qgnet"])
def test_killed_and_resumed(toy, toy_folder, whole, whole_qgnet, tmp_path, name):
    """SIGKILL as soon as step 4 is told: after the checkpoint of step 2, perhaps within writing that of step 4.

    The same weights, losses and validation scores as without: QGNet's with its feature bank and AdamW's moments.
    """
    root = __file__.rsplit("/tests/", 1)[0]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(toy_folder), str(tmp_path), name], cwd=root, text=True,
                             stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root})
    for line in child.stdout:
        if line.strip() == "4":
            break
    time.sleep(0.31)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    if name == "panet":
        assert_same(tmp_path, *run(toy, tmp_path, resume=True, model=panet(9)), whole)
    else:
        assert_same(tmp_path, *run_qgnet(toy, tmp_path, resume=True), whole_qgnet)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_it_keeps_the_step(toy, toy_folder, whole, tmp_path, number):
    """Between two checkpoints; the signal goes to the loading process, too, as from a terminal."""
    root = __file__.rsplit("/tests/", 1)[0]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(toy_folder), str(tmp_path), "panet"], cwd=root, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}, start_new_session=True)
    for line in child.stdout:
        if line.strip() == "3":
            break
    os.killpg(child.pid, number)
    said = child.communicate(timeout=60)[1]
    assert child.returncode in (-number, 1) and "once more ends it at once" in said and "DataLoader worker" not in said
    assert load_checkpoint(tmp_path / "checkpoint.pt", panet().architecture)["step"] == 3
    assert_same(tmp_path, *run(toy, tmp_path, resume=True, model=panet(9)), whole)


def test_a_signal_in_the_last_step_changes_nothing(toy, whole, tmp_path):
    model, rows = run(toy, tmp_path, report=lambda row: row["step"] == 6 and signal.raise_signal(signal.SIGINT))
    assert_same(tmp_path, model, rows, whole)


def test_other_options_or_another_model_are_refused(toy, whole):
    out = whole[0]
    for changes, word in ((dict(lr=0.01), "found a run with lr=0.02, expected lr=0.01"), (dict(steps=7), "steps=6"),
                          (dict(seed=1), "seed=0")):
        with pytest.raises(InputError, match=word):
            run(toy, out, replace(QUICK, **changes), resume=True)
    for model in (panet(align=False), panet(maps=("layer3",))):
        with pytest.raises(InputError, match="found a checkpoint of panet on tiny"):
            run(toy, out, resume=True, model=model)
    with pytest.raises(InputError, match="no such file"):
        load_checkpoint(out / "gone.pt", panet().architecture)


def test_a_damaged_checkpoint_is_refused(toy, whole, tmp_path):
    content = (whole[0] / "checkpoint.pt").read_bytes()
    for damaged in (content[:len(content) // 2], b"", b"text"):
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(InputError, match="no readable checkpoint"):
            run(toy, tmp_path, resume=True)


@pytest.mark.parametrize("changes, word", [
    (dict(architecture={}), "no readable"), (dict(architecture="panet"), "'architecture'"),
    (dict(config=3), "'config'"), (dict(rows=5), "'rows'"), (dict(step="4"), "'step'"), (dict(model=7), "'model'"),
    (dict(model={}), "other names or shapes"), (dict(optimizer={}), "other names or shapes")])
def test_a_checkpoint_with_odd_parts_is_refused(toy, whole, tmp_path, changes, word):
    state = load_checkpoint(whole[0] / "checkpoint.pt", whole[1].architecture)
    torch.save({**state, **changes}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=word):
        run(toy, tmp_path, resume=True)


def test_a_checkpoint_is_never_overwritten_by_a_new_run(toy, whole):
    kept = (whole[0] / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match="checkpoint of an earlier run.*--resume"):
        run(toy, whole[0])
    assert (whole[0] / "checkpoint.pt").read_bytes() == kept


def test_other_classes_or_images_are_refused(toy, whole, tmp_path):
    other = Toy(draw_toy(tmp_path / "other", seed=5))
    other.area_scale = toy.area_scale
    for call, word in ((lambda: run(toy, whole[0], resume=True, classes=(1, 2)), r"classes=\[1, 2, 3, 4\]"),
                       (lambda: run(other, whole[0], resume=True), "digest=")):
        with pytest.raises(InputError, match=f"a run with {word}"):
            call()


def test_a_class_without_validation_episodes_has_no_score(toy, tmp_path):
    _, rows = run(toy, tmp_path, replace(QUICK, steps=1, validation_episodes=1))     # one episode, four classes
    assert rows[0]["val_miou"] is None
    assert (tmp_path / "log.csv").read_text().splitlines()[1].startswith("0,")


def test_a_size_that_cannot_be_used_leaves_nothing(toy, tmp_path):
    with pytest.raises(InputError, match="size: found 8"):
        run(toy, tmp_path / "new", replace(QUICK, size=8))
    assert not (tmp_path / "new").exists()


def test_schedules():
    step = TrainingConfig(steps=30000, lr=1e-3)
    assert [learning_rate(step, s) for s in (0, 9999, 10000, 19999, 20000, 29999)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    poly = TrainingConfig(steps=10000, lr=0.025, schedule="poly")
    assert [learning_rate(poly, s) for s in (0, 1, 10, 1000)] == pytest.approx(
        [.025, .02499775, .0249775, .02273831], rel=1e-6)            # as the official code prints them
    assert learning_rate(poly, 9999) > 0
    times_ten = replace(poly, lr=0.0025, lr_times_ten=True)
    assert [learning_rate(times_ten, s) for s in (0, 1000)] == pytest.approx([.025, .02273831], rel=1e-6)


def test_the_optimiser_gets_the_schedule(whole):
    assert [row["lr"] for row in whole[2][1:]] == pytest.approx([.02, .02, .002, .002, .0002, .0002])


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(toy, tmp_path):
    wild = replace(QUICK, lr=1e30, checkpoint_every=100)
    with pytest.raises(InputError, match="loss nan.*Lower lr.*no step was kept"):
        run(toy, tmp_path, wild)
    with pytest.raises(Stop):
        run(toy, tmp_path, report=stop_at(5))
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    model = panet()
    model.alignment = lambda *_: torch.tensor(float("nan"))
    with pytest.raises(InputError, match=f"loss nan.*{tmp_path / 'checkpoint.pt'}"):
        run(toy, tmp_path, model=model, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept
    kept = load_checkpoint(tmp_path / "checkpoint.pt", model.architecture)["model"]
    assert all(value.isfinite().all() for value in kept.values())


def test_validation_images_are_others_and_never_depend_on_a_seed(toy, tmp_path):
    train, validation = split_validation(toy, 0.3)
    assert sorted([*train, *validation]) == list(range(24)) and 0 < len(validation) < 15
    more = draw_toy(tmp_path / "more", count=24, seed=3)
    (more / "images" / "toy00.png").unlink()                         # numbers move, ids keep their side
    other = Toy(more)
    kept = {other.ids[i] for i in split_validation(other, 0.3)[1]}
    assert kept == {toy.ids[i] for i in validation} - {"toy00"}
    assert len(split_validation(toy, 0.0)[1]) == 0 and set(validation) <= set(split_validation(toy, 0.5)[1])


class Watched:
    """A data set that remembers which of its images were read."""

    def __init__(self, dataset):
        self.dataset, self.read = dataset, set()

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        self.read.add(int(i))
        return self.dataset[i]


@pytest.fixture
def in_process(monkeypatch):
    """DataLoaders without workers, so that a test sees what they read."""
    from torch.utils import data
    plain = data.DataLoader.__init__
    monkeypatch.setattr(data.DataLoader, "__init__",
                        lambda self, *a, **o: plain(self, *a, **{**o, "num_workers": 0}))


def test_training_reads_no_validation_image_and_no_dropped_one(toy, in_process):
    train, validation = split_validation(toy, 0.3)
    watched = Watched(toy)
    run(watched, config=replace(QUICK, steps=20, validate_every=0))
    assert watched.read and watched.read <= set(train)
    watched.read.clear()
    run(watched, config=replace(QUICK, steps=20, validate_every=0), classes=(1, 2))
    assert any(toy.areas[i, 4] for i in watched.read)                # kept as background
    watched.read.clear()
    run(watched, config=replace(QUICK, steps=20, validate_every=0), classes=(1, 2), novel=(4,))
    assert watched.read and not any(toy.areas[i, 4] for i in watched.read)


def test_novel_classes_are_never_asked_for(toy, monkeypatch):
    from fsslib.training import loop as training
    drawn, plain = set(), training.EpisodeSampler.__getitem__
    monkeypatch.setattr(training.EpisodeSampler, "__getitem__",
                        lambda self, i: (drawn.update(plain(self, i).class_ids), plain(self, i))[1])
    monkeypatch.setattr(training, "loader", lambda tensors, fabric, batch, first, steps, collate: iter(
        [collate([tensors[s * batch + b] for b in range(batch)]) for s in range(first, steps)]))
    run(toy, config=replace(QUICK, steps=20), classes=(2, 3))
    assert drawn == {2, 3}


@pytest.mark.parametrize("change, word", [
    (dict(steps=0), "steps"), (dict(batch=0), "batch"), (dict(checkpoint_every=0), "checkpoint_every"),
    (dict(lr=-1.0), "lr"), (dict(lr=float("nan")), "lr"), (dict(schedule="cosine"), "schedule"),
    (dict(validation=1.0), "validation"), (dict(validation=0.0), "validation"), (dict(seed=2 ** 40), "seed"),
    (dict(size=8), "size"), (dict(shots=30), r"K \+ 1"), (dict(shots=0), "shots"), (dict(protocol="x"), "protocol"),
    (dict(optimizer="lion"), "optimizer"), (dict(views=-1), "views"), (dict(precision="16"), "precision"), (dict(devices=0), "devices")])
def test_bad_configuration(toy, tmp_path, change, word):
    with pytest.raises(InputError, match=word):
        run(toy, tmp_path / "out", replace(QUICK, **change))
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_an_out_that_is_a_file(toy, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="a file on this path"):
        run(toy, tmp_path / "out")


def test_home_in_the_folder_of_a_run(toy, tiny_panet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = TrainingConfig(steps=1, batch=1, size=32, precision="32", validate_every=0)
    fit(tiny_panet, toy, (1, 2), config, out="~/run", progress=False)
    assert {"checkpoint.pt", "log.csv", "config.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("stop", ["before the first step", "in the midst"])
def test_known_things_are_learned_once(toy, tmp_path, stop, monkeypatch):
    """Interrupted between heads and decoder, or later, a WhichNet goes on to the same bits, with the heads that it had."""
    whole = tmp_path / "whole", *run_whichnet(toy, tmp_path / "whole")
    state = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")
    assert [row["step"] for row in state["rows"]] == list(range(7)) and state["rows"][0]["seconds"] > 0
    assert state["model"]["rule"].shape == (2, 6) and state["model"]["rule"].abs().min() > 0
    from fsslib.training import loop
    fitted, fit_known = [], loop.fit_known
    monkeypatch.setattr(loop, "fit_known", lambda *arguments: (fitted.append(1), fit_known(*arguments)))
    with pytest.raises(Stop):
        run_whichnet(toy, tmp_path / "run", report=stop_at(1 if stop == "before the first step" else 3))
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == (0 if stop == "before the first step" else 2)
    assert_same(tmp_path / "run", *run_whichnet(toy, tmp_path / "run", resume=True), whole)
    assert fitted == [1]


def test_no_head_learns_from_images_of_what_it_leaves_out(toy, monkeypatch):
    """And each learns: on images that it knows, a plain loss below that of its start."""
    from fsslib.training import known
    monkeypatch.setattr(known, "BATCH", 2)               # as many such images as a step asks for; else all, without those pixels
    seen, picture, fit_one = [], EpisodeTensors.picture, known._fit
    monkeypatch.setattr(known, "_fit", lambda *arguments: (seen.append([]), fit_one(*arguments)))
    monkeypatch.setattr(EpisodeTensors, "picture", lambda self, index: (seen[-1].append(index), picture(self, index))[1])
    model, _ = run_whichnet(toy, None)
    assert len(model.known) == len(seen) == 4
    for head, indices in zip(model.known, seen):
        left = set(BASE) - set(head.classes.tolist())
        assert len(left) in (0, 1, 2) and not (toy.areas[indices][:, sorted(left)] > 0).any()
        assert (toy.areas[indices][:, head.classes.tolist()] > 0).any(0).all()
        assert (head.spread != 1).all() and not any(p.requires_grad for p in head.parameters())
    losses = []
    for steps in (1, 150):
        torch.manual_seed(0)
        model = build_model("whichnet", "tiny", None, width=6)
        fit(model, toy, BASE, replace(QUICK, steps=steps, validate_every=0), progress=False)
        losses.append(known_loss(model, toy))
    assert losses[1] < 0.8 * losses[0]


@torch.no_grad()
def known_loss(model, toy):
    """Cross-entropy of the last head on the training images, by hand."""
    head, found = model.known[-1], []
    for i in split_validation(toy, QUICK.validation)[0][:12]:
        x, label = image_to_input(toy.image(i), 40, "pad"), mask_to_input(toy.mask(i), 40, "pad").numpy()
        logits = head(model.encoders[0](x[None]))
        share = torch.log_softmax(torch.nn.functional.interpolate(logits, (40, 40), mode="bilinear", align_corners=True), 1)[0].numpy()
        for position, c in [(0, 0), *enumerate(head.classes.tolist(), 1)]:
            found += (-share[position][label == c]).tolist()
    return np.mean(found)


def test_other_classes_ask_for_other_heads(toy):
    """A model that has learned two classes and goes on with four does not keep what its heads knew."""
    torch.manual_seed(0)
    model = build_model("whichnet", "tiny", None, width=6)
    config = replace(QUICK, steps=1, validate_every=0)
    fit(model, toy, (1, 2), config, progress=False)
    assert model.known[-1].classes.tolist() == [1, 2]
    before = model.known[-1].hidden.weight.clone()
    fit(model, toy, BASE, config, progress=False)
    assert [head.classes.tolist() for head in model.known] == [[2, 3], [1, 3, 4], [1, 2, 4], [1, 2, 3, 4]]
    assert not torch.equal(model.known[-1].hidden.weight, before)


@pytest.mark.parametrize("known, heads", [("left out", 4), ("all", 1), ("none", 0)])
def test_only_heads_that_are_used_learn(toy, known, heads):
    torch.manual_seed(0)
    model = build_model("whichnet", "tiny", None, width=6, known=known)
    fit(model, toy, BASE, replace(QUICK, steps=1, validate_every=0), progress=False)
    assert len(model.known if model.known is not None else ()) == heads


def test_two_ways_are_refused_before_anything_is_learned(toy, tmp_path):
    model = build_model("whichnet", "tiny", None, width=6)
    with pytest.raises(InputError, match="ways"):
        fit(model, toy, BASE, replace(QUICK, ways=2), tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "checkpoint.pt").exists() and not len(model.known)


@pytest.mark.parametrize("changes", [dict(crowded=float("nan")), dict(absent=-0.1), dict(crowded=0.7, absent=0.4)])
def test_shares_of_queries_are_checked_first(toy, changes):
    with pytest.raises(InputError, match="crowded|absent"):
        run(toy, config=replace(QUICK, **changes))


def test_where_images_are_few_what_a_head_leaves_out_is_ignored(toy, monkeypatch):
    """Fewer images without the class than a step asks for: all are learned from, its pixels as 255."""
    from fsslib.training import known
    labels, cross_entropy = [], torch.nn.functional.cross_entropy
    monkeypatch.setattr(known.F, "cross_entropy", lambda x, y, **options: (labels.append((x.shape[1], y)), cross_entropy(x, y, **options))[1])
    torch.manual_seed(0)
    model = build_model("whichnet", "tiny", None, width=6)
    tensors = EpisodeTensors(EpisodeSampler(toy, (1, 2), 1, 0, "pfenet"), 40, "pad")
    showing = np.flatnonzero((toy.areas[:, 1] > 0) & (toy.areas[:, 2] > 0)).tolist()
    known.fit_known(model, tensors, showing, (1, 2), replace(QUICK, steps=5), progress=False)
    assert [head.classes.tolist() for head in model.known] == [[2], [1], [1, 2]]
    assert [set(y.unique().tolist()) for x, y in labels[::2]] == [{0, 1, 255}, {0, 1, 255}, {0, 1, 2, 255}]
