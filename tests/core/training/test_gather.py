"""Gathering, widening and standardising in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.embeddings.stored import Stored, StoredEmbeddings
from src_core.training.gather import gather_standardised
from src_core.types import Float32

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, 1024)
"""Every number that half precision has: infinite ones, those next to 0, and what is none."""


def gathered(views: list[Stored], mean: Float32, scale: Float32) -> Float32:
    out = np.full((len(views[0].places), len(mean)), np.nan, np.float32)
    gather_standardised(views, mean, scale, out)
    return out


def test_every_number_of_half_precision_is_widened_as_numpy_widens_it() -> None:
    with np.errstate(invalid="ignore"):
        expected = HALVES.astype(np.float32)
    zeros, ones = np.zeros(1024, np.float32), np.ones(1024, np.float32)
    out = gathered([Stored(HALVES, np.arange(64))], zeros, ones)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))


@given(seed=st.integers(0, 2**32 - 1), dims=st.lists(st.integers(1, 70), min_size=1, max_size=3))
def test_views_stand_side_by_side_standardised_to_the_last_bit(seed: int, dims: list[int]) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["float16", "float32"], len(dims))
    views: list[StoredEmbeddings] = [
        rng.normal(2, 3, (9, dim)).astype(kind) for dim, kind in zip(dims, kinds, strict=True)
    ]
    rows = [rng.integers(0, 9, 5) for _ in dims]
    mean, scale = rng.normal(size=(2, sum(dims))).astype(np.float32)
    wide = np.concatenate(
        [view[row].astype(np.float32) for view, row in zip(views, rows, strict=True)], axis=1
    )
    out = gathered([Stored(view, row) for view, row in zip(views, rows, strict=True)], mean, scale)
    np.testing.assert_array_equal(out, (wide - mean) * scale)


def test_files_are_read_in_whichever_order_they_are_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float16)
    scale, mean = np.ones(4, np.float32), np.zeros(4, np.float32)
    for written in (values, np.asfortranarray(values)):
        np.save(tmp_path / "x.npy", written)
        stored = Stored(np.load(tmp_path / "x.npy", mmap_mode="r"), np.array([5, 0]))
        np.testing.assert_array_equal(gathered([stored], mean, scale), values[[5, 0]])


@pytest.mark.parametrize("row", [-1, 6])
def test_no_memory_is_read_but_that_of_stored_rows(row: int) -> None:
    stored = Stored(np.zeros((6, 4), np.float16), np.array([0, row]))
    with pytest.raises(IndexError, match="6 rows are stored"):
        gathered([stored], np.zeros(4, np.float32), np.ones(4, np.float32))


def test_views_of_another_length_are_refused() -> None:
    views = [Stored(np.zeros((6, 4), np.float16), np.arange(k)) for k in (2, 3)]
    with pytest.raises(IndexError, match="not those of all patches"):
        gathered(views, np.zeros(8, np.float32), np.ones(8, np.float32))


def test_a_scale_of_another_width_is_refused() -> None:
    stored = Stored(np.zeros((6, 4), np.float16), np.arange(6))
    with pytest.raises(ValueError, match=r"\(6, 4\) do not fit"):
        gathered([stored], np.zeros(5, np.float32), np.ones(5, np.float32))
