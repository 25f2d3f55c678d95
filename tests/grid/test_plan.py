"""Tables as data, their jobs, what a plan says of them, stored rows, folders of other machines."""

import json

import pytest
from click.testing import CliRunner
from conftest import call

from fsslib import cli
from fsslib.basics import InputError
from fsslib.basics.commands import job_digest
from fsslib.basics.config import parse_options
from fsslib.cli.options import about, class_ids, given
from fsslib.episodes import base_classes, novel_classes
from fsslib.grid import NAMES, Row, collect, load_table
from fsslib.grid import jobs as jobs_module
from fsslib.grid import merge, plan, run
from fsslib.grid.cost import Rates, features, units
from fsslib.models import model_class
from fsslib.results import check_table
from fsslib.results.schema import FOLDER


@pytest.fixture(autouse=True)
def known_data(monkeypatch):
    """Every data set is here, and its digest is its name."""
    monkeypatch.setattr(jobs_module, "dataset_digest", lambda name, split: f"{name} {split}")


def context_of(job, out="runs/grid"):
    words = [word for pair in job.pairs(out) for word in pair]
    return cli.cli.commands[job.command].make_context(job.command, words)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_commands_that_can_be_typed(name):
    """The command line takes each, with options that the model has; it gives back what was given."""
    table = load_table(name)
    assert len({row.key for row in table.rows}) == len(table.rows) > 1 and table.shows.endswith(".")
    for job in {job.folder: job for row in table.rows for job in table.job(row).chain()}.values():
        context = context_of(job)
        assert sorted(given(context)) == sorted(job.pairs("runs/grid"))
        if job.command in ("train", "evaluate"):
            parse_options(context.params["options"], model_class(context.params["model"]).OPTIONS)
        assert job.line("runs/grid").startswith(f"fsslib {job.command} ")


def test_a_row_and_a_result_have_one_digest(tmp_path, monkeypatch):
    """What the command line writes into a result is what the grid expects, files by their content."""
    monkeypatch.chdir(tmp_path)
    row = next(row for row in load_table("chosen_voc").rows if row.model == "qgnet")
    last = load_table("chosen_voc").job(row)
    for job in last.chain():
        for need, file in job.needs.values():
            path = tmp_path / "runs" / need.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(need.folder)
        told = about(context_of(job, "runs"), job.data[0] + " " + job.data[1])
        folder = tmp_path / "runs" / job.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps({"command": told["command"], "digests": {"job": told["job"]}}))
        assert job.up_to_date("runs")
    path.write_text("another checkpoint")
    assert not last.up_to_date("runs") and last.chain()[0].up_to_date("runs")
    path.unlink()                                                            # cleared away: the command alone decides
    assert last.up_to_date("runs")


def test_the_choice_of_the_recipe_sees_base_classes_alone():
    """Learned, tested and decided-for folds never meet; what is tested was left out of the training."""
    table = load_table("choices_voc")
    for row in table.rows:
        learned, tested = class_ids(row.training["classes"]), class_ids(row.testing["classes"])
        assert set(learned) < set(base_classes("voc", row.fold)) and not set(learned) & set(tested)
        assert not {*learned, *tested} & set(novel_classes("voc", row.fold)) and len(learned) == 10
        assert row.training["images"] == "learned" and row.testing["images"] == "held-out" and row.testing["split"] == "train"
    trainings = {job.folder for row in table.rows for job in table.job(row).chain() if job.command == "train"}
    assert len(trainings) == 20                                              # two folds share one


def test_tables_share_their_jobs():
    """The extractor of one table is that of another; fold 3 of the main table is the common recipe's."""
    folders = {name: {row.key: load_table(name).job(row).folder for row in load_table(name).rows}
               for name in ("chosen_voc", "qgnet_voc", "contrast_voc", "blind_voc")}
    chain = load_table("chosen_voc").job(load_table("chosen_voc").rows[0]).chain()
    assert chain[0].folder == folders["contrast_voc"]["imagenet start, both, felzenszwalb, frozen batch norm", 0, 0]
    key = ("PFENet, 1-shot", 3, 0)
    assert folders["chosen_voc"][key] == folders["qgnet_voc"][key] == folders["blind_voc"][key]
    assert folders["chosen_voc"]["PFENet, 1-shot", 0, 0] != folders["blind_voc"]["PFENet, 1-shot", 0, 0]


