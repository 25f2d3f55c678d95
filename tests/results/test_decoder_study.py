"""The studies of decoders and of region maps on the toy data, and their tables."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from fsslib.results import decoders as decoder_tables, tables as results
from fsslib import studies
from fsslib.models.backbones import build_backbone
from fsslib.episodes.batches import EpisodeBatch
from fsslib.contrast import PretrainConfig
from fsslib.metrics import EpisodeScores
from fsslib.basics.storage import read_json
from fsslib.studies import choices, contrast, decoders, maps, panet
from fsslib.training import TrainingConfig

STORED = "figures/results"


@pytest.fixture
def small(monkeypatch, toy):
    """Two folds' worth of classes, a network of four convolutions, two steps; the extractor is a random one."""
    training = TrainingConfig(**decoders.RECIPE | dict(batch=2, validation=0.4, validation_episodes=2), steps=4, size=40)
    settings = decoders.Settings("toy", 40, 6, 6, training, {0: (0, 1), 1: (0,), 2: (0,), 3: (0,)}, ("global",) * 4,
                                 "contrast_voc", "panet_voc", backbone="tiny", drop_novel=False)
    rows = [decoders.Run(model, fold, shots, seed, extractor="global" if model == "qgnet" else "")
            for model in ("qgnet", "pfenet") for fold in range(4) for shots in (1, 5) for seed in ((0, 1) if fold == 0 else (0,))]
    monkeypatch.setitem(decoders.SETTINGS, "qgnet_voc", settings)
    monkeypatch.setitem(decoders.SETTINGS, "ablation_voc", dataclasses.replace(settings, panet="", ablation=0))
    runs = decoders.runs
    monkeypatch.setattr(decoders, "runs", lambda name: rows if name == "qgnet_voc" else runs(name))
    monkeypatch.setattr(panet, "default_weights", lambda _: None)
    for module in (decoders, maps):
        monkeypatch.setattr(module, "open_dataset", lambda name, split: toy)
        monkeypatch.setattr(module, "novel_classes", lambda name, fold: (1, 2) if fold % 2 else (3, 4))
    monkeypatch.setattr(decoders, "base_classes", lambda name, fold: (3, 4) if fold % 2 else (1, 2))
    monkeypatch.setattr(decoders, "extractor", lambda study, name, studies: None)
    return rows


def test_the_study_its_pairs_and_its_tables(small, tmp_path, monkeypatch):
    torch.manual_seed(0)
    path = studies.run_study("qgnet_voc", tmp_path / "runs", tmp_path, only="fold0")
    assert len(read_json(path)["not_run"]) == 12            # those of the other folds
    table = read_json(studies.run_study("qgnet_voc", tmp_path / "runs", tmp_path))
    assert len(table["rows"]) == len(small) and not table["not_run"]
    stored = {row: read_json(tmp_path / "runs" / "qgnet_voc" / row.name / "result.json") for row in small}

    def scores(model, fold, shots, seed):
        (row,) = [r for r in small if (r.model, r.fold, r.shots, r.seed, r.guided, r.projection) ==
                  (model, fold, shots, seed, True, "none") and r.extractor in ("", "global")]
        return EpisodeScores.from_dict(stored[row]["scores"])
    by_hand = [scores("qgnet", 0, 1, seed).difference(scores("pfenet", 0, 1, seed))[0] for seed in (0, 1)]
    (found,) = [d for d in table["differences"] if d["kind"] == "systems" and (d["fold"], d["shots"]) == (0, 1)]
    assert found["difference"] == pytest.approx(100 * np.mean(by_hand), abs=0.01)
    assert found["seeds"] == pytest.approx([100 * v for v in by_hand], abs=0.011)
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    (mean,) = [d for d in table["differences"] if d["kind"] == "systems" and (d["fold"], d["shots"]) == (-1, 5)]
    folds = [np.mean([scores("qgnet", f, 5, s).miou() - scores("pfenet", f, 5, s).miou()
                      for s in ((0, 1) if f == 0 else (0,))]) for f in range(4)]
    assert mean["difference"] == pytest.approx(100 * np.mean(folds), abs=0.01)
    one = next(r for r in table["rows"] if r["model"] == "qgnet")
    assert one["training_steps"] == 4 and one["training_seconds"] > 0
    assert {c["training"] for c in table["curves"]} == {row.training for row in small}
    header, rows = decoder_tables.systems_table(table, published="")
    assert rows[0][0] == "QGNet, 1-shot" and rows[0][1].endswith("(2)") and rows[2][1:] == ["not run"] * 5
    assert [row for row in rows if row[0].startswith("published: QGNet VGG-16 321, 1-shot")][0][-1] == "55.0"
    assert len(decoder_tables.systems_table(table, published="QGNet VGG-16 321")[1]) == 8 + 2
    assert "QGNet - PFENet, 5-shot" in results.as_text(table)
    table["settings"]["panet"] = ""                     # a study without PANet, as qgnet_vgg: no rows that could never run
    assert [len(f(table)[1]) for f in (decoder_tables.systems_table, decoder_tables.differences_table)] == [4, 2]


