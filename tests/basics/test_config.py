"""What a YAML file says is taken as written or refused, never guessed."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Optional

import pytest

from fsslib.basics import config
from fsslib.basics.errors import InputError


@dataclass(frozen=True)
class Optimizer:
    rate: float
    kind: Literal["sgd", "adam"] = "sgd"


@dataclass(frozen=True)
class Run:
    name: str
    folds: tuple[int, ...]
    optimizer: Optimizer
    flip: bool = False
    size: tuple[int, int] = (321, 321)
    weights: Optional[str] = None
    steps: int | None = None
    extra: dict[str, Any] = None


GOOD = {"name": "a", "folds": [0, 1], "optimizer": {"rate": 1}}


def test_config_reads(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: a\nfolds: [0, 1]\noptimizer: {rate: 1, kind: adam}\nsteps: 5\nextra: {k: [1]}\n")
    run = config.load(Run, path)
    assert run == Run("a", (0, 1), Optimizer(1.0, "adam"), steps=5, extra={"k": [1]})
    assert type(run.optimizer.rate) is float and type(run.folds) is tuple
    recipe = {"steps": 9, "flip": True, "optimizer": {"rate": 3}}              # of a model, say: what the file leaves out
    assert config.load(Run, path, defaults=recipe) == Run("a", (0, 1), Optimizer(1.0, "adam"), flip=True, steps=5, extra={"k": [1]})


@pytest.mark.parametrize("change, message", [
    ({"nmae": "b"}, "the unknown key 'nmae', expected one of name, .* Did you mean 'name'"),
    ({"optimizer": {}}, "optimizer: found no key 'rate'"),
    ({"optimizer": {"rate": "1e-3"}}, "optimizer: rate: found '1e-3' .text., expected a number. YAML takes 1e-3"),
    ({"optimizer": {"rate": 1.0, "kind": "lars"}}, "kind: found 'lars', expected one of 'sgd', 'adam'"),
    ({"optimizer": 3}, "optimizer: found a whole number, expected keys with values"),
    ({"folds": [0, "1"]}, r"folds\[1\]: found '1' .text., expected a whole number"),
    ({"folds": 0}, "folds: found 0 .a whole number., expected a list"),
    ({"folds": [True]}, "found True .true or false., expected a whole number"),
    ({"flip": "no"}, "flip: found 'no' .text., expected true or false"),
    ({"size": [321]}, "size: found 1 values, expected 2 values"),
    ({"steps": 1.5}, "steps: found 1.5"),
    ({"name": None}, "name: found None .nothing., expected text"),
    ({"name": 32}, "found 32 .a whole number., expected text. YAML takes 32 for a whole number: write it in quotes"),
    ({"extra": {"day": date(2024, 1, 1)}}, "extra.day: found .* .a date., expected text, a number"),
    ({"extra": {1: 2}}, "extra: found 1 .a whole number., expected text"),
])
def test_config_refuses(change, message):
    with pytest.raises(InputError, match=message):
        config.load(Run, {**GOOD, **change})


@pytest.mark.parametrize("text, message", [
    ("name: a\nname: b", "line 2: found no valid YAML .key 'name' given twice"),
    ("name: [", "no valid YAML"), ("- a", "found a list, expected keys"), ("", "found nothing, expected keys"),
    (None, "no readable file .No such file"), (b"\xff\xfe\x00", "no readable file|no valid YAML")])
def test_config_file_refused(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        config.load(Run, path)


BROKEN = {"open list": "[1", "open keys": "{a: 1", "open quote": "'64", "month 13": "2024-13-01", "code": "!!python/name:os.system",
          "anchor": "&a *b", "digits": "1" * 5000, "brackets": "[" * 5000}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_an_option_that_yaml_cannot_read(text):
    with pytest.raises(InputError) as caught:
        config.parse_options([f"width={text}"], {"width": 64})
    message = str(caught.value)
    assert message.startswith("option width: found ") and len(message) < 300 and "--option 'width=64'" in message
    assert config.parse_options(["width=64"], {"width": 8}) == {"width": 64}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_file_that_yaml_cannot_read(tmp_path, text):
    (tmp_path / "a.yaml").write_text(f"rate: {text}\n")
    with pytest.raises(InputError, match="a.yaml"):
        config.load(Optimizer, tmp_path / "a.yaml")