MINE = """
title: mine
shows: that it works.
kind: segmentation
defaults: {dataset: shapes, model: panet, backbone: tiny, weights: none, size: 64, episodes: 6}
rows:
  - {label: "{shots}-shot", each: {shots: [1, 5], fold: [0, 1]}}
  - {label: fewer, episodes: 3}
differences: [[5-shot, 1-shot]]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    return load_table("mine.yaml")


def test_a_block_stands_for_all_combinations(mine):
    assert [(row.label, row.fold, row.shots) for row in mine.rows] == [
        ("1-shot", 0, 1), ("1-shot", 1, 1), ("5-shot", 0, 5), ("5-shot", 1, 5), ("fewer", 0, 1)]
    assert mine.settings == {"episodes": 6} and mine.labels == ["1-shot", "5-shot", "fewer"]


@pytest.mark.parametrize("change, word", [
    (("fold: [0, 1]", "fold: [0, 0]"), "the row '1-shot, fold 0, seed 0' twice"),
    (("episodes: 3", "episode: 3"), "unknown key 'episode'"), (("[[5-shot, 1-shot]]", "[[5-shot, 2-shot]]"), "the difference"),
    (("episodes: 3", "training: best"), "block 2: found the unknown name 'best'"), (("kind: segmentation", "kind: masks"), "kind"),
    (("episodes: 3", "size: large"), "block 2: size"), (("episodes: 3", "seed: 1"), "seed 1 of a row without training"),
    (("episodes: 3", "each: [1]"), "each"), (("episodes: 3", "each: {shots: 1}"), "each"), (("label: fewer", "label: '{shot}'"), "label"),
    (("episodes: 3", "testing: {out: x}"), "the option 'out'"), (("episodes: 3", "extractor: 5"), "block 2: found 5"),
    (("episodes: 3", "training: {like: best}"), "like: best"), (("[[5-shot, 1-shot]]", "[[5-shot, fewer]]"), "lines on other episodes"),
    (("differences", "published: [{tabel: '5'}]\ndifferences"), "published"), (("differences", "published: [{table: 99}]\ndifferences"), "published")])
def test_bad_data_is_refused(tmp_path, change, word):
    (tmp_path / "bad.yaml").write_text(MINE.replace(*change))
    with pytest.raises(InputError, match=word):
        load_table(tmp_path / "bad.yaml")


def finish(table, rows, out="runs/grid", miou=40.0):
    """Writes the results of ``rows`` as ``fsslib evaluate`` would: two query images with known counts."""
    for row in rows:
        job = table.job(row)
        path = jobs_module.Path(out) / job.folder / "result.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        told = about(context_of(job, out), "{} {}".format(*job.data))
        hit = int(miou)
        scores = {"classes": [1], "absent": "counted", "rows": [[q, [1], [hit], [100], [50, 100], [hit, 100]] for q in "ab"]}
        path.write_text(json.dumps({
            "command": told["command"], "digests": {"job": told["job"], "episodes": "e"}, "hardware": "CPU", "versions": {},
            "config": {"episodes": row.episodes, "backbone": "tiny", "model": "panet"}, "miou": miou, "fb_iou": 60.0, "seconds": 1.0,
            "intervals": {"miou": [miou, miou], "fb_iou": [1, 2]}, "per_class": {"1": miou}, "scores": scores}))


def planned(table, **options):
    return plan.make_plan(table, "runs/grid", "tables", **options)


def states(found):
    return [found.states[row] for row in found.table.rows]


def test_done_waiting_and_to_run(mine):
    finish(mine, mine.rows[:1])
    assert states(planned(mine)) == ["done", *["to run"] * 4] and len(planned(mine).jobs) == 4
    assert states(planned(mine, only="5-shot, fold 1")) == ["done", "waiting", "waiting", "to run", "waiting"]
    assert "5 rows: 1 done, 4 to run" in planned(mine).text(2) and "hours of computing" in planned(mine).text(2)


def stored(mine, rows):
    """A committed table with these rows, whose results lie nowhere here."""
    finish(mine, rows)
    table = collect.collect(planned(mine), "runs/grid", "tables", "fsslib results run mine.yaml")
    for path in jobs_module.Path("runs").rglob("result.json"):
        path.unlink()
    jobs_module.Path("tables").mkdir(exist_ok=True)
    jobs_module.Path("tables/mine.json").write_text(json.dumps(table))
    return check_table(table)


def test_stored_rows_are_kept_and_not_repeated(mine):
    before = stored(mine, mine.rows[:2])
    assert states(planned(mine)) == ["stored", "stored", *["to run"] * 3]
    assert states(planned(mine, again=True)) == ["to run"] * 5
    finish(mine, mine.rows[4:])
    after = collect.collect(planned(mine), "runs/grid", "tables", "c")
    assert after["rows"][:2] == before["rows"] and [row["label"] for row in after["rows"]] == ["1-shot", "1-shot", "fewer"]
    assert after["means"][:2] == before["means"] and after["missing"] == ["5-shot, fold 0, seed 0", "5-shot, fold 1, seed 0"]


def test_a_stored_row_whose_settings_changed_is_to_run(mine):
    """Its old number stands for nothing: while the row is not run it is missing."""
    stored(mine, mine.rows[:1])
    jobs_module.Path("mine.yaml").write_text(MINE.replace("size: 64", "size: 72"))
    changed = planned(load_table("mine.yaml"))
    assert states(changed) == ["to run"] * 5
    table = collect.collect(changed, "runs/grid", "tables", "c")
    assert not table["rows"] and len(table["missing"]) == 5


def test_a_stale_result_is_never_stored(mine):
    """A result of other files lies here: the stored row is no stand-in, neither before nor after it is cleared away."""
    stored(mine, mine.rows[:1])
    finish(mine, mine.rows[:1])
    path = jobs_module.Path("runs/grid") / mine.job(mine.rows[0]).folder / "result.json"
    path.write_text(path.read_text().replace('"job": "', '"job": "0'))
    assert states(planned(mine))[0] == "to run"
    run._make_ready(path.parent, anew=False)
    assert not path.exists() and states(planned(mine))[0] == "to run"


def test_what_is_cleared_before_a_run(tmp_path):
    """A killed start is kept to be resumed, unless what it reads comes anew; a stale result takes its checkpoint with it."""
    for name, anew, kept in (("killed", False, True), ("anew", True, False), ("stale", False, False)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "checkpoint.pt").touch()
        if name == "stale":
            (folder / "result.json").touch()
        run._make_ready(folder, anew)
        assert (folder / "checkpoint.pt").exists() == kept and not (folder / "result.json").exists()


def test_a_pair_with_a_stored_row_needs_it_again(mine):
    """Its difference is never made of a stored score; the plan says so; with both here it is computed."""
    stored(mine, mine.rows[:2])
    found = planned(mine)
    assert found.unpaired() == [("5-shot", "1-shot")] and "needs both rows run here: add --again" in found.text(2)
    finish(mine, mine.rows[2:4], miou=50.0)
    assert collect.collect(planned(mine), "runs/grid", "tables", "c")["differences"] == []
    finish(mine, mine.rows[:2])
    (gap, _) = collect.collect(planned(mine), "runs/grid", "tables", "c")["differences"]
    assert (gap["label"], gap["minus"], gap["fold"], gap["difference"]) == ("5-shot", "1-shot", 0, 10.0)


def test_what_another_table_ran_changes_no_stored_line(mine):
    """One row of a stored pair of lines is here, with another score: lines that are compared are replaced all together."""
    before = stored(mine, mine.rows[:4])
    finish(mine, mine.rows[:1], miou=70.0)
    assert states(planned(mine))[:4] == ["done", "stored", "stored", "stored"]
    after = collect.collect(planned(mine), "runs/grid", "tables", "c")
    assert all(after[part] == before[part] for part in ("rows", "means", "differences"))
    finish(mine, mine.rows[1:4], miou=70.0)
    after = collect.collect(planned(mine), "runs/grid", "tables", "c")
    assert [row["miou"] for row in after["rows"]] == [70.0] * 4 and [m["miou"] for m in after["means"]] == [70.0] * 4


SEEDS = MINE.replace('each: {shots: [1, 5], fold: [0, 1]}', 'training: {steps: 2}, each: {seed: [0], shots: [1, 5]}')


def test_new_seeds_beside_a_stored_one_make_no_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SEEDS)
    table = load_table("mine.yaml")
    assert len(stored(table, table.rows[:2])["means"]) == 2
    (tmp_path / "mine.yaml").write_text(SEEDS.replace("seed: [0]", "seed: [0, 1]"))
    table = load_table("mine.yaml")
    finish(table, [row for row in table.rows if row.seed == 1], miou=70.0)
    after = collect.collect(planned(table), "runs/grid", "tables", "c")
    assert len(after["rows"]) == 4 and after["means"] == []


def test_seeds_that_wait_leave_the_mean_of_those_that_ran(tmp_path, monkeypatch):
    """And of the four folds, once each has a seed; a table without one of them has none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE.replace("each: {shots: [1, 5], fold: [0, 1]}", "training: {steps: 2}, "
                                                     "each: {seed: [0, 1], shots: [1, 5], fold: [0, 1, 2, 3]}"))
    table = load_table("mine.yaml")
    ran = [row for row in table.rows if row.label == "1-shot" and (row.seed == 0 or row.fold == 2)]
    finish(table, [row for row in ran if row.fold < 3])
    assert [m["fold"] for m in collect.collect(planned(table), "runs/grid", "tables", "c")["means"]] == [0, 1, 2]
    finish(table, [row for row in ran if row.fold == 3], miou=70.0)
    means = {m["fold"]: m for m in collect.collect(planned(table), "runs/grid", "tables", "c")["means"]}
    assert list(means) == [0, 1, 2, 3, -1] and means[-1]["miou"] == pytest.approx(sum(means[f]["miou"] for f in range(4)) / 4)
    assert [len(means[fold]["seeds"]) for fold in range(4)] == [1, 1, 2, 1] and means[3]["miou"] == 70