def test_the_study_of_ablations(small, tmp_path):
    """Each row changes one thing; differences are paired with the study's own QGNet; what is missing says how to run it."""
    path = studies.run_study("ablation_voc", tmp_path / "runs", tmp_path, only="seed0|qgnet-global-fold|noguided|random")
    table, out = read_json(path), tmp_path / "runs" / "ablation_voc"
    header, rows = decoder_tables.ablation_table(table)
    assert rows[0][0] == "QGNet: both maps, extractor: global contrast" and rows[0][1].endswith("(2)")
    assert [row[0] for row in rows] == list(dict.fromkeys(row[0] for row in rows)) and len(rows) == 12
    assert {"guided map alone (PFENet)", "no map", "both maps, extractor: random",
            "neither map nor prototype: blind to the support", "prior map alone, extractor: global contrast",
            "both maps, extractor: global contrast, learned projection"} < {row[0] for row in rows}
    assert len(table["rows"]) == 17 and len(table["not_run"]) == 7 and "no map" in results.as_text(table)
    scores = {(row.model, row.guided, row.seed): EpisodeScores.from_dict(read_json(out / row.name / "result.json")["scores"])
              for row in decoders.runs("ablation_voc") if row.name in {line["name"] for line in table["rows"]}
              and row.extractor in ("", "global") and row.projection == "none"}
    (gap,) = [d for d in table["differences"] if d["kind"] == "ablation" and d["model"] == "pfenet" and not d["guided"]]
    assert gap["seeds"] == pytest.approx([100 * scores["pfenet", False, s].difference(scores["qgnet", True, s])[0]
                                          for s in (0, 1)], abs=0.011)
    table["not_run"].append("qgnet-other-fold0-seed2-1shot")
    assert decoder_tables.ablation_table(table)[1][-1] == [f"{table['command']} --only qgnet-other-fold", *["not run"] * 3]
    networks = {read_json(path)["digests"]["weights"] for path in out.glob("qgnet-random-*/result.json")}
    assert len(networks) == 2 and len(list(out.glob("random-*"))) == 1          # two decoders, one random extractor


def test_the_blind_decoder_never_sees_the_support(small, tmp_path):
    model, _ = decoders.trained("ablation_voc", decoders.Run("blind", 0, guided=False), tmp_path / "ablation_voc")
    query, supports, masks = torch.rand(1, 3, 40, 40), torch.rand(2, 1, 1, 1, 3, 40, 40), torch.zeros(2, 1, 1, 1, 40, 40, dtype=torch.uint8)
    masks[0, ..., 10:30, 10:30], truth = 1, torch.zeros(1, 40, 40, dtype=torch.long)
    with torch.no_grad():
        one, other = (model.eval()(EpisodeBatch(mask, truth, support, query)).logits for support, mask in zip(supports, masks))
    assert torch.equal(one, other) and one.std() > 0


