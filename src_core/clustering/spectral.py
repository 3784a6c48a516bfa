"""Leading eigenvectors of graphs of patches: of a view's own, and of one that others filtered.

A graph is its neighbours, shape (N, k): row ``i`` of the matrix S has ones there. The co-training
step replaces S by ``sym(S sum_u U_u U_u^T)`` with U_u the other views' eigenvectors. With
``B = [U_u ...]`` and ``A = S B`` that is ``(A B^T + B A^T) / 2``, of rank at most twice the width
of B: degrees, Laplacian and eigenvectors all come from the two thin factors, and nothing of size
N x N is ever formed.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from src_core.types import Float64

__all__ = ["leading_of_filtered", "leading_of_graph", "rows_of_length_one"]

_DENSE = 400
"""Up to this many patches the dense eigenproblem is quicker than Lanczos."""
_TOLERANCE = {torch.float64: 0.0, torch.float32: 1e-4}
"""Of eigenvalues, relative; 0 is the machine's own."""
_ROUNDINGS = 64
"""A degree of fewer units in the last place of the largest is 0."""


def leading_of_graph(
    neighbours: torch.Tensor, count: int, *, seed: int, dtype: torch.dtype
) -> torch.Tensor:
    """Return the leading eigenvectors, by magnitude, of a graph's normalised Laplacian.

    Parameters
    ----------
    neighbours : tensor of int64, shape (N, k)
        Columns of the ones in each row.
    count : int
        Eigenvectors wanted.
    seed : int
        Draws where the search starts.
    dtype : torch.dtype
        float64 finds them to its precision, float32 to 1e-4 of the eigenvalues.

    Returns
    -------
    tensor, shape (N, count)
        On the CPU, of length 1, the leading one first.
    """
    n, k = neighbours.shape
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    columns = np.sort(neighbours.cpu().numpy(), axis=1).ravel()
    # Every row has k ones, so D^-1/2 S D^-1/2 is S / k.
    graph = sparse.csr_array(
        (np.full(n * k, 1 / k, kind), columns, np.arange(0, n * k + 1, k)), (n, n)
    )
    laplacian = ((graph + graph.T) / 2).tocsr()
    if n <= max(_DENSE, 3 * count):
        vectors = _leading_dense(laplacian.toarray().astype(np.float64), count)
        return torch.from_numpy(vectors.astype(kind))
    start = np.random.default_rng(seed).normal(size=n).astype(kind)
    search = {"k": count, "which": "LM", "v0": start, "tol": _TOLERANCE[dtype]}
    try:
        values, vectors = eigsh(laplacian, **search)
    except ArpackNoConvergence:
        # A larger space and longer patience; graphs of very many pieces ask for it.
        width = min(n - 1, 6 * count + 20)
        values, vectors = eigsh(laplacian, **search, ncv=width, maxiter=100 * n)
    order = np.argsort(-np.abs(values), kind="stable")
    return torch.from_numpy(np.ascontiguousarray(vectors[:, order], dtype=kind))


def leading_of_filtered(neighbours: torch.Tensor, others: torch.Tensor, count: int) -> torch.Tensor:
    """Return the leading eigenvectors of a graph that the other views have filtered.

    Parameters
    ----------
    neighbours : tensor of int64, shape (N, k)
    others : tensor, shape (N, m)
        The other views' eigenvectors, side by side, on the same device.
    count : int
        Eigenvectors wanted; fewer come back where the rank is lower.

    Notes
    -----
    With F = D^-1/2 [A B] the Laplacian is F M F^T, M = [[0, I/2], [I/2, 0]]. The Gram matrix
    F^T F = V s^2 V^T gives an orthonormal basis F V / s of its range, in which it is the small
    matrix s V^T M V s. Directions of tiny s, where the Gram matrix has lost precision, carry
    equally tiny entries there, so they do not spoil leading eigenvectors.
    """
    spread = torch.nn.functional.embedding_bag(neighbours, others, mode="sum")  # A, (N, m)
    degrees = (spread @ others.sum(dim=0) + others @ spread.sum(dim=0)) / 2
    factors = torch.cat([spread, others], dim=1)  # (N, 2m)
    factors *= _inverse_root(degrees)[:, None]
    squares, turned = _eigh((factors.T @ factors).cpu().double().numpy())
    kept = squares > squares[-1] * len(squares) * torch.finfo(others.dtype).eps
    lengths, turned = np.sqrt(squares[kept]), turned[:, kept]
    swapped = np.roll(turned, others.shape[1], axis=0) / 2  # M V
    leading = _leading_dense(lengths[:, None] * (turned.T @ swapped) * lengths, count)
    back = turned @ (leading / lengths[:, None])  # (2m, count)
    return factors @ torch.from_numpy(back).to(factors)


def rows_of_length_one(base: torch.Tensor) -> torch.Tensor:
    """Return `base` with rows of length 1; a row of zeros stays."""
    lengths = base.norm(dim=1, keepdim=True)
    return base / torch.where(lengths == 0, 1.0, lengths)


def _leading_dense(matrix: Float64, count: int) -> Float64:
    """Return the leading eigenvectors by magnitude of the eigenvalue, without null ones."""
    values, vectors = _eigh((matrix + matrix.T) / 2)
    size = np.abs(values)
    order = np.argsort(-size, kind="stable")[:count]
    order = order[size[order] > size.max() * len(values) * np.finfo(np.float64).eps]
    return np.asarray(vectors[:, order])


def _eigh(matrix: Float64) -> tuple[Float64, Float64]:
    """Return eigenvalues, ascending, and eigenvectors of a small symmetric matrix."""
    try:
        values, vectors = np.linalg.eigh(matrix)
    except np.linalg.LinAlgError:
        # Divide and conquer gives up on some matrices with many equal eigenvalues, which graphs
        # of patches that repeat each other have; the slower QR iteration does not.
        values, vectors = scipy.linalg.eigh(matrix, driver="ev")
    return values, vectors


def _inverse_root(degrees: torch.Tensor) -> torch.Tensor:
    """Return ``|d| ** -0.5``, 0 where a degree is 0 but for rounding."""
    size = degrees.abs()
    real = size > size.max() * _ROUNDINGS * torch.finfo(size.dtype).eps
    return torch.where(real, torch.where(real, size, 1.0).rsqrt(), 0.0)