def test_stored_differences_are_copied(mine):
    before = stored(mine, mine.rows[:4])
    assert len(before["differences"]) == 2
    finish(mine, mine.rows[4:])
    assert collect.collect(planned(mine), "runs/grid", "tables", "c")["differences"] == before["differences"]


def test_a_table_never_loses_stored_rows(mine):
    stored(mine, mine.rows[:2])
    jobs_module.Path("mine.yaml").write_text(MINE.replace("fold: [0, 1]", "fold: [0]"))
    with pytest.raises(InputError, match="1 stored rows that the table no longer has"):
        planned(load_table("mine.yaml"))


def test_numbers_have_one_form_and_another_data_set_is_no_harm(mine, monkeypatch):
    assert job_digest("train", [["--lr", "1e-3"], ["--steps", "2"]], "d") == job_digest("train", [["--steps", "2"], ["--lr", "0.001"]], "d")
    assert job_digest("train", [["--lr", "1"]], "d") == job_digest("train", [["--lr", "1.0"]], "d") != job_digest("train", [["--lr", "2"]], "d")
    finish(mine, mine.rows[:1])

    def gone(name, split):
        raise InputError("shapes", "no such folder", "it", "Fetch it.")
    monkeypatch.setattr(jobs_module, "dataset_digest", gone)
    assert states(planned(mine)) == ["done", *["impossible here"] * 4]       # merged from elsewhere: judged by its command


