from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from src_core.clustering import ClusterConfig, MultiViewSpectralClustering, cluster_views
from src_core.clustering.quality import nmi
from src_core.clustering.views import prepare_views
from src_core.errors import GridMismatchError, JobCancelled, TooFewPatchesError
from src_core.progress import Progress
from src_core.types import Labels
from tests.core.clustering.dense_reference import (
    blob_views,
    dense_embedding,
    dense_graph,
    dense_leading,
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


def test_graph_of_more_pieces_than_clusters() -> None:
    rng = np.random.default_rng(0)
    pieces = np.repeat(np.arange(40), 15)
    views = [rng.normal(size=(600, 4)) * 0.01 + 10 * pieces[:, None] for _ in range(2)]
    result = cluster_views(views, ClusterConfig(n_clusters=10))
    assert result.n_clusters == 10
    assert np.isfinite(result.agreement).all()


def test_same_seed_same_labels_and_numbered_by_size() -> None:
    views, truth = blob_views(400, 5)
    config = ClusterConfig(n_clusters=5)
    first, second = cluster_views(views, config), cluster_views(views, config)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.agreement, second.agreement)
    np.testing.assert_array_equal(first.typical, second.typical)
    assert (np.diff(np.bincount(first.labels)) <= 0).all()
    assert adjusted_rand_score(truth, first.labels) > 0.99
    assert first.labels.dtype == np.int32
    embedding = MultiViewSpectralClustering(5, random_state=0).fit(views).embedding_
    assert embedding.shape == (400, 15)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), np.sqrt(3), rtol=1e-5)


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
    assert np.isfinite(result.agreement).all()
    assert 2 <= result.n_clusters <= 50
    assert result.labels.max() == result.n_clusters - 1
    two = np.repeat(np.eye(2), 40, axis=0)
    labels = cluster_views([two, two], ClusterConfig(n_clusters=2)).labels
    assert adjusted_rand_score(np.repeat([0, 1], 40), labels) == 1.0


def test_copies_share_a_cluster_where_neighbours_come_from_lists() -> None:
    rng = np.random.default_rng(0)
    which = rng.permutation(np.repeat(np.arange(5), 1300))
    views = [rng.normal(size=(5, width))[which] for width in (4, 200)]
    labels = cluster_views(views, ClusterConfig(n_clusters=5)).labels
    assert adjusted_rand_score(which, labels) == 1.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 10, 11, 19, 20, 35, 120])
def test_any_number_of_patches(n: int) -> None:
    views, _ = blob_views(max(n, 2), 3, seed=n)
    result = cluster_views([view[:n] for view in views], ClusterConfig())
    assert result.labels.shape == (n,)
    assert 1 <= result.n_clusters <= max(1, n // 10)
    assert np.isfinite(result.agreement).all()


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
    assert np.isfinite(result.agreement).all()
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
    assert copy.get_params() == {**model.get_params(), "n_iter": 3}
    assert model.n_iter == 10


class _TwoViews(MultiViewSpectralClustering):
    """One matrix taken as two views, which is all that scikit-learn's checks can give."""

    def __init__(
        self, n_clusters: int = 3, *, n_neighbors: int = 5, random_state: int | None = None
    ) -> None:
        super().__init__(n_clusters, n_neighbors=n_neighbors, random_state=random_state)

    def fit(self, X: Any, y: None = None) -> Self:  # type: ignore[override]
        X = validate_data(self, X, dtype=[np.float32, np.float64], ensure_min_samples=2)
        return super().fit(self._halves(X))

    def predict(self, X: Any) -> Labels:  # type: ignore[override]
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return super().predict(self._halves(X))

    def fit_predict(self, X: Any, y: None = None) -> Labels:  # type: ignore[override]
        return self.fit(X).labels_

    def _halves(self, X: NDArray) -> list[NDArray]:
        half = X.shape[1] // 2
        return [X[:, :half], X[:, half:]] if half else [X]


@parametrize_with_checks([_TwoViews()])
def test_estimator_keeps_the_contract_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("neighbors", ["exact", "listed"])
def test_patches_that_were_seen_keep_their_clusters(neighbors: str) -> None:
    views, _ = blob_views(1500, 6, widths=(6, 120))
    model = MultiViewSpectralClustering(6, neighbors=neighbors, random_state=0).fit(views)  # type: ignore[arg-type]
    assert adjusted_rand_score(model.labels_, model.predict(views)) > 0.98


def test_patches_that_were_not_seen_get_the_clusters_that_they_would_have_had() -> None:
    views, truth = blob_views(3000, 8, seed=3)
    whole = MultiViewSpectralClustering(8, random_state=0).fit_predict(views)
    part = MultiViewSpectralClustering(8, random_state=0).fit([view[:2000] for view in views])
    guessed = part.predict([view[2000:] for view in views])
    assert adjusted_rand_score(whole[2000:], guessed) > 0.97
    assert adjusted_rand_score(truth[2000:], guessed) > 0.97


def test_unseen_patches_need_the_same_views() -> None:
    views, _ = blob_views(200, 3)
    flat = np.ones((200, 4))
    model = MultiViewSpectralClustering(3, random_state=0).fit([views[0], flat, views[1]])
    assert model.predict([views[0][:5], flat[:5], views[1][:5]]).shape == (5,)
    with pytest.raises(GridMismatchError, match="2 views do not fit clusters of 3"):
        model.predict(views[:2])
    with pytest.raises(ValueError, match="do not fit 6 dimensions"):
        model.predict([views[1], flat, views[1]])
    with pytest.raises(NotFittedError):
        MultiViewSpectralClustering(3).predict(views)
    one = MultiViewSpectralClustering(1).fit(views)
    np.testing.assert_array_equal(one.predict([view[:3] for view in views]), 0)


def test_lists_and_axes_lose_little_on_many_patches() -> None:
    views, _ = blob_views(3000, 12, widths=(20, 150, 300), seed=1)
    exact, listed = (
        MultiViewSpectralClustering(12, neighbors=way, random_state=0).fit_predict(views)
        for way in ("exact", "listed")
    )
    assert adjusted_rand_score(exact, listed) > 0.98
