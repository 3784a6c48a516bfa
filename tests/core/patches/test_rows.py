"""Rows as texts: there and back, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import ConfigError
from src_core.patches.rows import are_written_rows, read_rows, rows_digest, told_rows, written_rows


@given(st.lists(st.integers(0, 99)))
def test_rows_survive(rows: list[int]) -> None:
    texts = written_rows(np.array(rows, dtype=np.int64))
    assert read_rows(texts, 100).tolist() == sorted(set(rows))
    assert are_written_rows(texts, 100)


@given(st.sets(st.integers(0, 99), min_size=1), st.sets(st.integers(0, 99), min_size=1))
def test_sets_of_rows_are_told_apart(rows: set[int], others: set[int]) -> None:
    one, other = (written_rows(np.array(sorted(some))) for some in (rows, others))
    assert (rows_digest(one) == rows_digest(other)) == (rows == others)
    assert (told_rows(one) == told_rows(other)) == (rows == others)
    assert len(told_rows(one)) < 50


@pytest.mark.parametrize(
    "texts", [("2", "1"), ("1-3", "3"), ("1", "2"), ("3-2",), ("7-8",), ("x",), ("1 ",)]
)
def test_texts_that_rows_are_not_written_as(texts: tuple[str, ...]) -> None:
    assert not are_written_rows(texts, 8)


@pytest.mark.parametrize("text", ["", "-1", "a", "3-", "5-4", "8", "0-8", "٣", "9" * 5000])
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no number of a patch|There are no patches"):
        read_rows([text], 8)
