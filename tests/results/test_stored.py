"""The committed tables: whole by their schema, every old value kept, their files one with their JSON, their claims borne out."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from fsslib.grid import NAMES, load_table
from fsslib.results import displays, open_table, published, write_table

FOLDER = Path(__file__).parents[2] / "figures" / "results"
STORED = [name for name in NAMES if (FOLDER / f"{name}.json").exists()]
BEFORE = json.loads(gzip.decompress((Path(__file__).parent / "tables_before_the_grid.json.gz").read_bytes()))


def test_nothing_else_lies_there():
    others = {"bench_episodes", "bench_paper", "reproduce_demo"}
    assert {path.stem for path in FOLDER.glob("*.json")} == {*STORED, *others}
    assert {*BEFORE} <= {*STORED} and len(BEFORE) == 12


@pytest.mark.parametrize("name", STORED)
def test_a_table_and_its_files(name, tmp_path):
    """Checked by its schema; its rows are rows of the grid, their commands too; Markdown, CSV and HTML follow from it."""
    table = open_table(name)
    grid = load_table(name)
    jobs = {row.key: [job.line("runs/grid") for job in grid.job(row).chain()] for row in grid.rows}
    keys = [(row.get("row", row["label"]), row["fold"], row["seed"]) for row in table["rows"]]
    assert {*keys} <= {*jobs} and all(row["commands"] == jobs[key] for row, key in zip(table["rows"], keys))
    assert table["missing"] == [row.name for row in grid.rows if row.key not in keys]
    assert table["shows"] == grid.shows and table["title"] == grid.title
    write_table(table, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name
    assert all(len(line) == len(header) for _, header, lines in displays(table) for line in lines)


def contains(entry, record):
    return all(key in entry and entry[key] == value for key, value in record.items())


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_every_value_from_before_the_grid_is_there(name):
    """Each record of the former file is part of one record of the table; its settings stand among the settings."""
    old, new = BEFORE[name], open_table(name)
    for part in ("rows", "means", "differences", "curves"):
        entries = list(new[part])
        for record in old.get(part, []):
            found = next((entry for entry in entries if contains(entry, record)), None)
            assert found is not None, (part, record)
            entries.remove(found)
        assert not entries, f"{part}: more than before"
    moved = ("training", "choices", "chosen", "thresholds", "episodes", "steps", "dataset", "episodes_digest")
    assert contains(new["settings"], old.get("settings", {}) | {key: old[key] for key in moved if key in old})
    assert (new["versions"], new["hardware"], new["command"]) == (old["versions"], old["hardware"], old["command"])


def test_published_means_follow_from_their_folds():
    """All but the one that the paper prints otherwise, which says so; every row has a source and a place."""
    for table in "1234567":
        for row in published(table):
            assert row["source"] and row["place"].startswith(f"Table {table}")
            if "folds" in row:
                assert abs(np.mean(row["folds"]) - row["mean"]) < (0.08 if "printed" not in row else 0.2), row      # some are cut, not rounded
    assert published("1", method="QGNet", backbone="VGG-16", size=321, shots=1)[0]["mean"] == 55.0


def test_the_main_table_is_whole_and_fair():
    """All systems, folds, shots and seeds; every row of a fold on the same episodes; the means are those of its rows."""
    table = open_table("chosen_voc")
    assert not table["missing"] and len(table["rows"]) == 56
    lists = {(row["fold"], row["shots"], row["episodes"], row["episodes_digest"]) for row in table["rows"]}
    assert len(lists) == 8 and {episodes for _, _, episodes, _ in lists} == {1000}
    assert {row["training_steps"] for row in table["rows"] if row["model"] in ("qgnet", "pfenet")} == {500}
    for mean in table["means"]:
        rows = [row for row in table["rows"] if row["label"] == mean["label"]]
        folds = [np.mean([row["miou"] for row in rows if row["fold"] == fold]) for fold in range(4)]
        assert abs(mean["miou"] - (np.mean(folds) if mean["fold"] < 0 else folds[mean["fold"]])) < 0.02


def test_what_the_choices_on_base_classes_lead_to():
    """The rule told in choices_voc.yaml, on its stored numbers, gives the settings of chosen_voc."""
    choices, chosen = open_table("choices_voc"), load_table("chosen_voc")
    steps, neighbours = choices["labels"][:6], choices["labels"][6:]
    settings = {"recipe with width 128": (128, 0.002), "recipe with twice the learning rate": (64, 0.004), steps[-1]: (64, 0.002)}
    for fold in range(4):
        score = {row["label"]: row["miou"] for row in choices["rows"] if row["fold"] == fold}
        best = max(steps, key=score.get)
        assert best == steps[-1]
        better = {d["label"]: d["difference"] for d in choices["differences"]
                  if d["fold"] == fold and d["label"] in neighbours and d["interval"][0] > 0}
        taken = settings[max(better, key=better.get, default=best)]
        rows = [row for row in chosen.rows if row.fold == fold and row.model in ("qgnet", "pfenet")]
        assert {(row.options["width"], row.training["lr"]) for row in rows} == {taken}


def test_the_chosen_extractors_have_the_highest_probe_on_base_classes():
    """Of the contrastive extractors with frozen batch norm; the main table's QGNet takes it, fold by fold."""
    probes, chosen = open_table("contrast_voc"), load_table("chosen_voc")
    rows = [row for row in probes["rows"] if "frozen" in row["label"]]
    for fold in range(4):
        best = max(rows, key=lambda row: row["base"][fold])
        taken = {(row.extractor["loss"], row.extractor.get("patches", "slic")) for row in chosen.rows
                 if row.fold == fold and row.model == "qgnet"}
        assert taken == {(best["loss"], best["patches"])}
