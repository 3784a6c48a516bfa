"""How well real patches are clustered, in several ways and by several seeds."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ENCODERS", "N_CLUSTERS", "N_SEEDS", "Views", "real_quality"]

N_CLUSTERS = 50
N_SEEDS = 10
ENCODERS = ("lite0", "lite1", "texture")

Views = list[NDArray[Any]]


def real_quality(patches: str) -> dict[str, Any]:
    """Compare ways of clustering real patches of three lung tissues."""
    views, truth, origins = _embedded(Path(patches))
    rows, multi_view = _compare_ways(views, truth, origins)
    return {
        "rows": rows,
        "n": len(truth),
        **_compare_seeds(views, truth, origins),
        **_predict(views, truth, multi_view),
    }


def _embedded(folder: Path) -> tuple[Views, NDArray[Any], NDArray[Any]]:
    from PIL import Image

    from src_core.encoders import create_encoder

    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    pixels = np.stack(
        [np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in table]
    )
    views = []
    for name in ENCODERS:
        encoder: Any = create_encoder(name, device="cpu")
        views.append(
            np.concatenate([encoder.encode(pixels[i : i + 64]) for i in range(0, len(pixels), 64)])
        )
    return (
        views,
        np.array([row["label"] for row in table]),
        np.array([row["group"] for row in table]),
    )


def _model(**how: Any) -> Any:
    from src_core.clustering import MultiViewSpectralClustering

    settings = {"n_clusters": N_CLUSTERS, "standardise": True, "random_state": 0, **how}
    return MultiViewSpectralClustering(**settings)


def _ways(views: Views, whole: NDArray[Any]) -> dict[str, Callable[[], NDArray[Any]]]:
    """Return what is timed; the models are made before, for that loads what they need."""
    from sklearn.cluster import KMeans

    k_means = KMeans(N_CLUSTERS, n_init=10, random_state=0)
    return {
        "multi-view": partial(_model().fit_predict, views),
        "multi-view, lists": partial(_model(neighbors="listed").fit_predict, views),
        **{
            f"{name} alone": partial(_model().fit_predict, [view])
            for name, view in zip(ENCODERS, views, strict=True)
        },
        "concatenated, spectral": partial(_model().fit_predict, [whole]),
        "concatenated, k-means": partial(k_means.fit_predict, whole),
    }


def _compare_ways(
    views: Views, truth: NDArray[Any], origins: NDArray[Any]
) -> tuple[dict[str, dict[str, float]], NDArray[Any]]:
    """Return the figures of each way, and the clusters of all views together."""
    from src_core.clustering.quality import calinski_harabasz, nmi, silhouette
    from src_core.clustering.views import prepare_views

    whole = np.hstack(prepare_views(views))
    rows: dict[str, dict[str, float]] = {}
    found: dict[str, NDArray[Any]] = {}
    for name, way in _ways(views, whole).items():
        began = time.perf_counter()
        labels = found[name] = np.asarray(way())
        seconds = time.perf_counter() - began
        rows[name] = {
            "tissue NMI": nmi(labels, truth),
            "origin NMI": nmi(labels, origins),
            "SC": silhouette(whole, labels),
            "CH": calinski_harabasz(whole, labels),
            "seconds": seconds,
        }
    return rows, found["multi-view"]


def _compare_seeds(views: Views, truth: NDArray[Any], origins: NDArray[Any]) -> dict[str, Any]:
    """Return what lists cost beside the exact graph, and what another seed changes."""
    from sklearn.metrics import adjusted_rand_score

    by_seed = {
        search: [
            _model(neighbors=search, random_state=seed).fit_predict(views)
            for seed in range(N_SEEDS)
        ]
        for search in ("exact", "listed")
    }
    gained = {
        search: [
            float(np.mean([adjusted_rand_score(known, one) for one in labels]))
            for known in (truth, origins)
        ]
        for search, labels in by_seed.items()
    }

    def agreement(pairs: Any) -> float:
        return float(np.mean([adjusted_rand_score(*one) for one in pairs]))

    return {
        "gained": gained,
        "loss": max(a - b for a, b in zip(gained["exact"], gained["listed"], strict=True)),
        "same": agreement(zip(*by_seed.values(), strict=True)),
        "another seed": agreement(pairwise(by_seed["exact"])),
    }


def _predict(views: Views, truth: NDArray[Any], multi_view: NDArray[Any]) -> dict[str, float]:
    """Return how well a quarter of the patches is predicted from the others."""
    from sklearn.metrics import adjusted_rand_score

    half = np.random.default_rng(0).permutation(len(truth))
    seen, unseen = half[: len(half) * 3 // 4], half[len(half) * 3 // 4 :]
    model = _model().fit([view[seen] for view in views])
    guessed = model.predict([view[unseen] for view in views])
    again = model.predict([view[seen] for view in views])
    return {
        "predict": adjusted_rand_score(truth[unseen], guessed),
        "clustered": adjusted_rand_score(truth[unseen], multi_view[unseen]),
        "predict seen": adjusted_rand_score(model.labels_, again),
    }
