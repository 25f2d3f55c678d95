"""``fsslib bench training``: each combination is measured, told and kept as it finishes."""

import pytest
import torch
from click.testing import CliRunner

from fsslib.bench import training as training_bench
from fsslib.cli import cli
from fsslib.basics.storage import read_json


def test_rows_come_one_by_one_and_are_kept(tmp_path):
    out = tmp_path / "bench.json"
    told = CliRunner().invoke(cli, ["bench", "training", "--backbone", "tiny", "--size", "65", "--size", "33", "--option", "width=6",
                                    "--batch", "2", "--steps", "2", "--out", str(out)])
    assert told.exit_code == 0, told.output
    kept = read_json(out)
    assert {row["size"] for row in kept["rows"]} == {65, 33} and told.output.count("steps/s") == len(kept["rows"])
    for row in kept["rows"]:
        assert row["seconds_per_step"] > 0
        assert row["hours"] == pytest.approx(200 * 5953 / 2 * row["seconds_per_step"] / 3600, abs=0.06)
    assert kept["command"].startswith("fsslib bench training --backbone tiny --size 65 --size 33 --option width=6 --batch 2")


def test_a_wrong_option_is_refused():
    told = CliRunner().invoke(cli, ["bench", "training", "--backbone", "tiny", "--option", "wide=6"])
    assert told.exit_code and "wide" in str(told.exception)


def test_the_episodes_of_noise():
    """Objects of several sizes, none of them empty or the whole picture; the same for the same seed."""
    batch, again = (training_bench._episodes(3, 2, 50, seed=1) for _ in range(2))
    assert batch.support_images.shape == (3, 1, 2, 3, 50, 50) and batch.query_masks.shape == (3, 50, 50)
    shares = torch.cat([batch.support_masks.float().mean((1, 3, 4)).flatten(), batch.query_masks.float().mean((1, 2))])
    assert 0 < shares.min() < shares.max() < 1 and torch.equal(batch.query_images, again.query_images)
