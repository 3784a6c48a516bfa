"""Views on one scale."""

from __future__ import annotations

import numpy as np
import pytest

from src_core.models.standardise import Standardiser


def test_chunks_give_what_the_whole_gives() -> None:
    data = np.random.default_rng(0).normal(1e4, 3.0, (500, 7)).astype(np.float32)
    chunked = Standardiser.fit(iter([data[:13], data[13:13], data[13:400], data[400:]]))
    wide = data.astype(np.float64)
    np.testing.assert_allclose(chunked.mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(chunked.scale, 1 / (wide.std(axis=0) * np.sqrt(7)), rtol=1e-5)


def test_wide_view_does_not_drown_a_narrow_one() -> None:
    rng = np.random.default_rng(0)
    lengths = []
    for dim, spread in ((2_560, 40.0), (8, 0.01)):
        view = rng.normal(3, spread, (2_000, dim)).astype(np.float32)
        lengths.append(np.square(Standardiser.fit([view]).apply(view)).sum(axis=1).mean())
    np.testing.assert_allclose(lengths, [1, 1], rtol=1e-3)


def test_constant_dimension_gives_zero_not_infinity() -> None:
    data = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    data[:, 1] = 0.1
    standardised = Standardiser.fit([data[:20], data[20:]]).apply(data)
    assert np.isfinite(standardised).all()
    assert not standardised[:, 1].any()
    assert standardised.dtype == np.float32
    one = Standardiser.fit([data[:1]])
    assert not one.apply(data).any()


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="no embedding"):
        Standardiser.fit([np.zeros((0, 3), np.float32)])


def test_rows_are_written_where_they_are_wanted() -> None:
    rng = np.random.default_rng(0)
    view = rng.normal(3, 2, (50, 6)).astype(np.float16)
    scale = Standardiser.fit([view.astype(np.float32)])
    wide = np.full((50, 9), 7, np.float32)
    scale.apply(view.astype(np.float32), out=wide[:, 2:8])
    np.testing.assert_array_equal(wide[:, 2:8], scale.apply(view.astype(np.float32)))
    assert (wide[:, [0, 1, 8]] == 7).all()
