"""Tables as data: ``tables/NAME.yaml``, or a YAML file of your own, read strictly into rows."""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..basics import config
from ..basics.commands import PLACES
from ..basics.errors import InputError
from ..results.published import published
from .rows import Row, last_job

FOLDER = Path(__file__).parent / "tables"
SHARED = Path(__file__).parent / "shared.yaml"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@dataclass(frozen=True)
class _Shared:
    """Named options that several rows use: of ``fsslib pretrain`` and of ``fsslib train``."""
    extractors: dict[str, Any]
    trainings: dict[str, Any]


@dataclass(frozen=True)
class _File:
    """What a table's file holds. ``defaults``: fields of every row · ``rows``: blocks of Row's fields; ``each`` in one names
    fields with a list of values each, and stands for all their combinations · ``differences``: pairs of labels ·
    ``published``: the papers' rows beside it, by table and columns · ``notes``: more values for the table's settings."""
    title: str
    shows: str
    kind: Literal["segmentation", "maps", "probe"]
    rows: list[dict]
    defaults: dict = field(default_factory=dict)
    differences: list[list[str]] = field(default_factory=list)
    published: list[dict] = field(default_factory=list)
    notes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table: its ``rows``, Row each, ``differences`` (label, minus), ``published`` rows, ``settings`` for its JSON."""
    name: str
    title: str
    shows: str
    kind: str
    rows: tuple
    differences: tuple
    published: tuple
    settings: dict

    @property
    def labels(self):
        return list(dict.fromkeys(row.label for row in self.rows))

    def job(self, row):
        return last_job(row, self.kind)


def load_table(table):
    """The Table of a name in ``NAMES``, or of a YAML file given by its path (ending in .yaml); bad data raises InputError."""
    if str(table).endswith((".yaml", ".yml")):
        path = Path(table)
    elif table in NAMES:
        path = FOLDER / f"{table}.yaml"
    else:
        raise InputError("table", repr(table), f"one of {', '.join(NAMES)}, or the path of a .yaml file", "Correct the name.")
    file, shared = config.load(_File, path), config.load(_Shared, SHARED)
    rows = [row for at, block in enumerate(file.rows, 1)
            for row in _expanded({**file.defaults, **block}, shared, f"{path}, rows, block {at}")]
    keys = [row.key for row in rows]
    if twice := next((row.name for row in rows if keys.count(row.key) > 1), None):
        raise InputError(path, f"the row {twice!r} twice", "one row for a label, fold and seed", "Give the blocks other labels.")
    labels = {row.label for row in rows}
    for pair in file.differences:
        if len(pair) != 2 or not set(pair) <= labels:
            raise InputError(path, f"the difference {pair}", "two labels of its rows", "Correct the labels.")
        _refuse_unlike([[row for row in rows if row.label == label] for label in pair], f"{path}: the difference {pair}")
    try:
        papers = [row for asked in file.published for row in published(**asked)]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: published", f"no such table or column ({error})", "table: a table of published.yaml",
                         "Correct it.") from error
    settings = {"episodes": file.defaults.get("episodes", Row.episodes), **file.notes}
    return Table(path.stem, file.title, file.shows, file.kind, tuple(rows), tuple(map(tuple, file.differences)), tuple(papers),
                 settings)


def _expanded(block, shared, where):
    """The Rows of one block."""
    block = dict(block)
    each = block.pop("each", {})
    if not isinstance(each, dict) or not all(isinstance(values, list) for values in each.values()):
        raise InputError(where, f"each: {each!r}", "fields with a list of values each, as fold: [0, 1]", "Correct it.")
    for values in itertools.product(*each.values()):
        fields = {**block, **dict(zip(each, values))}
        for name, known in (("extractor", shared.extractors), ("training", shared.trainings)):
            fields[name] = _named(fields.get(name), known, where)
        row = config.load(Row, {name: value for name, value in fields.items() if value is not None}, where)
        if places := {*PLACES} & {*row.training, *row.testing}:
            raise InputError(where, f"the option {sorted(places)[0]!r}", "options that say what is computed", "Leave it out.")
        if row.seed and not row.training:
            raise InputError(where, f"seed {row.seed} of a row without training", "seed 0: nothing is drawn", "Leave it out.")
        try:
            yield replace(row, label=row.label.format_map(vars(row)))
        except (KeyError, ValueError, IndexError) as error:
            raise InputError(where, f"the label {row.label!r}", "a text, fields of the row in braces", "Correct it.") from error


def _named(value, known, where):
    """A name of shared.yaml as its options; ``{"like": NAME, ...}`` with changes; anything else as it is."""
    if isinstance(value, dict) and "like" in value:
        like = value["like"] if value["like"] in known else f"like: {value['like']}"
        return {**_named(like, known, where), **{k: v for k, v in value.items() if k != "like"}}
    if isinstance(value, str) and value not in ("imagenet", "random"):
        if value not in known:
            raise InputError(where, f"the unknown name {value!r}", f"one of {', '.join(known)}", "Correct the name.")
        return known[value]
    if value is not None and not isinstance(value, str | dict):
        raise InputError(where, repr(value), "a name, or options with their values", "Correct it.")
    return value


def _refuse_unlike(lines, where):
    """Two lines that do not answer the same episodes cannot be compared pair by pair."""
    asked = [{(r.dataset, r.protocol, r.ways, r.episodes, str(r.testing.get("classes")), r.testing.get("split")) for r in rows} for rows in lines]
    if asked[0] != asked[1]:
        raise InputError(where, "lines on other episodes", "the same data, protocol, ways and episodes", "Leave the pair out.")
