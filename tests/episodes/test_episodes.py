"""Episodes: what they depend on, what they contain, and lists that go to disk and back."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from conftest import Toy, draw_toy

from fsslib.episodes.sampler import EpisodeList, EpisodeSampler
from fsslib.basics.errors import InputError
from fsslib.episodes.protocols import PROTOCOLS

CLASSES = (1, 2, 3, 4)


class Areas:
    """Only what a sampler reads of a data set: areas int (N, C+1), ids, names."""
    name, split, area_scale = "areas", "val", 1.0

    def __init__(self, areas):
        self.areas = np.asarray(areas)
        self.class_names = tuple(f"c{c}" for c in range(1, self.areas.shape[1]))
        self.ids = tuple(f"i{i}" for i in range(len(self.areas)))


def test_an_episode_depends_on_seed_and_number_alone(toy):
    make = lambda seed=5: EpisodeSampler(toy, CLASSES, 2, seed, "panet", ways=2, shuffle=True)   # noqa: E731
    forwards, sampler = make().take(30).episodes, make()
    assert {i: sampler[i] for i in reversed(range(30))} == dict(enumerate(forwards))
    assert make()[np.int64(17)] == forwards[17]
    assert make(6).take(30).episodes != forwards
    assert len(set(map(str, forwards))) > 25


def test_another_process_draws_the_same(toy, toy_folder):
    code = ("import sys; sys.path.insert(0, 'tests'); from pathlib import Path; from conftest import Toy; "
            "from fsslib.episodes import EpisodeSampler; d = Toy(Path(sys.argv[1])); d.area_scale = 1 / 2048; "
            "print(EpisodeSampler(d, (1, 2, 3, 4), 2, 5, 'pfenet', ways=2, shuffle=True).take(20).digest)")
    root = __file__.rsplit("/tests/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code, str(toy_folder)], cwd=root, capture_output=True, text=True)
    here = EpisodeSampler(toy, CLASSES, 2, 5, "pfenet", ways=2, shuffle=True).take(20).digest
    assert done.stdout.strip() == here, done.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shots, ways", [(1, 1), (3, 2)])
def test_what_an_episode_holds(toy, protocol, shots, ways):
    for episode in EpisodeSampler(toy, CLASSES, shots, 0, protocol, ways).take(60):
        assert len(set(episode.class_ids)) == ways and set(episode.class_ids) <= set(CLASSES)
        assert any(toy.areas[episode.query, c] for c in episode.class_ids)
        for c, support in zip(episode.class_ids, episode.support, strict=True):
            assert len(set(support)) == shots and episode.query not in support
            assert all(toy.areas[j, c] for j in support)


def test_small_objects_are_neither_support_nor_reason_for_a_query():
    areas = np.zeros((12, 3), int)
    areas[:6, 1] = 2048                      # large enough: 0..5
    areas[6:9, 1] = 2047                     # one pixel short
    areas[4:12, 2] = 3000
    sampler = EpisodeSampler(Areas(areas), (1, 2), 1, 0, "pfenet")
    episodes = [sampler[i] for i in range(300)]
    supports = {c: {e.support[0][0] for e in episodes if e.class_ids == (c,)} for c in (1, 2)}
    assert supports == {1: set(range(6)), 2: set(range(4, 12))}
    alone = EpisodeSampler(Areas(areas), (1,), 1, 0, "pfenet")
    assert [alone[i].query for i in range(12)] == [0, 1, 2, 3, 4, 5] * 2
    asked = {e.class_ids for e in episodes if e.query in (6, 7, 8)}
    assert asked == {(1,), (2,)}             # PFENet's rule: a query may ask for a class below the limit
    only = EpisodeSampler(Areas(areas), (1,), 1, 0, "pfenet", images=range(3))
    assert {only[i].query for i in range(9)} | {only[i].support[0][0] for i in range(60)} == {0, 1, 2}
    without = EpisodeSampler(Areas(areas), (1,), 1, 0, "pfenet", exclude=(2,))
    assert without.queries == 4
    Areas.area_scale = 0.5
    try:
        assert EpisodeSampler(Areas(areas), (1,), 1, 0, "pfenet").queries == 9
    finally:
        Areas.area_scale = 1.0


@pytest.mark.parametrize("protocol", ["pfenet", "hsnet"])
def test_a_shuffled_epoch_visits_every_query_once(toy, protocol):
    sampler = EpisodeSampler(toy, (1, 3), 1, 0, protocol, shuffle=True)
    epochs = [[sampler[e * sampler.queries + i] for i in range(sampler.queries)] for e in range(3)]
    if protocol == "pfenet":
        visits = [[e.query for e in epoch] for epoch in epochs]
        expected = sorted(np.flatnonzero(toy.areas[:, [1, 3]].any(1)))
    else:
        visits = [[(e.query, e.class_ids[0]) for e in epoch] for epoch in epochs]
        expected = sorted((i, c) for c in (1, 3) for i in np.flatnonzero(toy.areas[:, c]))
    assert [sorted(v) for v in visits] == [expected] * 3
    assert visits[0] != visits[1] != visits[2] and visits[0] != expected


def test_classes_are_drawn_uniformly(toy):
    """Chi-square with 3 degrees of freedom: above 16.3 once in a thousand seeds; this seed is fixed."""
    drawn = Counter(e.class_ids[0] for e in EpisodeSampler(toy, CLASSES, 1, 0, "panet").take(2000))
    assert sum((drawn[c] - 500) ** 2 / 500 for c in CLASSES) < 16.3
    sampler = EpisodeSampler(toy, CLASSES, 1, 1, "panet", ways=2)
    first = Counter(sampler[i].class_ids for i in range(2400))       # 12 ordered pairs
    assert len(first) == 12 and sum((n - 200) ** 2 / 200 for n in first.values()) < 31.3


def test_supports_are_drawn_uniformly():
    areas = np.full((6, 2), 5000)
    sampler = EpisodeSampler(Areas(areas), (1,), 2, 3, "pfenet")
    seen = Counter(j for i in range(0, 6000, 6) for j in sampler[i].support[0])    # query 0: five candidates
    assert set(seen) == {1, 2, 3, 4, 5} and sum((n - 400) ** 2 / 400 for n in seen.values()) < 18.5


def test_pairs_follow_the_images(toy):
    """The first pairs show every class: a short run of HSNet's protocol must not leave classes out."""
    sampler = EpisodeSampler(toy, (1, 2, 4), 1, 0, "hsnet")
    expected = [(i, c) for i in range(len(toy)) for c in (1, 2, 4) if toy.areas[i, c]]
    assert [(sampler[i].query, *sampler[i].class_ids) for i in range(sampler.queries)] == expected


