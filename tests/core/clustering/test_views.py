from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.clustering import views as module
from src_core.clustering.views import moments, prepare_views, standardise
from src_core.errors import GridMismatchError


def test_dimensions_have_mean_0_and_rows_length_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 8 * 33 * 40)  # many chunks, the last one short
    view = np.random.default_rng(0).normal(3, 5, (1001, 33))
    out = standardise(view)
    assert out.dtype == np.float32
    expected = (view - view.mean(axis=0)) / view.std(axis=0) / np.sqrt(33)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert np.mean((out**2).sum(axis=1)) == pytest.approx(1, abs=1e-5)


def test_wide_and_narrow_views_weigh_the_same() -> None:
    rng = np.random.default_rng(0)
    wide, narrow = prepare_views([rng.normal(size=(500, 400)), 1e4 * rng.normal(size=(500, 3))])
    assert (wide**2).sum() == pytest.approx((narrow**2).sum(), rel=1e-4)


def test_constant_dimension_becomes_zero() -> None:
    view = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    view[:, 1] = 0.1
    out = standardise(view)
    np.testing.assert_array_equal(out[:, 1], 0)
    assert (out[:, [0, 2]].std(axis=0) > 0).all()
    assert not moments(view).is_constant
    assert moments(view[:, 1:2]).is_constant


def test_large_offsets_do_not_drown_the_spread() -> None:
    view = np.random.default_rng(0).normal(size=(400, 5)) + 1e4
    np.testing.assert_allclose(standardise(view).std(axis=0), 1 / np.sqrt(5), rtol=1e-5)


def test_reads_memory_maps_of_half_precision(tmp_path: Path) -> None:
    view = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float16)
    np.save(tmp_path / "view.npy", view)
    mapped = np.load(tmp_path / "view.npy", mmap_mode="r")
    np.testing.assert_array_equal(standardise(mapped), standardise(view.astype(np.float64)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_named(bad: float) -> None:
    good = np.ones((20, 2))
    view = np.ones((20, 3))
    view[13, 2] = bad
    with pytest.raises(ValueError, match="View 1 holds NaN or infinity at patch 13"):
        prepare_views([good, view])


def test_views_must_fit_together() -> None:
    with pytest.raises(GridMismatchError, match="5, 4 patches"):
        prepare_views([np.ones((5, 2)), np.ones((4, 2))])
    with pytest.raises(ValueError, match="at least one view"):
        prepare_views([])
    with pytest.raises(ValueError, match="shape"):
        prepare_views([np.ones(5)])
    with pytest.raises(ValueError, match="a list of views"):
        prepare_views(np.ones((5, 2)))  # type: ignore[arg-type]


def test_numbers_too_large_to_be_squared_are_told() -> None:
    view = np.random.default_rng(0).normal(size=(20, 3)) * 1e20
    with pytest.raises(ValueError, match="too large to be compared"):
        standardise(view)
