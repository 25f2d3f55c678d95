"""Pooled scores against EpisodeScores by itself, and tables by hand."""

import csv
import json

import numpy as np
import pytest

from fsslib.basics import InputError
from fsslib.metrics import EpisodeScores, percentiles
from fsslib.results import as_text, check_table, displays, formats, tables, write_table
from fsslib.results.pooled import Pooled


def scores(seed, queries=12):
    """Episodes of two classes with known counts."""
    rng = np.random.default_rng(seed)
    found = EpisodeScores((1, 2))
    for q in range(queries):
        i, rest = int(rng.integers(10, 90)), int(rng.integers(1, 60))
        found.rows.append((f"q{q:02}", [1 + q % 2], [i], [i + rest], (50, 100), (i, i + rest)))
    return found


@pytest.fixture(scope="module")
def pooled():
    return Pooled({("A", fold, seed): scores(10 * fold + seed) for fold in range(4) for seed in ((0, 1) if fold == 0 else (0,))}
                  | {("B", fold, 0): scores(100 + fold) for fold in range(4)} | {("C", 1, 0): scores(7)})


def test_means(pooled):
    found = {(m["label"], m["fold"]): m for m in pooled.means()}
    seeds = [scores(0), scores(1)]
    assert found["A", 0]["miou"] == pytest.approx(100 * np.mean([s.miou() for s in seeds]), abs=0.006)
    assert found["A", 0]["seeds"] == {str(at): round(100 * s.miou(), 2) for at, s in enumerate(seeds)}
    assert found["A", 0]["interval"] == pytest.approx(
        [100 * v for v in percentiles(np.mean([s.resampled()[0] for s in seeds], 0))], abs=0.006)
    single = scores(103).intervals()["miou"]
    assert found["B", 3]["interval"] == pytest.approx([100 * v for v in single], abs=0.006)      # as its own result says
    over = np.mean([found["A", fold]["miou"] for fold in range(4)])
    assert found["A", -1]["miou"] == pytest.approx(over, abs=0.01) and ("C", -1) not in found
    low, high = found["B", -1]["interval"]
    assert low < found["B", -1]["miou"] < high
    assert high - low < min(np.diff(found["B", fold]["interval"])[0] for fold in range(4))       # four folds tell more than one


def test_differences(pooled):
    found = {(d["label"], d["minus"], d["fold"]): d for d in pooled.differences([("A", "B"), ("C", "B")])}
    gap, interval = scores(20).difference(scores(102), seed=2)               # fold 2, with its own draws
    assert found["A", "B", 2]["difference"] == pytest.approx(100 * gap, abs=0.006)
    assert found["A", "B", 2]["interval"] == pytest.approx([100 * v for v in interval], abs=0.006)
    assert found["A", "B", 0]["seeds"] == [round(100 * (scores(0).miou() - scores(100).miou()), 2)]
    assert ("C", "B", -1) not in found and len(found) == 6
    with pytest.raises(InputError, match="different episodes"):
        Pooled({("A", 0, 0): scores(0), ("B", 0, 0): scores(1, queries=9)}).differences([("A", "B")])


def table():
    """Two lines on four folds; B's fold 1 has fewer episodes, B's fold 3 waits."""
    def row(label, fold, miou, episodes=100, seed=0):
        return {"label": label, "fold": fold, "seed": seed, "miou": miou, "intervals": {"miou": [miou - 2, miou + 4]},
                "episodes": episodes, "commands": ["fsslib evaluate"]}
    rows = [row("A, 1-shot", fold, 10.0 * (fold + 1)) for fold in range(4)] + [row("A, 1-shot", 0, 12.0, seed=1)]
    rows += [row("B, 1-shot", fold, 20.0, 50 if fold == 1 else 100) for fold in range(3)]
    means = [{"label": "A, 1-shot", "fold": 0, "miou": 11.0, "interval": [9.0, 13.0], "seeds": {"0": 10.0, "1": 12.0}},
             {"label": "A, 1-shot", "fold": -1, "miou": 25.2, "interval": [24.0, 27.0], "seeds": {}}]
    gaps = [{"label": "A, 1-shot", "minus": "B, 1-shot", "fold": 0, "difference": -9.0, "interval": [-11.0, 0.4], "seeds": [-10.0, -8.0]}]
    return {"schema": 1, "table": "t", "title": "Title", "shows": "What it <shows>.", "kind": "segmentation", "command": "fsslib results run t",
            "settings": {"episodes": 100}, "labels": ["A, 1-shot", "B, 1-shot", "C, 1-shot"], "rows": rows, "means": means,
            "differences": gaps, "curves": [], "missing": ["B, fold 3, seed 0"],
            "published": [{"method": "QGNet", "backbone": "VGG-16", "size": 321, "shots": 1, "folds": [1.0, 2, 3, 4], "mean": 2.5}]}


