"""Scores against cases counted by hand and against plain loops."""

import numpy as np
import pytest

from fsslib.basics.errors import InputError
from fsslib.metrics import RESAMPLES, EpisodeScores, examples, recall_curve

TRUTH = np.array([[0, 1, 1],
                  [0, 1, 255],
                  [0, 0, 0]])
GUESS = np.array([[0, 1, 0],
                  [1, 1, 1],
                  [0, 0, 0]])                # foreground: 2 hits, 1 false, 1 missed; background: 4, 1, 1; 255 left out


def scored(*updates, classes=(1, 2), absent="counted"):
    scores = EpisodeScores(classes, absent)
    for at, (prediction, truth, class_ids, *query) in enumerate(updates):
        scores.update(np.asarray(prediction), np.asarray(truth), class_ids, query[0] if query else f"q{at}")
    return scores


def random_run(seed, classes=(1, 2, 3), episodes=40, queries=15, absent="counted", error=0.3):
    """Episodes whose queries and classes come from one fixed stream, and predictions from ``seed``."""
    fixed, rng, scores = np.random.default_rng(0), np.random.default_rng(seed), EpisodeScores(classes, absent)
    for _ in range(episodes):
        truth = fixed.choice([0, 1, 255], (6, 7), p=(.6, .3, .1))
        prediction = np.where(rng.random((6, 7)) < error, 1 - (truth == 1), truth == 1)
        scores.update(prediction, truth, [int(fixed.choice(classes))], f"q{fixed.integers(queries)}")
    return scores


def test_one_episode_by_hand():
    scores = scored((GUESS, TRUTH, [1]), classes=(1,))
    assert scores.per_class() == {1: 2 / 4}
    assert scores.miou() == 2 / 4
    assert scores.fb_iou() == pytest.approx((4 / 6 + 2 / 4) / 2)


def test_counts_are_summed_before_dividing():
    second = (np.ones((3, 3), int), np.eye(3, dtype=int), [1])       # 3 of 9
    third = (np.eye(3, dtype=int), np.eye(3, dtype=int), [2])        # perfect: 3 of 3, background 6 of 6
    scores = scored((GUESS, TRUTH, [1]), second, third)
    assert scores.per_class() == {1: (2 + 3) / (4 + 9), 2: 1.0}
    assert scores.miou() == pytest.approx((5 / 13 + 1) / 2)
    assert scores.fb_iou() == pytest.approx(((4 + 0 + 6) / (6 + 6 + 6) + (2 + 3 + 3) / (4 + 9 + 3)) / 2)


def test_255_leaves_intersection_and_union():
    void = np.full((3, 3), 255)
    scores = scored((GUESS, TRUTH, [1]), (np.ones((3, 3), int), void, [1]), classes=(1,))
    assert scores.per_class() == {1: 2 / 4} and scores.fb_iou() == pytest.approx((4 / 6 + 2 / 4) / 2)


def test_a_class_that_the_truth_does_not_show():
    empty = (np.array([[1, 0], [0, 0]]), np.zeros((2, 2), int), [1])
    assert scored((GUESS, TRUTH, [1]), empty).per_class()[1] == 2 / 5            # a false positive more
    assert scored((GUESS, TRUTH, [1]), empty, absent="ignored").per_class()[1] == 2 / 4


def test_a_class_that_never_occurs():
    assert scored((GUESS, TRUTH, [1])).miou() == 1 / 4               # (1/2 + 0) / 2, as PFENet
    assert np.isnan(scored((GUESS, TRUTH, [1]), absent="ignored").miou())        # as PANet
    low, high = scored((GUESS, TRUTH, [1])).intervals()["miou"]
    assert low == high == 1 / 4              # one query image: every resample is the same, with the zero in it


