from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from src_core.clustering.spectral import (
    _eigh,
    _inverse_root,
    leading_of_filtered,
    leading_of_graph,
    rows_of_length_one,
)
from tests.core.clustering.dense_reference import (
    blob_views,
    dense_graph,
    dense_leading,
    symmetric,
)


def _columns(graph: NDArray) -> torch.Tensor:
    """Return where the ones of each row are."""
    return torch.from_numpy(np.nonzero(graph)[1].reshape(len(graph), -1))


def _filtered(graph: NDArray, others: NDArray, count: int) -> NDArray:
    return leading_of_filtered(_columns(graph), torch.from_numpy(others), count).numpy()


def test_factored_round_equals_the_dense_one() -> None:
    rng = np.random.default_rng(0)
    graph = dense_graph(rng.normal(size=(80, 5)), 6)
    others = np.linalg.qr(rng.normal(size=(80, 8)))[0]
    degrees = symmetric(graph @ others @ others.T).sum(axis=1)
    assert degrees.min() < 0 < degrees.max()  # the trap is there
    expected = dense_leading(symmetric(graph @ others @ others.T), 4)
    found = _filtered(graph, others, 4)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-9)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-10)


def test_a_degree_of_zero_divides_nothing() -> None:
    degrees = torch.tensor([4.0, 0.0, -4.0, 1e-18], dtype=torch.float64)
    np.testing.assert_allclose(_inverse_root(degrees).numpy(), [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(_inverse_root(torch.zeros(3)).numpy(), np.zeros(3))
    graph = np.kron(np.eye(4), np.ones((5, 5)))
    others = np.linalg.qr(np.kron(np.eye(4), np.ones((5, 1))))[0]
    others[5:10] = 0.0  # nobody else knows the second group
    found = _filtered(graph, others, 3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[5:10], 0.0)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-10)


def test_equal_eigenvalues_on_which_divide_and_conquer_gives_up_are_found_all_the_same() -> None:
    """Of 361 real patches, many of them repeated; LAPACK's syevd of OpenBLAS 0.3.31 fails on it."""
    path = Path(__file__).parent / "golden" / "many_equal_eigenvalues.npy"
    matrix = np.load(path, allow_pickle=False)
    matrix = (matrix + matrix.T) / 2
    values, vectors = _eigh(matrix)
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(matrix)), atol=1e-12)
    assert (np.diff(values) >= 0).all()


def test_lanczos_finds_what_the_dense_solver_finds() -> None:
    views, _ = blob_views(700, 6)
    graph = dense_graph(views[1], 10)
    found = leading_of_graph(_columns(graph), 6, seed=0, dtype=torch.float64).numpy()
    expected = dense_leading(graph, 6)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-8)


@pytest.mark.parametrize("n", [700, 3000])
def test_single_precision_finds_the_same_space(n: int) -> None:
    views, _ = blob_views(n, 6)
    columns = _columns(dense_graph(views[1], 10))
    exact = leading_of_graph(columns, 6, seed=0, dtype=torch.float64)
    rough = leading_of_graph(columns, 6, seed=1, dtype=torch.float32)
    assert rough.dtype == torch.float32
    assert np.linalg.svd((exact.T @ rough.double()).numpy())[1].min() > 0.9999
    again = leading_of_filtered(columns, rough, 6)
    expected = leading_of_filtered(columns, exact, 6)
    assert np.linalg.svd((expected.T @ again.double()).numpy())[1].min() > 0.9999


def test_a_row_of_zeros_stays() -> None:
    rows = rows_of_length_one(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows.numpy(), [[0.6, 0.8], [0.0, 0.0]])
