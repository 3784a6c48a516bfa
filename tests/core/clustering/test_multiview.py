from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from src_core.clustering import ClusterConfig, MultiViewSpectralClustering, cluster_views
from src_core.clustering.multiview import (
    _by_size,
    _inverse_root,
    _leading_of_filtered,
    _leading_of_graph,
)
from src_core.clustering.quality import nmi
from src_core.clustering.views import prepare_views
from src_core.errors import GridMismatchError, JobCancelled, TooFewPatchesError
from src_core.progress import Progress
from tests.core.clustering.dense_reference import (
    blob_views,
    dense_embedding,
    dense_graph,
    dense_leading,
    symmetric,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def digits(shared_data: Path) -> tuple[list[NDArray], NDArray]:
    """Six views of 2,000 digits, standardised, and the digits."""
    with np.load(shared_data / "bags" / "uci_mfeat.npz") as stored:
        views = [stored[name] for name in ("fou", "fac", "kar", "pix", "zer", "mor")]
        return prepare_views(views), stored["y"]


def test_digits_are_grouped_as_by_mvlearn(digits: tuple[list[NDArray], NDArray]) -> None:
    views, truth = digits
    labels = MultiViewSpectralClustering(10, random_state=10).fit_predict(views)
    assert adjusted_rand_score(np.load(GOLDEN / "digits_k10.npy"), labels) == 1.0
    assert nmi(labels, truth) == pytest.approx(0.882, abs=0.002)


def test_digits_are_grouped_as_by_the_dense_reference(
    digits: tuple[list[NDArray], NDArray],
) -> None:
    views = [view[::8] for view in digits[0]]
    expected = KMeans(10, n_init=10, random_state=3).fit_predict(dense_embedding(views, 10))
    labels = MultiViewSpectralClustering(10, random_state=3).fit_predict(views)
    assert adjusted_rand_score(expected, labels) == 1.0


@pytest.mark.parametrize(("n", "k", "seed"), [(500, 8, 0), (1000, 20, 1)])
def test_blobs_are_grouped_as_by_mvlearn(n: int, k: int, seed: int) -> None:
    views, _ = blob_views(n, k, seed=seed)
    labels = MultiViewSpectralClustering(k, random_state=k).fit_predict(views)
    assert adjusted_rand_score(np.load(GOLDEN / f"blobs_{n}_k{k}.npy"), labels) == 1.0


@pytest.mark.parametrize(("n", "k"), [(60, 3), (240, 8), (300, 20)])
def test_embedding_is_the_dense_references(n: int, k: int) -> None:
    views, _ = blob_views(n, k, seed=n)
    expected = dense_embedding(views, k)
    found = MultiViewSpectralClustering(k, random_state=0).fit(views).embedding_.astype(np.float64)
    for view in range(3):  # equal up to a rotation inside each view: compare inner products
        columns = slice(view * k, (view + 1) * k)
        np.testing.assert_allclose(
            found[:, columns] @ found[:, columns].T,
            expected[:, columns] @ expected[:, columns].T,
            atol=1e-5,
        )


def test_factored_round_equals_the_dense_one() -> None:
    rng = np.random.default_rng(0)
    graph = dense_graph(rng.normal(size=(80, 5)), 6)
    others = np.linalg.qr(rng.normal(size=(80, 8)))[0]
    degrees = symmetric(graph @ others @ others.T).sum(axis=1)
    assert degrees.min() < 0 < degrees.max()  # the trap is there
    expected = dense_leading(symmetric(graph @ others @ others.T), 4)
    found = _leading_of_filtered(sparse.csr_array(graph), others, 4)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-9)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-10)


def test_a_degree_of_zero_divides_nothing() -> None:
    np.testing.assert_allclose(_inverse_root(np.array([4.0, 0.0, -4.0, 1e-18])), [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(_inverse_root(np.zeros(3)), np.zeros(3))
    graph = np.kron(np.eye(4), np.ones((5, 5)))
    others = np.linalg.qr(np.kron(np.eye(4), np.ones((5, 1))))[0]
    others[5:10] = 0.0  # nobody else knows the second group
    found = _leading_of_filtered(sparse.csr_array(graph), others, 3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[5:10], 0.0)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-10)


def test_lanczos_finds_what_the_dense_solver_finds() -> None:
    views, _ = blob_views(700, 6)
    graph = dense_graph(views[1], 10)
    found = _leading_of_graph(sparse.csr_array(graph), 6, 0)
    expected = dense_leading(graph, 6)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-8)


def test_graph_of_more_pieces_than_clusters() -> None:
    rng = np.random.default_rng(0)
    pieces = np.repeat(np.arange(40), 15)
    views = [rng.normal(size=(600, 4)) * 0.01 + 10 * pieces[:, None] for _ in range(2)]
    result = cluster_views(views, ClusterConfig(n_clusters=10))
    assert result.n_clusters == 10
    assert np.isfinite(result.embedding).all()


def test_same_seed_same_labels_and_numbered_by_size() -> None:
    views, truth = blob_views(400, 5)
    config = ClusterConfig(n_clusters=5)
    first, second = cluster_views(views, config), cluster_views(views, config)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.embedding, second.embedding)
    assert (np.diff(np.bincount(first.labels)) <= 0).all()
    assert adjusted_rand_score(truth, first.labels) > 0.99
    assert first.labels.dtype == np.int32
    assert first.embedding.shape == (400, 15)
    np.testing.assert_allclose(np.linalg.norm(first.embedding, axis=1), np.sqrt(3), rtol=1e-5)