def test_runs_of_the_vgg_study():
    rows = decoders.runs("qgnet_vgg")
    assert len(rows) == len({row.name for row in rows}) == 16 and {row.fold for row in rows} == {0, 1, 2, 3}
    assert {row.projection for row in rows if row.model == "qgnet"} == {"learned"}     # lite0's maps beside VGG's


def test_the_studies_for_a_gpu(small, tmp_path, monkeypatch):
    """VGG-16 with an extractor of its own, at two sizes, without a bank; a study without one runs and keeps none."""
    for size in (321, 473):
        settings, rows = decoders.SETTINGS[f"qgnet_vgg{size}"], decoders.runs(f"qgnet_vgg{size}")
        assert settings.size == settings.training.size == size and not settings.bank and len({row.name for row in rows}) == 16
        assert {row.extractor for row in rows if row.model == "qgnet"} == {"vgg"} and settings.extractor_backbone is None
    assert [run.name for run in contrast.runs("contrast_vgg")][1] == decoders.EXTRACTORS["vgg"].name
    monkeypatch.setitem(decoders.SETTINGS, "qgnet_voc", dataclasses.replace(decoders.SETTINGS["qgnet_voc"], bank=False))
    monkeypatch.setattr(decoders, "ModelBank", None)
    assert decoders.perform("qgnet_voc", small[-1], tmp_path / "qgnet_voc") is None
    assert 0 <= read_json(tmp_path / "qgnet_voc" / small[-1].name / "result.json")["miou"] <= 100


def test_the_study_of_blind_decoders(small, tmp_path, monkeypatch):
    """PFENet against the same decoder without sight of the support, on every fold, and no other system."""
    monkeypatch.setitem(decoders.SETTINGS, "blind_voc", dataclasses.replace(
        decoders.SETTINGS["qgnet_voc"], panet="", models=("pfenet", "blind"), seeds={fold: (0,) for fold in range(4)}))
    table = read_json(studies.run_study("blind_voc", tmp_path / "runs", tmp_path))
    assert len(table["rows"]) == 16 and not table["not_run"]
    assert [row[0] for row in decoder_tables.systems_table(table)[1]] == [
        f"{label}, {shots}-shot" for shots in (1, 5) for label in ("PFENet", "blind to the support")]
    header, rows = decoder_tables.differences_table(table)
    assert [row[0] for row in rows] == [f"PFENet - blind to the support, {shots}-shot" for shots in (1, 5)]
    assert not any("not run" in row for row in rows) and "blind to the support" in results.as_text(table)


def test_a_fold_may_have_a_recipe_of_its_own(small, tmp_path, monkeypatch):
    settings = dataclasses.replace(decoders.SETTINGS["qgnet_voc"], recipe=("wide", "faster", "shares", "shares"))
    monkeypatch.setitem(decoders.SETTINGS, "chosen_voc", settings)
    made = [decoders.trained("chosen_voc", decoders.Run("pfenet", fold), tmp_path / "chosen_voc") for fold in range(3)]
    assert [model.reduce_query[0].out_channels for model, _ in made] == [128, 64, 6]
    assert [next(row["lr"] for row in log if "lr" in row) for _, log in made] == [0.002, 0.004, 0.002]


def test_the_choice_of_a_fold_by_hand():
    """The highest step; a neighbour only where the interval of its gain leaves out 0; nothing without all rows."""
    found = {choices.Run(name, fold): {"miou": 40 + at} for fold in (0, 1, 2) for at, name in enumerate(choices.STEPS_TO_RECIPE)}
    found |= {choices.Run(name, fold): {"miou": 46} for fold in (0, 1, 2) for name in choices.NEIGHBOURS}
    found[choices.Run("adamw", 1)] = {"miou": 50}
    gains = [{"fold": fold, "choice": name, "difference": gain, "interval": [low, 2]}
             for fold in (0, 1) for name, gain, low in (("slower", 1.5, -0.1), ("faster", 0.5, 0.1), ("wide", 0.8, 0.2))]
    assert choices._chosen(found, gains) == ["wide", "adamw", "shares", None]


