"""README's numbers come from the stored results, and its links lead somewhere."""

import json
import re
from pathlib import Path

from fsslib.results.decoders import ablation_table, choices_table, systems_table
from fsslib.results.tables import contrast_table, fold_table, maps_table

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
KEYS = ("backbone", "training", "shots", "ways", "protocol", "annotation")


def stored(name):
    return json.loads((REPOSITORY / "figures" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_every_score_stands_in_a_result_file():
    cells = set()
    for table in map(stored, ("panet_voc", "panet_shapes")):
        settings = {tuple(row[k] for k in KEYS) for row in table["rows"]}
        for row in fold_table(table, [("", dict(zip(KEYS, values))) for values in settings])[1]:
            cells.update(row)
    tables = [contrast_table(stored("contrast_voc")), maps_table(stored("maps_voc")),
              *(systems_table(stored(name)) for name in (
                  "chosen_voc", "qgnet_voc", "qgnet_shapes", "qgnet_vgg", "qgnet_vgg321", "qgnet_vgg473", "blind_voc",
                  "blind_shapes")),
              ablation_table(stored("ablation_voc")), choices_table(stored("choices_voc"))]
    for _, rows in tables:
        for row in rows:
            cells.update(row)
    score = r"\d+\.\d ± \d+\.\d(?: \(\d\))?"
    said, measured = re.findall(score, README), {value for cell in cells for value in re.findall(score, cell)}
    assert len(said) > 20 and not set(said) - measured


def test_the_speeds_are_the_measured_ones():
    five = next(row for row in stored("bench_episodes")["test"] if row["shots"] == 5)
    step = next(row["seconds_per_step"] for row in stored("bench_paper")["training"] if not row["bank"])
    for said in (f"take {five['seconds_bank']:.0f} s", f"{five['times_faster']:.1f} times", f"filling takes {five['seconds_features']:.0f} s",
                 f"{200 * 5953 // 4 * step / 3600:.0f} hours"):
        assert said in README, said
    assert five["identical"]


def test_minutes_of_the_demo():
    measured = stored("reproduce_demo")["notebooks"]
    (said,) = re.findall(r"Measured on 2 CPU cores: (\d+\.\d)", README)
    assert abs(float(said) - sum(n["seconds"] for n in measured.values()) / 60) < 0.06


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    assert "@@" not in README