def test_equal_sizes_are_numbered_by_first_patch() -> None:
    np.testing.assert_array_equal(
        _by_size(np.array([7, 3, 3, 7, 5, 9, 9, 9])), [1, 2, 2, 1, 3, 0, 0, 0]
    )


def test_views_together_beat_each_alone() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 800)
    centres = rng.normal(size=(3, 4, 6)) * 1.1
    views = [centre[truth] + rng.normal(size=(800, 6)) for centre in centres]
    config = ClusterConfig(n_clusters=4)
    together = adjusted_rand_score(truth, cluster_views(views, config).labels)
    alone = [adjusted_rand_score(truth, cluster_views([view], config).labels) for view in views]
    assert together > max(alone) + 0.05


def test_one_view_is_plain_spectral_clustering() -> None:
    views, _ = blob_views(300, 4)
    found = MultiViewSpectralClustering(4, random_state=0).fit(views[:1]).embedding_
    expected = dense_leading(dense_graph(views[0], 10), 4)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_constant_view_takes_no_part() -> None:
    views, _ = blob_views(200, 4)
    config = ClusterConfig(n_clusters=4)
    flat = np.full((200, 7), 0.3, dtype=np.float16)
    with_flat = cluster_views([views[0], flat, views[1]], config)
    np.testing.assert_array_equal(with_flat.labels, cluster_views(views[:2], config).labels)
    assert with_flat.left_out == (1,)
    only_flat = cluster_views([flat, flat], config)
    assert only_flat.n_clusters == 1
    assert only_flat.left_out == (0, 1)


def test_repeated_patches_share_a_cluster() -> None:
    views, _ = blob_views(30, 6, seed=2)
    result = cluster_views([np.repeat(view, 20, axis=0) for view in views], ClusterConfig())
    assert np.isfinite(result.embedding).all()
    assert 2 <= result.n_clusters <= 50
    assert result.labels.max() == result.n_clusters - 1
    two = np.repeat(np.eye(2), 40, axis=0)
    labels = cluster_views([two, two], ClusterConfig(n_clusters=2)).labels
    assert adjusted_rand_score(np.repeat([0, 1], 40), labels) == 1.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 10, 11, 19, 20, 35, 120])
def test_any_number_of_patches(n: int) -> None:
    views, _ = blob_views(max(n, 2), 3, seed=n)
    result = cluster_views([view[:n] for view in views], ClusterConfig())
    assert result.labels.shape == (n,)
    assert 1 <= result.n_clusters <= max(1, n // 10)
    assert np.isfinite(result.embedding).all()


@pytest.mark.parametrize("n", [2, 3, 8, 12])
def test_as_many_clusters_as_patches(n: int) -> None:
    views, _ = blob_views(n, 2, seed=n)
    labels = MultiViewSpectralClustering(n, random_state=0).fit_predict(views)
    assert labels.shape == (n,)
    assert labels.max() < n


def test_an_outlier_spoils_nothing() -> None:
    views, truth = blob_views(300, 3)
    for view in views:
        view[17] = 1000.0
    result = cluster_views(views, ClusterConfig(n_clusters=3))
    others = np.arange(300) != 17
    assert np.isfinite(result.embedding).all()
    assert adjusted_rand_score(truth[others], result.labels[others]) > 0.95


def test_what_cannot_be_clustered_is_refused() -> None:
    views, _ = blob_views(40, 2)
    with pytest.raises(GridMismatchError, match="40, 39"):
        cluster_views([views[0], views[1][1:]], ClusterConfig())
    with pytest.raises(TooFewPatchesError):
        cluster_views([views[0][:0]], ClusterConfig())
    with pytest.raises(TooFewPatchesError, match="40 patches cannot form 41"):
        MultiViewSpectralClustering(41).fit(views)
    with pytest.raises(ValueError, match="at least one view"):
        cluster_views([], ClusterConfig())
    with pytest.raises(ValueError, match="n_clusters is 0"):
        MultiViewSpectralClustering(0).fit(views)
    views[1][7, 3] = np.nan
    with pytest.raises(ValueError, match="View 1 holds NaN or infinity"):
        MultiViewSpectralClustering(2).fit(views)


def test_progress_rises_to_its_end_and_stop_is_heard() -> None:
    views, _ = blob_views(200, 4)
    config = ClusterConfig(n_clusters=4)
    seen: list[Progress] = []
    cluster_views(views, config, report=seen.append)
    done = [moment.done for moment in seen]
    assert done == list(range(seen[0].total + 1))
    for limit in range(1, len(seen), 4):
        asked = iter([*[False] * limit, *[True] * 1000])
        with pytest.raises(JobCancelled):
            cluster_views(views, config, stop=asked.__next__)


def test_estimator_can_be_cloned_and_set() -> None:
    model = MultiViewSpectralClustering(7, n_neighbors=5, random_state=1)
    copy = clone(model).set_params(n_iter=3)
    assert copy.get_params() == {
        "n_clusters": 7,
        "n_neighbors": 5,
        "n_iter": 3,
        "random_state": 1,
    }
    assert model.n_iter == 10