def test_what_the_stored_study_says_of_the_recipe(request):
    """The recipe is the highest step on every fold; the study of what its neighbours improve takes just these."""
    table = read_json(request.config.rootpath / STORED / "choices_voc.json")
    assert not table["not_run"]
    for fold in range(4):
        scores = {row["choice"]: row["miou"] for row in table["rows"] if row["fold"] == fold}
        assert max(choices.STEPS_TO_RECIPE, key=scores.get) == "shares"
    assert tuple(table["chosen"]) == decoders.SETTINGS["chosen_voc"].recipe
    recipe, settings = choices.RECIPE, decoders.SETTINGS["qgnet_voc"]
    assert recipe.optimizer == {name: getattr(settings.training, name) for name in ("optimizer", "lr", "weight_decay")}
    assert (recipe.foreground_weight, recipe.drop_novel, recipe.width) == (
        decoders.FOREGROUND_WEIGHT, settings.drop_novel, settings.width)


def test_the_main_table_is_whole_and_fair(request):
    """All systems, folds, shots and seeds; every row of a fold on the same episodes; the means are those of its rows."""
    table = read_json(request.config.rootpath / STORED / "chosen_voc.json")
    assert not table["not_run"] and {row["name"] for row in table["rows"]} == {run.name for run in decoders.runs("chosen_voc")}
    lists = {(row["fold"], row["shots"], row["episodes"], row["episodes_digest"]) for row in table["rows"]}
    assert len(lists) == 8 and {episodes for _, _, episodes, _ in lists} == {1000}
    assert {row["training_steps"] for row in table["rows"] if row["model"] in ("qgnet", "pfenet")} == {500}
    for mean in table["means"]:
        rows = [row for row in table["rows"] if (row["model"], row["shots"]) == (mean["model"], mean["shots"])]
        folds = [np.mean([row["miou"] for row in rows if row["fold"] == fold]) for fold in range(4)]
        assert abs(mean["miou"] - (np.mean(folds) if mean["fold"] < 0 else folds[mean["fold"]])) < 0.02


def test_the_chosen_extractors_have_the_highest_probe_on_base_classes(request):
    """The rule that Settings states, on the stored probes."""
    table = read_json(request.config.rootpath / STORED / "contrast_voc.json")
    names = {(run.loss, run.patches): name for name, run in decoders.EXTRACTORS.items() if not run.half}
    rows = [row for row in table["rows"] if row["batch_norm"] == "eval" and row["loss"] != "none"]
    best = [names[max(rows, key=lambda row: row["base"][fold]).get("loss"),
                  max(rows, key=lambda row: row["base"][fold])["patches"]] for fold in range(4)]
    assert tuple(best) == decoders.SETTINGS["qgnet_voc"].extractor


def test_the_choice_of_the_recipe_sees_base_classes_alone(tmp_path, monkeypatch, toy):
    """Learned, tested and decided-for folds never meet; a test image is never a training image."""
    for fold, (learned, tested) in choices.LEARNED_TESTED.items():
        assert len({fold, tested, *learned}) == 4
    training, test = choices.halves(toy, (1, 2))
    shows = {i for i in range(len(toy)) if set(np.unique(toy.mask(i))) & {1, 2}}
    assert set(test) <= shows and set(training) | set(test) == set(range(len(toy))) and not set(training) & set(test)
    seen = []

    def fit(model, dataset, classes, config, out, images, novel, **_):
        seen.append((config.optimizer, tuple(classes), tuple(novel), float(model.class_weight[1])))
        torch.save({}, (out.mkdir(parents=True), out / "checkpoint.pt")[1])
    monkeypatch.setattr(choices, "fit", fit)
    monkeypatch.setattr(choices, "load_checkpoint", lambda path, *_: {"step": choices.STEPS})
    monkeypatch.setattr(choices, "fill", lambda *_: None)
    for name, value in dict(BACKBONE="tiny", SIZE=40, EPISODES=4).items():
        monkeypatch.setattr(choices, name, value)
    monkeypatch.setattr(choices, "open_dataset", lambda name, split: toy)
    monkeypatch.setattr(choices, "novel_classes", lambda name, fold: (1, 2) if fold % 2 else (3, 4))
    monkeypatch.setattr(choices, "halves", lambda dataset, classes: (np.arange(len(dataset)),) * 2)
    monkeypatch.setattr(panet, "default_weights", lambda _: None)
    table = read_json(studies.run_study("choices_voc", tmp_path / "runs", tmp_path))
    assert len(table["rows"]) == 40 and len(seen) == 20              # two folds share a training
    assert seen[0][0] == "sgd" and seen[0][2] == () and seen[2][2] and seen[-1][0] == "adamw" and seen[-1][3] == 2.0
    against = {d["choice"]: d["against"] for d in table["differences"]}
    assert against["shares"] == "centred" and {against[name] for name in choices.NEIGHBOURS} == {"shares"}
    header, rows = decoder_tables.choices_table(table)
    assert len(rows) == 10 and "(+0.0: +0.0 to +0.0)" in rows[1][1] and "SGD" in results.as_text(table)


