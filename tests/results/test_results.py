"""Tables from stored files, and the study that writes them, on the toy data with a tiny network."""

import json

import numpy as np
import pytest

from fsslib.results import tables as results
from fsslib import studies
from fsslib.basics.errors import InputError
from fsslib.metrics import EpisodeScores
from fsslib.models import build_model
from fsslib.studies import panet
from fsslib.training import TrainingConfig


@pytest.fixture
def small_study(monkeypatch, toy):
    """The study of two runs: training-free and trained with PAR, on one fold of the toy data."""
    settings = panet.Settings("voc", {"tiny": 40}, 6, TrainingConfig(
        steps=2, batch=1, size=40, validation=0.4, validate_every=1, validation_episodes=2), trained="tiny")
    rows = [panet.Run("tiny", 40, 0), panet.Run("tiny", 40, 0, training="par")]
    monkeypatch.setitem(panet.SETTINGS, "panet_voc", settings)
    monkeypatch.setattr(panet, "runs", lambda _: rows)
    monkeypatch.setattr(panet, "default_weights", lambda _: None)
    monkeypatch.setattr(panet, "open_dataset", lambda name, split: toy)
    monkeypatch.setattr(panet, "novel_classes", lambda name, fold: (1, 2))
    monkeypatch.setattr(panet, "base_classes", lambda name, fold: (3, 4))
    monkeypatch.setattr(panet, "FOLDS", 1)
    return rows


def test_a_study_goes_on_where_it_stopped(small_study, tmp_path, monkeypatch):
    studies.run_study("panet_voc", tmp_path / "runs", tmp_path, only="free")
    table = json.loads((tmp_path / "panet_voc.json").read_text())
    assert [row["training"] for row in table["rows"]] == ["free"] and table["not_run"] == [small_study[1].name]

    evaluated = []
    evaluate = panet.evaluate
    monkeypatch.setattr(panet, "evaluate", lambda *a, **k: evaluated.append(k["training"]) or evaluate(*a, **k))
    studies.run_study("panet_voc", tmp_path / "runs", tmp_path)
    assert evaluated == ["par"]                                          # the finished run was not repeated
    table = json.loads((tmp_path / "panet_voc.json").read_text())
    assert not table["not_run"] and [len(c["step"]) for c in table["curves"]] == [3]      # steps 0, 1, 2


def test_differences_and_means_of_a_study(small_study, tmp_path):
    studies.run_study("panet_voc", tmp_path / "runs", tmp_path)
    table = json.loads((tmp_path / "panet_voc.json").read_text())
    stored = {row.training: json.loads((tmp_path / "runs" / "panet_voc" / row.name / "result.json").read_text())
              for row in small_study}
    one, other = (EpisodeScores.from_dict(stored[k]["scores"]) for k in ("par", "free"))
    (gap,) = table["differences"]
    assert gap["difference"] == pytest.approx(100 * (one.miou() - other.miou()), abs=0.01)
    assert {m["training"]: m["miou"] for m in table["means"]} == {k: r["miou"] for k, r in stored.items()}
    assert "rows" not in stored["par"] and len(stored["par"]["scores"]["rows"]) == 6


def test_a_table_is_never_replaced_by_less(small_study, tmp_path):
    studies.run_study("panet_voc", tmp_path / "runs", tmp_path)
    before = (tmp_path / "panet_voc.json").read_bytes()
    with pytest.raises(InputError, match="1 rows that .* does not hold"):
        studies.run_study("panet_voc", tmp_path / "elsewhere", tmp_path, only="free")
    assert (tmp_path / "panet_voc.json").read_bytes() == before


def test_unknown_study():
    with pytest.raises(InputError, match="one of panet_shapes, panet_voc"):
        studies.run_study("panet_coco", "runs", "results")


def table_of(miou):
    keys = dict(backbone="b", size=1, training="free", shots=1, ways=1, protocol="pfenet", annotation="mask", seed=0)
    rows = [{**keys, "fold": f, "miou": m, "intervals": {"miou": [m - 2, m + 4]}} for f, m in enumerate(miou)]
    means = [{**keys, "fold": -1, "miou": float(np.mean(miou)), "interval": [20.0, 21.0]}] if len(miou) == 4 else []
    return {"study": "s", "rows": rows, "means": means}


def test_fold_table():
    header, rows = results.fold_table(table_of([10, 20, 30, 40]), [("all", {"shots": 1}), ("none", {"shots": 5})])
    assert rows[0] == ["all", "10.0 ± 3.0", "20.0 ± 3.0", "30.0 ± 3.0", "40.0 ± 3.0", "25.0 ± 0.5"]
    assert rows[1] == ["none", *["not run"] * 5] and len(header) == 6
    html, text = results.to_html(header, rows, "command"), results.to_text(header, rows)
    assert html.count("<tr>") == 3 and "command" in html and "25.0 ± 0.5" in text


def test_as_text():
    assert "not run" in results.as_text(table_of([10, 20]))
    assert "41.50 %" in results.as_text({"miou": 41.5, "fb_iou": 60.0, "intervals": {"miou": [40, 43]}})
    with pytest.raises(InputError, match="neither"):
        results.as_text({"something": 1})
    assert "never occurred" in results.as_text({"miou": None})
    for odd in (5, None, "miou", [1, 2], {"miou": 3}, {"study": "x"}, {"study": "x", "rows": 5},
                {"study": "x", "rows": [{"a": 1}]}):
        with pytest.raises(InputError, match="odd.json: found neither"):
            results.as_text(odd, "odd.json")


def test_published_means_follow_from_their_folds():
    for *_, folds, mean, protocol, source in results.published():
        assert protocol and source
        if folds:
            assert np.mean(folds) == pytest.approx(mean, abs=0.06)


def test_default_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_DATA", str(tmp_path))
    assert panet.default_weights("vgg16") == "imagenet"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16_imagenet.safetensors").touch()
    assert panet.default_weights("vgg16") == tmp_path / "weights" / "vgg16_imagenet.safetensors"


def test_models_named_in_the_study_exist():
    assert build_model("panet", "tiny", None).architecture["model"] == "panet"