def test_a_cluster_may_have_the_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    job = load_table("qgnet_vgg473").job(load_table("qgnet_vgg473").rows[0])
    assert job.impossible(elsewhere=False) == "no GPU here" and job.impossible(elsewhere=True) == ""


def test_what_cannot_run_here_says_why(mine, monkeypatch):
    def gone(name, split):
        raise InputError("voc", "no such folder", "it", "Fetch it.")
    monkeypatch.setattr(jobs_module, "dataset_digest", gone)
    found = planned(mine)
    assert set(states(found)) == {"impossible here"} and "1-shot, fold 0, seed 0: voc: no such folder" in found.text(2) and not found.jobs


def test_hours_come_from_what_was_measured(mine):
    """Seconds of a finished job and of a stored row, by what they did; larger pictures take longer by their pixels."""
    finish(mine, mine.rows[:1])
    folder = jobs_module.Path("runs/grid") / mine.job(mine.rows[0]).folder
    (folder / "seconds.tsv").write_text("s\th:m:s\n12.0\t0:00:12\n")
    rates = Rates("runs/grid", "tables")
    (rate,) = rates.known
    assert rate["seconds"] == 2.0                                            # 12 s for 6 episodes
    rate["size"] = 64
    assert rates.seconds(mine.job(mine.rows[1])) == pytest.approx(12.0)
    double = Row("x", model="panet", dataset="shapes", backbone="tiny", size=128, episodes=6)
    from fsslib.grid.rows import last_job
    assert rates.seconds(last_job(double, "segmentation")) == pytest.approx(48.0)
    assert units(mine.job(mine.rows[4])) == 3


