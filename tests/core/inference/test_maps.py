from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from src_core.inference.maps import (
    centred_reach,
    magnitude,
    map_auroc,
    percentiles,
    signed_percentiles,
    smoothed,
    to_raster,
)

CELLS = np.array([[1, 0], [3, 0], [0, 2]], dtype=np.int32)  # (col, row)


def test_a_value_lands_on_its_cell_and_the_rest_is_missing() -> None:
    raster = to_raster(np.array([1.0, 2.0, 3.0]), CELLS, (3, 4))
    assert (raster[0, 1], raster[0, 3], raster[2, 0]) == (1, 2, 3)
    assert np.isnan(raster).sum() == 9
    assert to_raster(np.zeros((3, 4)), CELLS, (3, 4)).shape == (3, 4, 4)
    with pytest.raises(ValueError, match="2 values for 3 cells"):
        to_raster(np.zeros(2), CELLS, (3, 4))


def test_percentiles_keep_order_ties_and_gaps() -> None:
    ranks = percentiles(np.array([5.0, np.nan, 1.0, 5.0, 100.0]))
    np.testing.assert_allclose(ranks, [0.5, np.nan, 0.0, 0.5, 1.0])
    assert percentiles(np.array([np.nan, 2.0]))[1] == 1
    assert np.isnan(percentiles(np.array([np.nan]))).all()


def test_signed_percentiles_keep_sign_order_ties_and_gaps() -> None:
    ranks = signed_percentiles(np.array([5.0, np.nan, -0.001, 0.0, -5.0, 100.0]))
    np.testing.assert_allclose(ranks, [0.7, np.nan, -0.4, 0.0, -0.7, 1.0], rtol=1e-6)
    assert signed_percentiles(np.array([np.nan, -2.0]))[1] == -1
    assert np.isnan(signed_percentiles(np.array([np.nan]))).all()


@pytest.mark.parametrize("seed", range(5))
def test_ranks_follow_the_order_of_heavy_tails_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.standard_cauchy(300), 1).astype(np.float32)  # zeros and ties
    values[rng.random(300) < 0.1] = np.nan
    known = np.isfinite(values)
    some, ranks = values[known], signed_percentiles(values)
    assert np.isnan(ranks[~known]).all()
    np.testing.assert_array_equal(np.sign(ranks[known]), np.sign(some))
    np.testing.assert_array_equal(signed_percentiles(-values), -ranks)
    by_size = np.abs(ranks[known])[np.argsort(np.abs(some))]
    assert (np.diff(by_size) >= 0).all()
    in_order = np.argsort(some)
    rises = np.diff(some[in_order]) > 0
    for found in (ranks, percentiles(values)):
        np.testing.assert_array_equal(np.diff(found[known][in_order]) > 0, rises)
    mean_ranks = (rankdata(some) - 1) / (len(some) - 1)
    np.testing.assert_allclose(percentiles(values)[known], mean_ranks, rtol=1e-6)


def test_a_centred_bar_goes_to_a_round_number_not_much_farther_than_it_must() -> None:
    for reach in np.geomspace(1e-6, 1e6, 400).tolist():
        found = centred_reach(np.array([-reach, reach, np.nan]))
        assert reach * 0.98 <= found <= reach * 1.5
        assert float(f"{found:.1e}") == pytest.approx(found, rel=1e-12)
    assert centred_reach([0.0]) > 0


def test_smoothing_keeps_missing_cells_and_whole_edges() -> None:
    raster = np.array([[1, np.nan, 3], [4, 5, np.nan]], dtype=np.float32)
    large = smoothed(raster)
    assert large.shape == (16, 24)
    assert np.array_equal(np.isnan(large), np.kron(np.isnan(raster), np.ones((8, 8))) == 1)
    around = large.reshape(2, 8, 3, 8)[:, 3:5, :, 3:5].mean(axis=(1, 3))
    assert np.allclose(around, raster, atol=0.2, equal_nan=True), "around the centres"
    assert large[12, 7] > 4, "between two centres it lies between their values"


def test_a_constant_stays_one_to_its_edge() -> None:
    raster = np.full((9, 9), np.nan, dtype=np.float32)
    raster[2:7, 2:7] = 4.0
    np.testing.assert_array_equal(smoothed(raster), raster.repeat(8, axis=0).repeat(8, axis=1))


def test_a_map_is_smoothed_to_what_a_picture_can_hold_and_nothing_stays_nothing() -> None:
    assert smoothed(np.zeros((2, 1000))).shape == (8, 4000)
    assert smoothed(np.zeros((2, 3000))).shape == (2, 3000)
    assert np.isnan(smoothed(np.full((2, 3), np.nan))).all()


def test_magnitude_forgets_the_direction() -> None:
    np.testing.assert_allclose(
        magnitude(np.array([[1.0, -1.0], [-2.0, 2.0], [0.5, 0.5]])), [2, 4, 0]
    )


def test_a_map_is_scored_where_it_and_the_truth_are_known() -> None:
    values = np.array([0.9, 0.1, np.nan, 0.8, 0.2])
    assert map_auroc(values, np.array([True, False, True, True, False])).value == 1.0