def test_several_ways():
    truth = np.array([[1, 1, 2], [0, 2, 2], [255, 0, 0]])
    guess = np.array([[1, 2, 2], [0, 2, 0], [1, 1, 0]])
    scores = scored((guess, truth, [7, 4]), classes=(4, 7))
    assert scores.per_class() == {4: 2 / 4, 7: 1 / 3}                # way 1 is class 7
    assert scores.fb_iou() == pytest.approx((2 / 4 + 4 / 6) / 2)     # foreground: any way on any way
    partly = scored((guess, np.where(truth == 1, 0, truth), [7, 4]), classes=(4, 7), absent="ignored")
    assert partly.per_class()[4] == 2 / 4 and np.isnan(partly.per_class()[7])


def panet(pairs, ways):
    """PANet's rule in plain loops: a label that a pair's truth does not show is left out of the pair; the foreground
    sums the classes. Returns (background, foreground) IoU."""
    hit, wrong = np.zeros((2, ways + 1))
    for guess, truth in pairs:
        for label in range(ways + 1):
            inside = {p for p in zip(*np.where(truth == label))}
            if inside:
                answered = {p for p in zip(*np.where((guess == label) & (truth != 255)))}
                hit[label] += len(inside & answered)
                wrong[label] += len(inside ^ answered)
    i, u = (hit[0], hit[1:].sum()), (hit[0] + wrong[0], (hit + wrong)[1:].sum())
    return i[0] / u[0], i[1] / u[1]


@pytest.mark.parametrize("ways", [1, 2])
def test_fb_iou_as_panet_counts(ways):
    rng = np.random.default_rng(5)
    truths = [rng.choice([0, 1, 255], (6, 7)), np.ones((6, 7), int), rng.choice([0, ways, 255], (6, 7))]      # the second: no background
    pairs = [(rng.integers(0, ways + 1, (6, 7)), truth) for truth in truths]
    scores = scored(*[(guess, truth, [7, 4][:ways]) for guess, truth in pairs], classes=(4, 7), absent="ignored")
    assert scores.fb_iou() == pytest.approx(sum(panet(pairs, ways)) / 2)
    confused = scored((np.array([[2, 0]]), np.array([[1, 0]]), [7, 4]), classes=(4, 7), absent="ignored")
    assert confused.fb_iou() == (1 + 0) / 2                          # one way for another is an error
    merged = scored((np.array([[2, 0]]), np.array([[1, 0]]), [7, 4]), classes=(4, 7))
    assert merged.fb_iou() == 1                                      # the others' rule: any way is foreground


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"shape \(3, 3\)"):
        EpisodeScores((1,)).update(GUESS, TRUTH[:2], [1], "q")
    with pytest.raises(InputError, match="class: found 3, expected one of"):
        EpisodeScores((1, 2)).update(GUESS, TRUTH, [3], "q")
    with pytest.raises(InputError, match="absent"):
        EpisodeScores((1,), "skipped")


def test_interval_against_a_loop_with_the_same_draws():
    scores = random_run(1)
    queries = sorted({row[0] for row in scores.rows})
    times = np.random.default_rng(3).multinomial(len(queries), [1 / len(queries)] * len(queries), RESAMPLES)
    miou, fb = [], []
    for draw in times:
        i, u, both = dict.fromkeys(scores.classes, 0), dict.fromkeys(scores.classes, 0), np.zeros((2, 2))
        for query, (c,), (hit,), (union,), background, foreground in scores.rows:
            often = draw[queries.index(query)]
            i[c], u[c] = i[c] + often * hit, u[c] + often * union
            both += often * np.array([background, foreground])
        miou.append(np.mean([i[c] / u[c] for c in scores.classes if u[c]]))
        fb.append(np.mean(both[:, 0] / both[:, 1]))
    found = scores.intervals(level=0.9, seed=3)
    np.testing.assert_allclose(found["miou"], np.percentile(miou, [5, 95]), rtol=1e-12)
    np.testing.assert_allclose(found["fb_iou"], np.percentile(fb, [5, 95]), rtol=1e-12)
    assert found["miou"][0] < scores.miou() < found["miou"][1]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """100 runs over 60 images each of a population of 5000: 95 % intervals hold its score 86 to 100 times."""
    rng = np.random.default_rng(0)
    union = rng.integers(50, 100, 5000)
    hits = (union * rng.beta(4, 3, 5000)).astype(int)
    truth, held = hits.sum() / union.sum(), 0
    for _ in range(100):
        scores, chosen = EpisodeScores((1,)), rng.choice(5000, 60, replace=False)
        scores.rows = [(str(q), [1], [hits[q]], [union[q]], (1, 2), (1, 2)) for q in chosen]
        low, high = scores.intervals()["miou"]
        held += low <= truth <= high
    assert 86 <= held <= 100


