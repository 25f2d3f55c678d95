"""Crowded and absent training episodes, on areas written by hand."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from fsslib.basics.errors import InputError
from fsslib.episodes.crowded import CrowdedSampler

AREAS = np.zeros((20, 4), int)
AREAS[:12, 1] = 3000
AREAS[10:17, 2] = 3000       # 10 and 11 show both
AREAS[17:, 3] = 3000
AREAS[10, 3] = 500           # too small to count, but there
RARE = AREAS.copy()
RARE[0, 3], RARE[:, 1] = 3000, np.maximum(RARE[:, 1], 0)
RARE[1:10, 2] = 3000         # class 3 stands beside another in one image, class 1 in twelve


def sampler(crowded, absent, classes=(1, 2, 3), areas=AREAS, **options):
    data = SimpleNamespace(areas=areas, area_scale=1.0, name="areas", split="train", class_names=("a", "b", "c"),
                           ids=[str(i) for i in range(len(AREAS))])
    return CrowdedSampler(data, classes, 2, 7, "pfenet", shuffle=True, crowded=crowded, absent=absent, **options)


def test_crowded_queries_show_two_classes_and_each_is_asked_for():
    episodes = [sampler(1.0, 0.0)[i] for i in range(200)]
    assert {e.query for e in episodes} == {10, 11}
    asked = Counter(e.class_ids[0] for e in episodes)
    assert set(asked) == {1, 2} and min(asked.values()) > 70
    assert all(len(set(e.support[0])) == 2 and e.query not in e.support[0] for e in episodes)
    assert all(AREAS[j, e.class_ids[0]] >= 2048 for e in episodes for j in e.support[0])


def test_rare_classes_are_asked_for_as_often():
    drawn = sampler(1.0, 0.0, areas=RARE)
    asked = Counter(drawn[i].class_ids[0] for i in range(600))
    assert set(asked) == {1, 2, 3} and min(asked.values()) > 160


def test_absent_queries_do_not_show_the_class_not_even_small():
    episodes = [sampler(0.0, 1.0)[i] for i in range(300)]
    assert all(AREAS[e.query, e.class_ids[0]] == 0 for e in episodes)
    assert {e.class_ids[0] for e in episodes} == {1, 2, 3}
    assert all(AREAS[e.query].max() >= 2048 for e in episodes)


def test_shares_and_reproducibility():
    one = sampler(0.3, 0.2)
    episodes = [one[i] for i in range(1000)]
    assert episodes[17] == sampler(0.3, 0.2)[17]
    absent = np.mean([AREAS[e.query, e.class_ids[0]] == 0 for e in episodes])
    both = np.mean([e.query in (10, 11) and AREAS[e.query, e.class_ids[0]] > 0 for e in episodes])
    assert 0.16 < absent < 0.24
    assert 0.3 < both < 0.42                 # and some of the plain ones
    plain = sampler(0.0, 0.0)
    assert [plain[i] for i in range(20)] == [super(CrowdedSampler, plain).__getitem__(i) for i in range(20)]


@pytest.mark.parametrize("arguments, word", [
    ((0.8, 0.3), "sum to at most 1"), ((-0.1, 0.0), "from 0 up"), ((0.5, 0.0), "1-way"),
    ((0.5, 0.0, (1, 3)), "two of the classes")])
def test_what_cannot_be_drawn(arguments, word):
    options = {"ways": 2} if word == "1-way" else {}
    with pytest.raises(InputError, match=word):
        sampler(*arguments, **options)
