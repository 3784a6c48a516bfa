"""Rows as texts: there and back, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import ConfigError
from src_core.patches.rows import read_rows, written_rows


@given(st.lists(st.integers(0, 99)))
def test_rows_survive(rows: list[int]) -> None:
    texts = written_rows(np.array(rows, dtype=np.int64))
    assert read_rows(texts, 100).tolist() == sorted(set(rows))


@pytest.mark.parametrize("text", ["", "-1", "a", "3-", "5-4", "8", "0-8", "٣", "9" * 5000])
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no number of a patch|There are no patches"):
        read_rows([text], 8)