def test_an_image_is_resampled_with_all_its_episodes():
    """Copies of the same episodes add no knowledge: the interval must not shrink."""
    once, often = random_run(1), random_run(1)
    often.rows = often.rows * 5
    np.testing.assert_allclose(once.intervals()["miou"], often.intervals()["miou"], rtol=1e-12)


def test_paired_difference():
    good, bad = random_run(1, error=0.2), random_run(2, error=0.3)
    assert good.difference(random_run(1, error=0.2)) == (0.0, (0.0, 0.0))
    gap, (low, high) = good.difference(bad)
    assert gap == good.miou() - bad.miou() and low < gap < high
    back, (low_back, high_back) = bad.difference(good)
    assert back == -gap and (low_back, high_back) == pytest.approx((-high, -low))
    one, other = random_run(1, error=0.2), random_run(3, error=0.2)
    one_width, other_width = (np.ptp(s.intervals()["miou"]) for s in (one, bad))
    assert high - low < one_width + other_width                      # what both share cancels
    with pytest.raises(InputError, match="different episodes"):
        good.difference(random_run(1, episodes=39))
    other.rows[0] = ("another image", *other.rows[0][1:])
    with pytest.raises(InputError, match="different episodes"):
        good.difference(other)


def test_dict_and_back():
    import json
    scores = random_run(4, absent="ignored")
    back = EpisodeScores.from_dict(json.loads(json.dumps(scores.to_dict())))
    assert back.intervals() == scores.intervals() and back.per_class() == scores.per_class()
    assert back.difference(scores)[0] == 0 and back.absent == "ignored" and len(back) == 40


def test_recall_curve_against_a_loop():
    rng = np.random.default_rng(0)
    region, mask = rng.random((9, 8)), rng.choice([0, 1, 255], (9, 8))
    thresholds = [-0.1, 0.0, 0.25, 0.5, 0.9, 1.0]
    found = recall_curve(region, mask, thresholds)
    for at, threshold in enumerate(thresholds):
        hit = size = objects = union = pixels = 0
        for value, label in zip(region.ravel(), mask.ravel()):
            if label != 255:
                inside = value > threshold
                hit, size = hit + (inside and label == 1), size + inside
                objects, union, pixels = objects + (label == 1), union + (inside or label == 1), pixels + 1
        assert found["recall"][at] == pytest.approx(hit / objects) and found["area"][at] == pytest.approx(size / pixels)
        assert found["iou"][at] == pytest.approx(hit / union)
        assert found["precision"][at] == pytest.approx(hit / size if size else np.nan, nan_ok=True)
    assert found["recall"][0] == found["area"][0] == 1 and np.isnan(found["precision"][-1])


def test_recall_needs_an_object():
    with pytest.raises(InputError, match="no object pixel"):
        recall_curve(np.ones((2, 2)), np.array([[0, 255], [0, 0]]), [0.5])


def test_examples_by_their_own_iou():
    scores = EpisodeScores([1, 2])
    for marked in (3, 0, 10, 5, 8, 1, 2, 9, 4, 6, 7):       # of ten asked pixels: IoU marked / 10
        truth = np.ones((1, 10), int)
        scores.update((np.arange(10) < marked)[None].astype(int), truth, [1], "q")
    assert scores.ious().tolist() == [0.3, 0, 1, 0.5, 0.8, 0.1, 0.2, 0.9, 0.4, 0.6, 0.7]
    assert examples(scores.ious()) == {"good": 7, "middling": 3, "bad": 5}
    scores.update(np.array([[1, 2, 2, 0]]), np.array([[1, 2, 0, 255]]), [2, 1], "two ways")
    assert scores.ious()[-1] == 2 / 3                       # I: 1 + 1, U: 1 + 2
