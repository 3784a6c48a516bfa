"""Settings: checked when made, the same after JSON, described for forms and commands."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.config import Config, Help, Range
from src_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Config):
    depth: Annotated[int, Range(1, 9)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Config):
    size: Annotated[int, Range(1, 8), Help("Patches per bag")] = 4
    rate: Annotated[float, Range(0.0, 1.0), Help("Learning rate", advanced=True)] = 0.5
    top: Annotated[int | None, Range(1, 64)] = None
    way: Literal["cluster", "grid"] = "cluster"
    names: tuple[str, ...] = ("lite0", "texture")
    fast: bool = False
    title: str = ""
    inner: Inner = field(default_factory=Inner)


def test_defaults_pass_their_own_checks() -> None:
    assert Outer() == Outer.from_dict({})
    assert Outer().inner == Inner()


def test_the_fields_are_described_for_a_form() -> None:
    specs = {spec.name: spec for spec in Outer.fields()}
    assert list(specs) == ["size", "rate", "top", "way", "names", "fast", "title", "inner"]
    assert specs["size"].type is int
    assert specs["size"].range == Range(1, 8)
    assert specs["size"].help == "Patches per bag"
    assert specs["size"].default == 4
    assert not specs["size"].advanced
    assert specs["rate"].advanced
    assert specs["top"].optional
    assert specs["top"].type is int
    assert specs["way"].choices == ("cluster", "grid")
    assert specs["way"].type is str
    assert specs["names"].type is tuple
    assert specs["inner"].type is Inner
    assert specs["inner"].default == Inner()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 9}, "Outer.size is 9; give a value from 1 to 8"),
        ({"size": 0}, "from 1 to 8"),
        ({"size": 4.0}, "a whole number"),
        ({"size": True}, "a whole number"),
        ({"size": "4"}, "a whole number"),
        ({"size": None}, "a whole number"),
        ({"rate": float("nan")}, "finite"),
        ({"rate": float("inf")}, "finite"),
        ({"rate": "fast"}, "a number"),
        ({"top": 0}, "from 1 to 64"),
        ({"way": "diagonal"}, "choose one of cluster, grid"),
        ({"names": ["lite0", 3]}, "a list of names"),
        ({"names": "lite0"}, "a list of names"),
        ({"fast": 1}, "true or false"),
        ({"title": 3}, "text"),
        ({"inner": {"depth": 99}}, "Inner.depth is 99"),
        ({"inner": {"width": 1}}, "Inner has no setting 'width'; it has depth"),
        ({"inner": 3}, "Outer.inner is 3"),
        ({"sise": 3}, "Outer has no setting 'sise'; it has size, rate"),
        ([1], "needs named settings"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_the_way_out(values: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.from_dict(values)
    assert words in str(caught.value)


def test_the_constructor_checks_as_well() -> None:
    with pytest.raises(ConfigError, match=r"Outer\.size"):
        Outer(size=9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needy(Config):
    count: int
    title: str = ""


def test_a_setting_without_a_default_is_marked_as_required() -> None:
    assert [(spec.name, spec.required) for spec in Needy.fields()] == [
        ("count", True),
        ("title", False),
    ]
    assert not any(spec.required for spec in Outer.fields())
    assert Needy.from_dict({"count": 3}) == Needy(count=3)


def test_settings_do_not_change_after_the_check() -> None:
    with pytest.raises(FrozenInstanceError):
        Outer().size = 3  # type: ignore[misc]


def test_replace_checks_again_and_keeps_the_rest() -> None:
    changed = Outer(rate=0.25, inner=Inner(depth=7)).replace(size=3)
    assert changed == Outer(rate=0.25, inner=Inner(depth=7), size=3)
    with pytest.raises(ConfigError):
        changed.replace(size=99)
    assert changed.replace(inner={"depth": 1}).inner == Inner(depth=1)


def test_a_whole_number_will_do_where_a_number_is_asked_for() -> None:
    assert Outer(rate=1).rate == 1


@given(
    st.builds(
        Outer,
        size=st.integers(1, 8),
        rate=st.floats(0, 1),
        top=st.none() | st.integers(1, 64),
        way=st.sampled_from(["cluster", "grid"]),
        names=st.lists(st.text(max_size=8), max_size=4).map(tuple),
        fast=st.booleans(),
        title=st.text(max_size=20),
        inner=st.builds(Inner, depth=st.integers(1, 9)),
    )
)
def test_settings_survive_json(config: Outer) -> None:
    assert Outer.from_dict(json.loads(json.dumps(config.to_dict()))) == config
