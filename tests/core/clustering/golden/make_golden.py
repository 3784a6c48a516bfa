"""Make the golden labels beside this file with mvlearn 0.5.0, the public implementation.

Run in an environment of its own, from the root of the checkout; the digits take mvlearn ten
minutes on one core::

    pip install numpy scipy scikit-learn matplotlib seaborn pandas mvlearn==0.5.0
    python tests/core/clustering/golden/make_golden.py ../shared/data/bags/uci_mfeat.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from mvlearn.cluster import MultiviewSpectralClustering  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parents[1]))
from dense_reference import blob_views  # type: ignore[import-not-found]

HERE = Path(__file__).parent


def write(name: str, views: list[np.ndarray], n_clusters: int, random_state: int) -> None:
    model = MultiviewSpectralClustering(
        n_clusters,
        affinity="nearest_neighbors",
        n_neighbors=10,
        max_iter=10,
        n_init=10,
        random_state=random_state,
    )
    labels = model.fit_predict([view.astype(np.float64) for view in views])
    np.save(HERE / f"{name}.npy", labels.astype(np.int8))


def digits(path: Path) -> list[np.ndarray]:
    """Return the six views of the digits, standardised."""
    views = []
    with np.load(path) as stored:
        for name in ("fou", "fac", "kar", "pix", "zer", "mor"):
            view = stored[name].astype(np.float64)
            views.append((view - view.mean(0)) / view.std(0) / np.sqrt(view.shape[1]))
    return views


write("blobs_500_k8", blob_views(500, 8)[0], 8, 8)
write("blobs_1000_k20", blob_views(1000, 20, seed=1)[0], 20, 20)
if len(sys.argv) > 1:
    write("digits_k10", digits(Path(sys.argv[1])), 10, 10)