def test_cells_by_hand():
    (_, header, lines), (_, _, gaps) = displays(table())
    assert header == ["mIoU %", "fold 0", "fold 1", "fold 2", "fold 3", "mean"]
    assert lines[0] == ["A, 1-shot", "11.0 ± 2.0 (2)", "20.0 ± 3.0", "30.0 ± 3.0", "40.0 ± 3.0", "25.2 ± 1.5"]
    assert lines[1] == ["B, 1-shot", "20.0 ± 3.0", "20.0 ± 3.0°", "20.0 ± 3.0", "-", "-"]         # fewer episodes are marked
    assert lines[2] == ["published: QGNet VGG-16 321, 1-shot", "1.0", "2.0", "3.0", "4.0", "2.5"]  # C, of which nothing is there, is left out
    assert gaps == [["A - B, 1-shot", "-9.0 (-11.0 to +0.4) [-10.0 -8.0]"]]                       # one fold, one column
    assert tables.scores(table(), ["C, 1-shot"], papers=False)[1] == [["C, 1-shot"]]


def test_the_forms_of_a_table(tmp_path):
    write_table(table(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"t.json", "t.md", "t.csv", "t.html"}
    assert json.loads((tmp_path / "t.json").read_text()) == table()
    rows = list(csv.reader((tmp_path / "t.csv").open(encoding="utf-8")))
    assert rows[1] == displays(table())[0][2][0] and rows[0][0] == "mIoU %"
    assert "| B, 1-shot | 20.0 ± 3.0 | 20.0 ± 3.0° |" in (tmp_path / "t.md").read_text(encoding="utf-8")
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == 6 and "What it &lt;shows&gt;." in page and "http" not in page
    text = as_text(table())
    assert "11.0 ± 2.0 (2)" in text and "waiting: B (1)" in text
    assert formats.to_markdown(["a|b"], [["c"]]).startswith("| a\\|b |")


@pytest.mark.parametrize("change, word", [
    (lambda t: t.pop("rows"), "'rows' missing"), (lambda t: t.update(schema=2), "no table of this version"),
    (lambda t: t.update(kind="odd"), "rows of kind 'odd'"), (lambda t: t["rows"][0].pop("miou"), "entry 0 of rows without 'miou'"),
    (lambda t: t["means"][0].pop("interval"), "entry 0 of means without 'interval'"),
    (lambda t: t["labels"].remove("A, 1-shot"), "the label 'A, 1-shot' in rows"),
    (lambda t: t.update(settings=[]), "'settings' of another type")])
def test_a_wrong_table_is_refused(change, word, tmp_path):
    wrong = table()
    change(wrong)
    with pytest.raises(InputError, match=word):
        check_table(wrong)
    with pytest.raises(InputError, match=word):
        write_table(wrong, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_single_result_and_what_is_none():
    assert "41.50 %" in as_text({"miou": 41.5, "fb_iou": 60.0, "intervals": {"miou": [40, 43]}})
    assert "never occurred" in as_text({"miou": None})
    for odd in (5, None, "miou", [1, 2], {"miou": 3}, {"something": 1}):
        with pytest.raises(InputError, match="odd.json: found neither"):
            as_text(odd, "odd.json")