def test_the_study_of_maps(small, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "runs", lambda _: [maps.Run("random"), maps.Run("global")])
    table = read_json(studies.run_study("maps_voc", tmp_path / "runs", tmp_path))
    assert [(row["map"], row["extractor"]) for row in table["rows"]] == [
        ("guided", "random"), ("prior", "random"), ("1 - prior", "random"), ("prior", "global"), ("1 - prior", "global")]
    prior, opposite = table["rows"][1:3]
    assert prior["inside"][0] + opposite["inside"][0] == pytest.approx(100, abs=0.02)
    assert prior["gap"][0] == pytest.approx(-opposite["gap"][0], abs=0.02)
    assert all(a[0] >= b[0] for a, b in zip(prior["recall"], prior["recall"][1:]))          # a higher threshold finds less
    assert "paper, Table 7" in results.as_text(table) and "guided" in results.as_text(table)


def test_panets_rows_come_from_its_own_study(tmp_path, monkeypatch):
    made = []

    def perform(study, row, out):
        made.append((study, row.training, row.shots))
        (out / row.name).mkdir(parents=True)
        (out / row.name / "result.json").write_text("{}")
    monkeypatch.setattr(panet, "perform", perform)
    for _ in range(2):                       # the second time it is there
        decoders.perform("qgnet_voc", decoders.Run("panet-par", 1, 5), tmp_path / "qgnet_voc")
    assert made == [("panet_voc", "par", 5)] and (tmp_path / "qgnet_voc" / "panet-par-fold1-seed0-5shot" / "result.json").exists()


def test_a_missing_extractor_is_pretrained_and_kept(tmp_path, monkeypatch, toy):
    monkeypatch.setattr(contrast, "open_dataset", lambda name, split: toy)
    monkeypatch.setattr(contrast, "base_classes", lambda name, fold: (1, 2))
    monkeypatch.setattr(contrast, "build_backbone", lambda name, weights, stride, norm: build_backbone("tiny", None, stride, norm))
    monkeypatch.setitem(contrast.SETTINGS, "contrast_voc", ("toy", PretrainConfig(
        epochs=1, batch=4, size=32, patch_size=32, queue=8, dim=8, sub_batches=2, held_out=0.3, probe_every=0, precision="32")))
    path = decoders.extractor("contrast_voc", "global", tmp_path)
    assert path.exists() and "global-slic-frozenbn" in str(path)
    changed = path.stat().st_mtime_ns
    assert decoders.extractor("contrast_voc", "global", tmp_path).stat().st_mtime_ns == changed
    assert decoders.extractor("contrast_voc", "random", tmp_path) is None


def test_gap_cells_by_hand():
    assert decoder_tables._gap({"difference": 1.23, "interval": [-0.5, 3.0], "seeds": [1.0, 1.46]}) == "+1.2 (-0.5 to +3.0) [+1.0 +1.5]"
    assert decoder_tables._cell({"miou": 40.0, "interval": [38.0, 43.0], "seeds": {"0": 40.0}}) == "40.0 ± 2.5"
    assert json.dumps(decoder_tables.PUBLISHED)
