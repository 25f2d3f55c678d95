"""The support test of models whose answers are known beforehand."""

import numpy as np
import pytest
import torch
from test_evaluation import CLASSES, Constant, Oracle, drawn, run

from fsslib.basics.errors import InputError
from fsslib.episodes import EpisodeList, EpisodeOutput
from fsslib.episodes.support_test import DRAWS, SupportLists
from fsslib.evaluation.support import MEASURES, Measure, run_support_test


class Elsewhere(torch.nn.Module):
    """Marks everything but the asked thing."""

    def forward(self, batch):
        logits = torch.zeros(len(batch), 2, *batch.query_masks.shape[1:])
        logits[:, 1] = torch.where(batch.query_masks == 1, -1.0, 1.0)
        return EpisodeOutput(logits)


def answered(model, toy, shots=1):
    return run_support_test(model.eval(), SupportLists(toy, CLASSES, shots), 64, "pad", progress=False)


def values(found):
    return {name: found[kind][value]["value"] for name, (kind, value, _) in MEASURES.items()}


def test_who_knows_the_answer(toy):
    """Shown another thing it marks that one: of the others only those that are not shown are level with the asked one."""
    found, lists = values(answered(Oracle(), toy)), SupportLists(toy, CLASSES, 1)
    level = {c: [] for c in CLASSES}
    for number, wrong in zip(lists.wrong_of, lists.wrong):
        _, other, _ = lists.regions(lists.crowded[number])
        shown = (toy.mask(wrong.query) == wrong.class_ids[0]).sum()
        level[lists.crowded[number].class_ids[0]].append((1 - shown / other.sum()) / 2)
    expected = 100 * np.mean([np.mean(found) for found in level.values() if found])
    assert found.pop("AUC, wrong support") == pytest.approx(expected, abs=0.006)
    assert found == {"crowded AUC": 100, "marked more fully": 100, "IoU of asked": 100, "IoU of other": 0,
                     "unmoved": 0, "false area": 0, "empty": 100, "lost": 0, "presence AUROC": 100}


def test_who_marks_everything(toy):
    found = answered(Constant(), toy)
    said = values(found)
    assert said["crowded AUC"] == said["marked more fully"] == said["AUC, wrong support"] == said["presence AUROC"] == 50
    assert (said["unmoved"], said["false area"], said["empty"], said["lost"]) == (100, 100, 0, 0)
    assert 0 < said["IoU of asked"] < 60


def test_who_takes_the_other_thing(toy):
    found = values(answered(Elsewhere(), toy))
    assert found["crowded AUC"] == found["marked more fully"] == found["IoU of asked"] == 0


def test_what_is_told_beside_the_numbers(toy):
    lists, found = SupportLists(toy, CLASSES, 1), answered(Constant(), toy)
    assert found["crowded"]["episodes"] == len(found["rows"]["crowded"]) == len(lists.crowded)
    assert found["crowded"]["digest"] == lists.crowded.digest
    counted = {c: len({e.query for e in lists.crowded if e.class_ids == (c,)}) for c in CLASSES}
    assert found["crowded"]["images"] == {str(c): n for c, n in counted.items() if n}
    assert found["crowded"]["few"] == [c for c, n in counted.items() if 0 < n < 10]
    assert [n for n, row in enumerate(found["rows"]["crowded"]) if "unmoved" in row[2]] == lists.wrong_of
    assert all(number % DRAWS == 0 for number in lists.wrong_of)


def test_it_is_part_of_a_result_and_can_be_paired(toy):
    result, other = (run(model, drawn(toy), size=64, support_test=SupportLists(toy, CLASSES, 1))["support_test"] for model in (Oracle(), Constant()))
    assert values(result) == values(answered(Oracle(), toy))
    for name in MEASURES:
        gap, (low, high) = Measure(result, name).difference(Measure(other, name))
        assert gap == pytest.approx((values(result)[name] - values(other)[name]) / 100, abs=1e-4) and low <= gap <= high
    with pytest.raises(InputError, match="different episodes"):
        Measure(result, "empty").difference(Measure(other, "lost"))
    with pytest.raises(InputError, match="2 ways"):
        run(Oracle(), drawn(toy, ways=2), support_test=SupportLists(toy, CLASSES, 1))


def test_features_kept_in_a_bank_change_nothing(toy, tiny_panet):
    lists = SupportLists(toy, CLASSES, 1)
    from fsslib.models import ModelBank
    with ModelBank(tiny_panet.eval(), toy, 64, "pad", keep=False) as bank:
        kept = run_support_test(tiny_panet, lists, 64, "pad", bank, progress=False)
    plain = run_support_test(tiny_panet, lists, 64, "pad", progress=False)
    assert np.allclose(list(values(kept).values()), list(values(plain).values()), atol=0.02)


class Silent(torch.nn.Module):
    """Marks nothing, whatever it is shown."""

    def __init__(self):
        super().__init__()
        self.encoders, self.backbone = [], torch.nn.Identity()

    def forward(self, batch):
        logits = torch.zeros(len(batch), 2, *batch.query_masks.shape[1:])
        logits[:, 0] = 1
        return EpisodeOutput(logits)


def test_two_empty_answers_are_the_same_answer(toy):
    found = values(answered(Silent(), toy))
    assert found["unmoved"] == 100 and found["empty"] == 100 and found["lost"] == 100


def test_where_no_other_class_can_be_shown_a_measure_is_missing(toy):
    lists = SupportLists(toy, CLASSES, 1)
    lists.wrong, lists.wrong_of = EpisodeList(toy, []), []
    found = run_support_test(Silent(), lists, 64, "pad", progress=False)["crowded"]
    assert found["unmoved"]["value"] is None and found["auc_wrong"]["value"] is None and found["auc"]["value"] == 50


def test_lists_that_ask_nothing_are_refused_before_the_work(toy):
    lists = SupportLists(toy, CLASSES, 1)
    lists.absent = EpisodeList(toy, [])
    with pytest.raises(InputError, match="0 without the asked class"):
        run(None, drawn(toy), size=64, support_test=lists)
