"""Frozen dataclasses read strictly from YAML: what is not understood is refused, never ignored."""

import dataclasses
import difflib
import json
import math
import types
import typing

import yaml

from .errors import InputError, not_readable
from .storage import user_path

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "keys with values",
          list: "a list", type(None): "nothing"}


class _StrictLoader(yaml.SafeLoader):
    """yaml.SafeLoader that refuses a key given twice, where YAML readers commonly keep the last one."""

    def construct_mapping(self, node, deep=False):
        seen = []
        for node_of_key, _ in node.value:
            key = self.construct_object(node_of_key, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice",
                                                        node_of_key.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def load(cls, source, where=None, defaults=None):
    """Reads the dataclass ``cls`` from a YAML file or from a dict.

    ``source``: path, or dict of plain values, which messages call ``where`` · ``defaults``: dict of what a file leaves out.
    Field types may be str, int, float, bool, typing.Any, typing.Literal, Optional, list, tuple, dict and further dataclasses,
    nested as you like; lists become tuples where the field says so. An unknown, missing or repeated key and a value of another type raise
    InputError, which names the key, what was found and what was expected.
    """
    if isinstance(source, dict):
        return _build(cls, source, where or cls.__name__)
    path = user_path(source)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_StrictLoader)
    except PermissionError as error:
        raise not_readable(path, "a YAML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"no readable file ({getattr(error, 'strerror', None) or error})", "a YAML file",
                         "Correct the path.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{path}, line {mark.line + 1}" if mark else path,
                         f"no valid YAML ({getattr(error, 'problem', None) or error})", "a YAML file",
                         "Correct the line.") from error
    except (ValueError, RecursionError) as error:            # 2024-13-01, a number of thousands of digits, too many brackets
        raise InputError(path, f"a value that YAML cannot read ({error})", "a YAML file", "Put it in quotes.") from error
    return _build(cls, {**(defaults or {}), **content} if isinstance(content, dict) else content, str(path))


def parse_options(pairs, known):
    """``NAME=VALUE`` texts -> dict of values with the types of ``known``: dict name -> default.

    An unknown name, or a value of another type, raises InputError.
    """
    options = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in known:
            raise InputError(f"option {pair!r}", f"the unknown name {name!r}", f"one of {', '.join(known)}",
                             "Correct the name.")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InputError(f"option {name}", f"{text[:60]!r}, which YAML cannot read", f"a value like {_example(known[name])}",
                             f"Correct it, and put it in quotes for the shell: --option '{name}={_example(known[name])}'."
                             ) from error
        kind = type(known[name])
        if kind is not type(None):
            value = _convert(kind, value, f"option {name}")
        options[name] = tuple(value) if isinstance(value, list) else value
    return options


def _example(default):
    """A default as it is written in YAML, on one line."""
    return yaml.safe_dump(default, default_flow_style=True).split("\n")[0]


def at_least(config, **least):
    """Raises InputError for a whole number of ``config`` below the one named here."""
    for name, low in least.items():
        if getattr(config, name) < low:
            raise InputError(name, repr(getattr(config, name)), f"a whole number from {low} up", "Correct the option.")


def finite(config, *names):
    """Raises InputError for a number of ``config`` that is negative or not finite."""
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise InputError(name, repr(getattr(config, name)), "a number from 0 up", "Correct the option.")


def _build(cls, content, where):
    if not isinstance(content, dict):
        raise InputError(where, _name(content), "keys with values", "Write one 'key: value' a line.")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in content:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            raise InputError(where, f"the unknown key {key!r}", f"one of {', '.join(fields)}",
                             f"Did you mean {close[0]!r}?" if close else "Remove the key.")
    for name, field in fields.items():
        if name not in content and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(where, f"no key {name!r}", f"all of {', '.join(fields)}", f"Add '{name}: ...'.")
    kinds = typing.get_type_hints(cls)
    return cls(**{key: _convert(kinds[key], value, f"{where}: {key}") for key, value in content.items()})


def _convert(kind, value, where):
    """``value`` as type ``kind``; only int -> float and list -> tuple are converted, all else must fit."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any:
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:                # YAML's dates, sets and bytes
            raise InputError(where, f"{value!r} (a {_name(value)})", "text, a number, true, false, or lists of them",
                             "Put it in quotes.") from error
        return value
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        parts = [part for part in parts if part is not type(None)]
        if len(parts) > 1:
            raise TypeError(f"{where}: only Optional unions are supported, not {kind}")
        return _convert(parts[0], value, where)
    if origin is typing.Literal:
        if value not in parts or type(value) not in map(type, parts):
            raise InputError(where, repr(value), f"one of {', '.join(map(repr, parts))}", "Correct the value.")
        return value
    if (origin or kind) in (tuple, list):
        return _sequence(origin or kind, parts, value, where)
    if (origin or kind) is dict:
        _check(dict, value, where)
        for key in value if parts else ():
            _check(parts[0], key, where)
        return {key: _convert(parts[1], item, f"{where}.{key}") for key, item in value.items()} if parts else value
    if kind is float and type(value) is int:
        return float(value)
    _check(kind, value, where)
    return value


def _sequence(kind, parts, value, where):
    _check(list, list(value) if isinstance(value, tuple) else value, where)
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        if len(value) != len(parts):
            raise InputError(where, f"{len(value)} values", f"{len(parts)} values", "Correct the list.")
    else:
        parts = [parts[0] if parts else typing.Any] * len(value)
    return kind(_convert(part, item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(parts, value)))


def _check(kind, value, where):
    if type(value) is not kind:              # not isinstance: True is an int
        cure = "Correct the value."
        if kind is float and isinstance(value, str) and _is_number(value):
            cure = f"YAML takes {value} for text: write it with a point and a sign, as in 1.0e-3."
        if kind is str and type(value) in (int, float, bool):
            cure = f"YAML takes {value} for {_name(value)}: write it in quotes."
        raise InputError(where, f"{value!r} ({_name(value)})", _NAMES.get(kind, kind.__name__), cure)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _name(value):
    return _NAMES.get(type(value), type(value).__name__)