def test_hours_of_a_support_test_and_of_a_control(mine):
    """Seconds are shared out over the episodes of the test, too; a control, which runs no network, is no measure for others."""
    with_support_test(mine, mine.rows[:1], 0.5)                              # 6 episodes, 2 crowded, 1 absent, 1 present, no draw wrong
    folder = jobs_module.Path("runs/grid") / mine.job(mine.rows[0]).folder
    (folder / "seconds.tsv").write_text("s\th:m:s\n20.0\t0:00:20\n")
    (rate,) = Rates("runs/grid", "tables").known
    assert rate["seconds"] == 2.0
    control = Row("x", control="outlined", dataset="shapes", episodes=500)
    from fsslib.grid.rows import last_job
    assert Rates("runs/grid", "tables").seconds(last_job(control, "segmentation")) < 1
    path = folder / "result.json"
    found = json.loads(path.read_text())
    del found["config"]["backbone"]
    path.write_text(json.dumps(found))
    assert Rates("runs/grid", "tables").known == []


def test_features_take_room_and_time(monkeypatch):
    """Two views of 100 training images: 472 channels of 29 x 29 in half precision, once for all seeds."""
    monkeypatch.setattr("fsslib.grid.cost._images", lambda name, split: 100)
    table = load_table("blind_voc")
    trains = [job for row in table.rows for job in table.job(row).chain() if job.command == "train"]
    gb, seconds = features(trains)
    assert gb == pytest.approx(100 * 472 * 29 ** 2 * 2 * 2 / 1e9) and seconds == pytest.approx(200 / 9, rel=0.05)


def test_folders_of_two_machines_are_joined(mine, monkeypatch, capsys):
    finish(mine, mine.rows[:2], "here")
    finish(mine, mine.rows[1:3], "there")
    assert merge.merge(["there"], "here") == 1 and merge.merge(["there"], "here") == 0
    assert len(list(jobs_module.Path("here").rglob("result.json"))) == 3
    finish(mine, mine.rows[1:2], "there", miou=41.0)
    with pytest.raises(InputError, match="found another outcome of evaluate/panet"):
        merge.merge(["there"], "here")
    jobs_module.Path("empty").mkdir()
    code, _, err = call(monkeypatch, capsys, "results", "merge", "empty")
    assert code == 2 and "no result.json two folders below it" in err


