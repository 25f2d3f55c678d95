"""The README's numbers come from stored results, its links lead somewhere, and notebook 08 leaves no stored table out."""

import json
import re
from pathlib import Path

from fsslib.grid import NAMES
from fsslib.results import displays, open_table, to_markdown

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "figures" / "results"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((REPOSITORY / "notebooks" / "08_results.ipynb").read_text(encoding="utf-8"))["cells"]
PROSE, CODE = ("\n".join("".join(cell["source"]) for cell in RESULTS if cell["cell_type"] == kind) for kind in ("markdown", "code"))
SCORE, CHANGE = r"\d+\.\d ± \d+\.\d(?: \(\d\))?", r"[+-]\d+\.\d[\w ]*\([+-]\d+\.\d to [+-]\d+\.\d\)"
STORED = [name for name in NAMES if (FOLDER / f"{name}.json").exists()]


def stored(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def cells(*names):
    return {cell for name in names for _, _, lines in displays(open_table(name)) for line in lines for cell in line}


def found(pattern, texts):
    return {match for text in texts for match in re.findall(pattern, text)}


def test_the_main_table_is_the_stored_one():
    """Its lines are those of chosen_voc and no others, word for word: one shot first, then five."""
    (_, header, lines), *_ = displays(open_table("chosen_voc"))
    said = [line for line in README.splitlines() if re.search(SCORE, line) and line.startswith("|")]
    assert said == to_markdown(header, sorted(lines, key=lambda line: "5-shot" in line[0])).splitlines()[2:]


def test_every_score_and_difference_stands_in_a_result_file():
    known = cells("chosen_voc", "blind_voc", "blind_shapes", "support_voc")
    assert found(SCORE, [README]) <= found(SCORE, known)
    said = {re.sub(r"[a-z][\w ]*\(", "(", change) for change in found(CHANGE, [README])}         # "-0.1 points at one shot (-0.2 ..."
    differences = {cell.split(" [")[0] for cell in known}
    assert len(said) == 2 and said <= differences, said - differences
    (gaps,) = [lines for caption, _, lines in displays(open_table("chosen_voc")) if "paired" in caption]
    assert said == {line[-1] for line in gaps if line[0].startswith("QGNet - PFENet")}


def test_the_results_notebook_shows_every_stored_table():
    """By name, in its code; scores that its prose repeats stand in one of them."""
    assert {name for name in STORED if f'"{name}"' not in CODE} == set()
    assert found(SCORE, [PROSE.replace("`49.9 ± 1.2`", "")]) <= found(SCORE, cells(*STORED))
    assert found(SCORE, ["`49.9 ± 1.2`"]) <= found(SCORE, cells("chosen_voc"))


def test_the_speeds_are_the_measured_ones():
    five = next(row for row in stored("bench_episodes")["test"] if row["shots"] == 5)
    step = next(row["seconds_per_step"] for row in stored("bench_paper")["training"] if not row["bank"])
    for said in (f"take {five['seconds_bank']:.0f} s", f"{five['times_faster']:.1f} times faster"):
        assert said in README, said
    assert five["identical"] and "equal to the last bit" in README
    assert round(200 * 5953 // 4 * step / 3600 / 24 / 30) == 2 and "about two months" in README    # epochs x images / batch


def test_minutes_of_the_demo():
    measured = stored("reproduce_demo")["notebooks"]
    (said,) = re.findall(r"Measured on 2 CPU cores: (\d+\.\d)", README)
    assert abs(float(said) - sum(n["seconds"] for n in measured.values()) / 60) < 0.06


def test_the_notebooks_are_listed():
    """Those that are there as ready, with a link; the others of the walk as not in this version."""
    rows = re.findall(r"^\| (?:\[)?(\d\d_\w+)(\]\(notebooks/\1\.ipynb\))? \|.*\| ([^|]+) \|$", README, re.M)
    ready = [name for name, link, state in rows if link and state == "ready"]
    assert ready == sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb"))
    assert [name[:2] for name, _, _ in rows] == [f"{n:02d}" for n in range(10)]
    assert all(state == "not in this version" for _, link, state in rows if not link)


def test_links_and_pictures_exist_and_it_is_short():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    assert "@@" not in README + PROSE and len(README.splitlines()) <= 180
