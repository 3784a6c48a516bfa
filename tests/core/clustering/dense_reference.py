"""Co-training spectral clustering as one would write it on a blackboard: dense, slow, NumPy only.

Nothing here is shared with the code under test: distances are differences, every N x N matrix is
formed, every eigenproblem is solved whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def dense_embedding(
    views: list[NDArray], n_clusters: int, *, n_neighbors: int = 10, n_iter: int = 10
) -> Matrix:
    """Return the row-normalised eigenvectors of every view, side by side."""
    graphs = [dense_graph(view, n_neighbors) for view in views]
    bases = [dense_leading(graph, n_clusters) for graph in graphs]
    for _ in range(n_iter):
        projectors = [base @ base.T for base in bases]
        everyone = sum(projectors)
        bases = [
            dense_leading(symmetric(graph @ (everyone - own)), n_clusters)
            for graph, own in zip(graphs, projectors, strict=True)
        ]
    return np.hstack([base / np.linalg.norm(base, axis=1, keepdims=True) for base in bases])


def dense_graph(view: NDArray, n_neighbors: int) -> Matrix:
    """Return 1 where column is among the nearest of row, itself first, equals by number."""
    exact = view.astype(np.float64)
    graph = np.zeros((len(view), len(view)))
    for row, point in enumerate(exact):
        distances = ((exact - point) ** 2).sum(axis=1)
        distances[row] = -1
        graph[row, np.argsort(distances, kind="stable")[:n_neighbors]] = 1
    return graph


def dense_leading(similarity: Matrix, count: int) -> Matrix:
    """Return the leading eigenvectors by magnitude of the normalised Laplacian."""
    root = 1 / np.sqrt(np.abs(similarity.sum(axis=1)))
    values, vectors = np.linalg.eigh(symmetric(root[:, None] * similarity * root))
    return vectors[:, np.argsort(-np.abs(values))[:count]]


def symmetric(matrix: Matrix) -> Matrix:
    return (matrix + matrix.T) / 2


def blob_views(
    n: int, n_blobs: int, *, widths: tuple[int, ...] = (6, 20, 40), seed: int = 0
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """Return overlapping blobs seen in `widths` ways, and the blob of each point."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_blobs, n)
    views = []
    for width in widths:
        centres = rng.normal(size=(n_blobs, width)) * 2
        view = centres[truth] + rng.normal(size=(n, width))
        view = (view - view.mean(axis=0)) / view.std(axis=0) / np.sqrt(width)
        views.append(view.astype(np.float32))
    return views, truth