def test_too_few_images_are_refused_with_both_numbers():
    areas = np.zeros((9, 3), int)
    areas[:3, 1] = areas[:, 2] = 4000
    EpisodeSampler(Areas(areas), (1, 2), 2, 0)                       # K + 1 = 3: just enough
    with pytest.raises(InputError, match=r"class 1 \(c1\).*found 3 images.*at least 4"):
        EpisodeSampler(Areas(areas), (1, 2), 3, 0)
    with pytest.raises(InputError, match="found 0 images with >= .* px among the 0 in use"):
        EpisodeSampler(Areas(areas), (1, 2), 1, 0, images=[])
    with pytest.raises(InputError, match="found 0 images"):
        EpisodeSampler(Areas(areas), (1,), 1, 0, exclude=(2,))
    skipped = EpisodeSampler(Areas(areas), (1, 2), 3, 0, scarce="skipped")
    assert skipped.classes == (2,) and {e.class_ids for e in skipped.take(20)} == {(2,)}
    with pytest.raises(InputError, match="class 1"):                 # none is left
        EpisodeSampler(Areas(areas), (1,), 3, 0, scarce="skipped")


@pytest.mark.parametrize("change, word", [
    (dict(shots=0), "shots"), (dict(shots=-1), "shots"), (dict(shots=1.5), "shots"), (dict(ways=5), "ways"),
    (dict(ways=0), "ways"), (dict(classes=()), "ways"), (dict(classes=(1, 9)), "class id 9"),
    (dict(classes=(0, 1)), "class id 0"), (dict(protocol="none"), "protocol")])
def test_bad_input(toy, change, word):
    with pytest.raises(InputError, match=word):
        EpisodeSampler(toy, **{**dict(classes=CLASSES, shots=1, seed=0), **change})


def test_a_list_goes_to_disk_and_back(toy, tmp_path):
    episodes = EpisodeSampler(toy, CLASSES, 2, 7, ways=2).take(10)
    episodes.save(tmp_path / "list.json")
    loaded = EpisodeList.load(tmp_path / "list.json", toy)
    assert loaded.episodes == episodes.episodes and loaded.digest == episodes.digest
    assert EpisodeSampler(toy, CLASSES, 2, 8, ways=2).take(10).digest != episodes.digest
    assert EpisodeSampler(toy, CLASSES, 2, 7, ways=2).take(9).digest != episodes.digest


def _edited(change):
    def edit(stored):
        change(stored)
        return stored
    return edit


@pytest.mark.parametrize("edit, word", [
    (_edited(lambda s: s["episodes"].reverse()), "edited"),
    (_edited(lambda s: s["episodes"].pop()), "edited"),
    (_edited(lambda s: s.update(dataset="voc")), "episodes of 'voc'"),
    (_edited(lambda s: s["episodes"][0].__setitem__(2, "gone")), "image 'gone'"),
    (_edited(lambda s: s["episodes"][0].pop()), "no readable episode"),
    (_edited(lambda s: s.pop("digest")), "no list of episodes"),
    (lambda s: s["episodes"], "no list of episodes")])
def test_an_edited_or_foreign_list_is_refused(toy, tmp_path, edit, word):
    path = tmp_path / "list.json"
    EpisodeSampler(toy, CLASSES, 1, 7).take(10).save(path)
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=word) as caught:
        EpisodeList.load(path, toy)
    assert str(path) in str(caught.value)


def test_no_list_or_half_a_list(toy, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        EpisodeList.load(tmp_path / "list.json", toy)
    (tmp_path / "list.json").write_text('{"dataset": "toy", "epi')
    with pytest.raises(InputError, match="no valid JSON"):
        EpisodeList.load(tmp_path / "list.json", toy)


def test_a_list_outlives_new_images(toy, tmp_path):
    """Lists hold ids, not numbers: images added later move the numbers only."""
    episodes = EpisodeSampler(toy, CLASSES, 1, 0).take(5)
    episodes.save(tmp_path / "list.json")
    folder = draw_toy(tmp_path / "more")
    for kind in ("images", "masks"):
        (folder / kind / "a.png").write_bytes((folder / kind / "toy00.png").read_bytes())
    loaded = EpisodeList.load(tmp_path / "list.json", Toy(folder))
    assert [e.query for e in loaded] == [e.query + 1 for e in episodes]
