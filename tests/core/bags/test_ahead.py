"""Items made one ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from src_core.bags.ahead import read_ahead


def _helpers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("read-ahead")]


def test_items_come_in_order_and_one_is_made_ahead() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    taken = read_ahead(items())
    assert next(taken) == 0
    assert second.wait(timeout=30)
    assert made == [0, 1]
    assert [0, *taken] == [0, 1, 2, 3, 4]
    assert _helpers() == []


def test_an_error_is_raised_where_its_item_would_have_been() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    taken = read_ahead(items())
    assert next(taken) == 1
    with pytest.raises(KeyError, match="broken"):
        next(taken)
    assert _helpers() == []


def test_a_loop_that_is_left_leaves_no_thread() -> None:
    with closing(read_ahead(iter(range(10)))) as taken:
        assert next(taken) == 0
        assert _helpers() == ["read-ahead_0"]
    assert _helpers() == []


def test_nothing_yields_nothing() -> None:
    assert list(read_ahead(iter(()))) == []