def test_the_commands_of_results(mine, monkeypatch):
    """list and show; run without a job to do writes the table; a no to the question starts nothing."""
    finish(mine, mine.rows)
    told = CliRunner().invoke(cli.cli, ["results", "run", "mine.yaml", "--results", "tables"])
    assert told.exit_code == 0 and "5 rows: 5 done" in told.output
    shown = CliRunner().invoke(cli.cli, ["results", "show", "mine", "--results", "tables"]).output
    assert "fewer   40.0 ± 0.0°" in shown and "5-shot - 1-shot" in shown     # three episodes where the table has six
    listed = CliRunner().invoke(cli.cli, ["results", "list", "--results", str(FOLDER)]).output
    assert "chosen_voc       56 of  56 rows" in listed and len(listed.splitlines()) == len(NAMES)
    for wrong, word in (("testing: {drop: 1}", "No such option"), ("episodes: 3, training: {steps: many}", "not a valid integer")):
        jobs_module.Path("mine.yaml").write_text(MINE.replace("episodes: 3", wrong))
        told = CliRunner().invoke(cli.cli, ["results", "run", "mine.yaml", "--results", "tables"])
        assert told.exit_code == 2 and word in told.output
    jobs_module.Path("mine.yaml").write_text(MINE.replace("size: 64", "size: 72"))
    told = CliRunner().invoke(cli.cli, ["results", "run", "mine.yaml", "--results", "other"], input="n\n")
    assert told.exit_code == 1 and "start?" in told.output and not list(jobs_module.Path("other").iterdir())


def with_support_test(table, rows, auc):
    """``finish`` with a support test beside the scores: two crowded queries, the second of a rarer class."""
    finish(table, rows)
    for row in rows:
        path = jobs_module.Path("runs/grid") / table.job(row).folder / "result.json"
        value = {name: auc for name in ("auc", "marked", "iou_asked", "iou_other", "auc_wrong", "unmoved")}
        found = {"crowded": [["a", 1, value], ["b", 2, {**value, "auc": auc + 0.1}]], "absent": [["c", 1, {"false_area": 0.1, "empty": 1.0}]],
                 "present": [["a", 1, {"lost": 0.0, "presence": 1.0}]]}
        summed = {kind: {"episodes": len(lines), "digest": kind, "images": {}} for kind, lines in found.items()}
        path.write_text(json.dumps({**json.loads(path.read_text()), "support_test": {**summed, "rows": found}}))


def test_the_support_test_is_pooled_beside_the_scores(mine):
    for fold, row in enumerate(mine.rows[:2]):
        with_support_test(mine, [row], 0.5 + fold / 10)
    with_support_test(mine, [mine.rows[2]], 0.8)
    table = check_table(collect.collect(planned(mine), "runs/grid", "tables", "c"))
    part = table["support"]["crowded AUC"]
    assert [(m["label"], m["fold"], m["miou"]) for m in part["means"]] == [("1-shot", 0, 55.0), ("1-shot", 1, 65.0), ("5-shot", 0, 85.0)]
    (gap,) = part["differences"]
    assert gap["difference"] == 30.0 and gap["interval"] == [30.0, 30.0]                     # paired: every resample agrees
    assert table["support"]["empty"]["means"][0]["miou"] == 100.0 and table["rows"][0]["support"]["crowded"]["episodes"] == 2
    jobs_module.Path("tables").mkdir()
    jobs_module.Path("tables/mine.json").write_text(json.dumps(table))
    for path in jobs_module.Path("runs").rglob("result.json"):
        path.unlink()
    again = collect.collect(planned(mine), "runs/grid", "tables", "c")                       # stored rows keep theirs
    assert again["support"] == table["support"]
    from fsslib.results import displays
    captions = [caption for caption, _, _ in displays(table)]
    assert captions[2:] == ["the support test, %", "crowded AUC: paired differences in points", "empty: paired differences in points"]
