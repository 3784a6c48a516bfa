"""Settings: frozen dataclasses whose fields carry their range and their help.

A stage declares its settings once, as a child of :class:`Config`. The same declaration checks
a value, reads and writes JSON, makes the options of the command and the form in the window.

Examples
--------
>>> import typing
>>> from dataclasses import dataclass
>>> @dataclass(frozen=True, slots=True, kw_only=True)
... class Demo(Config):
...     size: typing.Annotated[int, Range(1, 8), Help("Patches per bag")] = 4
>>> Demo.from_dict({"size": 2})
Demo(size=2)
>>> Demo(size=9)
Traceback (most recent call last):
...
src_core.errors.ConfigError: Demo.size is 9; give a value from 1 to 8.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, get_args, get_origin

from src_core.errors import ConfigError
from src_core.types import Json

__all__ = ["Config", "FieldSpec", "Help", "Range"]


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a number may have, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Help:
    """What a setting means, in a few words, with its unit."""

    text: str
    advanced: bool = False
    """Folded away in the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One setting as a form or a command needs to know it."""

    name: str
    type: Any
    """``int``, ``float``, ``bool``, ``str``, a child of `Config`, or ``tuple`` (of strings)."""
    default: Any = None
    required: bool = False
    """It has no default."""
    optional: bool = False
    """None is a value."""
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """What a number may be instead of a number."""
    range: Range | None = None
    help: str = ""
    advanced: bool = False


class Config:
    """Base of all settings; see the module's example."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check every field; children that check more call this first."""
        for spec in self.fields():
            _check(f"{type(self).__name__}.{spec.name}", spec, getattr(self, spec.name))

    @classmethod
    def fields(cls) -> tuple[FieldSpec, ...]:
        """Return the settings in the order of their declaration."""
        return _field_specs(cls)  # type: ignore[arg-type] # mypy takes the instances' hash

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from JSON values; an unknown key is a `ConfigError`."""
        specs = {spec.name: spec for spec in cls.fields()}
        if not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__} needs named settings, not {type(values).__name__}.")
        unknown = [str(key) for key in values if key not in specs]
        if unknown:
            raise ConfigError(
                f"{cls.__name__} has no setting {unknown[0]!r}; it has {', '.join(specs)}."
            )
        lacking = [
            spec.name for spec in specs.values() if spec.required and spec.name not in values
        ]
        if lacking:
            raise ConfigError(f"{cls.__name__} lacks the setting {lacking[0]!r}.")
        return cls(**{name: _from_json(specs[name], value) for name, value in values.items()})

    def to_dict(self) -> dict[str, Json]:
        """Return the settings as JSON values."""
        return {spec.name: _to_json(getattr(self, spec.name)) for spec in self.fields()}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked again."""
        return type(self).from_dict({**self.to_dict(), **changes})


@cache
def _field_specs(cls: type[Any]) -> tuple[FieldSpec, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_field_spec(field, hints[field.name]) for field in dataclasses.fields(cls))


def _field_spec(field: dataclasses.Field[Any], hint: Any) -> FieldSpec:
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is typing.Annotated:
        hint, *rest = get_args(hint)
        extras = tuple(rest)
    args = get_args(hint)
    optional = get_origin(hint) in (typing.Union, types.UnionType) and type(None) in args
    words: tuple[str, ...] = ()
    if optional:
        hint, *spelt = (arg for arg in args if arg is not type(None))
        words = tuple(word for literal in spelt for word in get_args(literal))
    choices = get_args(hint) if get_origin(hint) is typing.Literal else ()
    notes = next((extra for extra in extras if isinstance(extra, Help)), Help(""))
    default: Any = None if field.default is dataclasses.MISSING else field.default
    made = field.default_factory is not dataclasses.MISSING
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return FieldSpec(
        name=field.name,
        type=str if choices else get_origin(hint) or hint,
        default=default,
        required=field.default is dataclasses.MISSING and not made,
        optional=optional,
        choices=choices,
        words=words,
        range=next((extra for extra in extras if isinstance(extra, Range)), None),
        help=notes.text,
        advanced=notes.advanced,
    )


def _check(where: str, spec: FieldSpec, value: Any) -> None:
    if (value is None and spec.optional) or (isinstance(value, str) and value in spec.words):
        return
    expected = (int, float) if spec.type is float else spec.type
    wrong_bool = isinstance(value, bool) and spec.type is not bool
    if not isinstance(value, expected) or wrong_bool:
        raise ConfigError(f"{where} is {value!r}; give {_describe(spec)}.")
    if isinstance(value, tuple) and not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} is {value!r}; give {_describe(spec)}.")
    if spec.choices and value not in spec.choices:
        raise ConfigError(f"{where} is {value!r}; choose one of {', '.join(spec.choices)}.")
    if spec.type is float and not abs(value) <= sys.float_info.max:  # not for NaN either
        raise ConfigError(f"{where} is {value!r}; give a finite number.")
    if spec.range is not None and not spec.range.low <= value <= spec.range.high:
        raise ConfigError(
            f"{where} is {value!r}; give a value from {spec.range.low:g} to {spec.range.high:g}."
        )


def _describe(spec: FieldSpec) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    what = words.get(spec.type, "a list of names" if spec.type is tuple else spec.type.__name__)
    return " or ".join((what, *spec.words))


def _from_json(spec: FieldSpec, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, Mapping) and isinstance(spec.type, type) and issubclass(spec.type, Config):
        return spec.type.from_dict(value)
    return value


def _to_json(value: Any) -> Json:
    if isinstance(value, Config):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def merged(
    stored: Mapping[str, Json], before: Mapping[str, Json], after: Mapping[str, Json]
) -> dict[str, Json]:
    """Return `stored` with whatever differs between `before` and `after`, setting by setting."""
    result = dict(stored)
    for key, new in after.items():
        old, there = before.get(key), stored.get(key)
        nested = isinstance(new, dict) and isinstance(old, dict) and isinstance(there, dict)
        if new != old:
            result[key] = merged(there, old, new) if nested else new  # type: ignore[arg-type]
    return result
