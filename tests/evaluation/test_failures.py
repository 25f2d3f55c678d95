"""Failure cases: shares counted by hand on masks of 4 x 4 pixels, and a whole run on small pictures."""

import numpy as np
import pytest

from fsslib.basics.errors import InputError
from fsslib.evaluation.failures import KINDS, case_of, cases, extreme
from fsslib.evaluation.masks import save_mask
from fsslib.evaluation.scoring import evaluate, protocol_episodes

MASK = np.array([[1, 1, 0, 0],
                 [1, 1, 0, 0],
                 [0, 0, 2, 2],
                 [0, 0, 255, 255]], np.uint8)            # class 1: 4 px, class 2: 2, background: 8, not counted: 2


def marks(*rows):
    return np.array([[int(v) for v in row] for row in rows], np.uint8)


@pytest.mark.parametrize("answer, iou, recall, other, ground, area, kind", [
    (marks("1100", "1000", "0000", "0000"), 3 / 4, 3 / 4, 0, 0, 3 / 4, "success"),
    (marks("1100", "0000", "0000", "0011"), 1 / 2, 1 / 2, 0, 0, 1 / 2, "success"),                  # 255 is left out
    (marks("0100", "0000", "0011", "0000"), 1 / 6, 1 / 4, 2 / 3, 0, 3 / 4, "took another object"),
    (marks("1011", "0011", "1111", "1111"), 1 / 14, 1 / 4, 2 / 11, 8 / 11, 11 / 4, "flooded the background"),
    (marks("0011", "0000", "0000", "0000"), 0, 0, 0, 1, 1 / 2, "missed"),                           # too small for a flood
    (marks("0000", "0000", "0000", "0000"), 0, 0, 0, 0, 0, "missed"),
    (marks("1000", "0000", "0000", "0000"), 1 / 4, 1 / 4, 0, 0, 1 / 4, "in between"),
])
def test_shares_and_kind_by_hand(answer, iou, recall, other, ground, area, kind):
    case = case_of(7, answer, MASK, 1)
    assert (case.iou, case.recall, case.other, case.ground, case.area) == pytest.approx((iou, recall, other, ground, area))
    assert case.kind == kind and case.number == 7


def test_the_furthest_of_a_kind_come_first():
    answers = [marks("0000", "0000", "0011", "0000"), marks("1000", "0000", "0011", "0000"), marks("1111", "1111", "0000", "0000")]
    found = [case_of(number, answer, MASK, 1) for number, answer in enumerate(answers)]
    assert [case.number for case in extreme(found, "took another object")] == [0, 1]               # all of it, two thirds of it
    assert [case.number for case in extreme(found, "took another object", count=1)] == [0]
    assert [case.number for case in extreme(found, "success")] == [2] and extreme(found, "missed") == []


def test_cases_of_a_run_agree_with_its_scores(toy, tiny_panet, tmp_path):
    episodes = protocol_episodes(toy, (1, 2, 3, 4), 1, episodes=6)
    result = evaluate(tiny_panet, episodes, (1, 2, 3, 4), bank=False, progress=False, masks=tmp_path)
    found = cases(episodes, tmp_path)
    hits, unions = ([row[k][0] for row in result["scores"]["rows"]] for k in (2, 3))
    assert [case.iou for case in found] == pytest.approx([hit / union for hit, union in zip(hits, unions)])
    assert {case.kind for case in found} <= set(KINDS)


def test_what_cannot_be_told_apart_is_refused(toy, tmp_path):
    two = protocol_episodes(toy, (1, 2, 3, 4), 1, ways=2, episodes=1)
    save_mask(tmp_path, 0, np.zeros((48, 64), np.uint8))
    with pytest.raises(InputError, match="one way"):
        cases(two, tmp_path)
    one = protocol_episodes(toy, (1, 2, 3, 4), 1, episodes=1)
    save_mask(tmp_path, 0, np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match="9x9"):
        cases(one, tmp_path)
