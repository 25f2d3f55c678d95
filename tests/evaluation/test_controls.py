"""Controls, against loops over the masks."""

import numpy as np
import pytest
from test_evaluation import CLASSES, Constant, drawn, run

from fsslib.basics.errors import InputError
from fsslib.evaluation.controls import evaluate_control


def test_everything_is_what_a_constant_model_scores(toy):
    result = evaluate_control("everything", drawn(toy), CLASSES)
    assert result["per_class"] == run(Constant(), drawn(toy))["per_class"] and 0 < result["miou"] < 100
    assert result["scores"] == run(Constant(), drawn(toy))["scores"]


def test_outlined_by_hand(toy):
    episodes, found = drawn(toy), {c: [0, 0] for c in CLASSES}
    for episode in episodes:
        mask, c = toy.mask(episode.query), episode.class_ids[0]
        found[c][0] += (mask == c).sum()
        found[c][1] += ((mask > 0) & (mask < 255)).sum()
    expected = {c: 100 * inside / marked for c, (inside, marked) in found.items() if marked}
    result = evaluate_control("outlined", episodes, CLASSES, fold=2)
    assert result["config"]["fold"] == 2 and result["digests"]["episodes"] == episodes.digest
    assert {int(c): v for c, v in result["per_class"].items() if v is not None} == pytest.approx(expected, abs=0.006)
    assert abs(result["miou"] - np.mean(list(expected.values()))) < 0.006


@pytest.mark.parametrize("name, ways, protocol, message", [("nothing", 1, "pfenet", "expected one of everything, outlined"),
                                                           ("outlined", 2, "pfenet", "2-way"), ("everything", 1, "hsnet", "hsnet")])
def test_what_a_control_cannot_answer(toy, name, ways, protocol, message):
    with pytest.raises(InputError, match=message):
        evaluate_control(name, drawn(toy, protocol, ways), CLASSES, protocol)
