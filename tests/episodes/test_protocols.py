"""Protocols against the numbers in the repositories' configurations."""

from dataclasses import fields

import pytest

from fsslib.basics.errors import InputError
from fsslib.episodes.protocols import PROTOCOLS, get_protocol


@pytest.mark.parametrize("name, split, voc, coco, seeds, size, scored", [
    ("pfenet", "val", 5000, 20000, (321,), 473, "original"),
    ("qgnet", "val", 1000, 1000, (321,), 473, "original"),
    ("panet", "train", 1000, 1000, (1234, 1235, 1236, 1237, 1238), 417, "input"),
    ("hsnet", "val", 1000, 1000, (0,), 400, "input"),
    ("bam", "val", 1000, 1000, (0, 1, 2, 3, 4), 473, "original"),
    ("symnet", "val", 1000, 5000, (0, 1, 2, 3, 4), 473, "input")])
def test_numbers_of_the_repositories(name, split, voc, coco, seeds, size, scored):
    rules = get_protocol(name)
    assert (rules.split, rules.episodes["voc"], rules.episodes["coco"], rules.seeds) == (split, voc, coco, seeds)
    assert (rules.size["voc"], rules.scored) == (size, scored)


def test_who_drops_images_with_novel_classes():
    assert {n for n, p in PROTOCOLS.items() if p.novel_in_training == "dropped"} == {"bam", "symnet"}
    assert {n for n, p in PROTOCOLS.items() if p.absent == "ignored"} == {"panet"}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_choice_has_a_source(name):
    rules = PROTOCOLS[name]
    choices = {f.name for f in fields(rules)} - {"name", "sources"}
    assert set(rules.sources) == choices and all(rules.sources.values())
    assert rules.name == name and {"voc", "coco", "shapes"} <= set(rules.size) & set(rules.episodes)


def test_unknown_name_is_told_the_names():
    with pytest.raises(InputError, match="pfenet, qgnet"):
        get_protocol("fss1000")
