"""Linear models on slide-level embeddings for every task, their strength chosen by patient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch

from src_core.models.baselines import fit_logistic_regression
from src_core.models.losses import task_loss
from src_core.types import Float32, Float64, Int64

__all__ = ["Linear", "fit_classes", "fit_cox", "fit_values"]

Linear: TypeAlias = Callable[[Float32], Float64]
"""Slide embeddings (n, dim) -> what the fitted model says of them, (n, outputs)."""

_STRENGTHS = np.logspace(-1, 4, 6)
_FOLDS = 5


def fit_classes(
    embeddings: Float32, targets: Int64, patients: Int64, *, n_classes: int, seed: int
) -> Linear:
    """Fit logistic regression; a class that nobody has gets probability 0.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    # StratifiedGroupKFold takes 32 bits.
    search = fit_logistic_regression(embeddings, targets, patients, seed=seed % 2**32)

    def predict(asked: Float32) -> Float64:
        scores = np.zeros((len(asked), n_classes))
        scores[:, search.classes_] = search.predict_proba(asked)
        return scores

    return predict


def fit_values(embeddings: Float32, targets: Float64, patients: Int64, *, seed: int) -> Linear:
    """Fit ridge regression to each target where it is known.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, dim)
    targets : ndarray of float64, shape (n, n_targets)
        NaN where unknown.
    patients : ndarray of int64, shape (n,)
        Folds never split one.
    seed : int
        Decides the folds by which the strength is chosen.

    Raises
    ------
    ValueError
        If a target is known of fewer than two patients.
    """
    fitted = [_fit_ridge(embeddings, column, patients, seed) for column in targets.T]
    return lambda asked: np.stack([one.predict(asked) for one in fitted], axis=1)


def _fit_ridge(embeddings: Float32, values: Float64, patients: Int64, seed: int):  # type: ignore[no-untyped-def] # sklearn has no types
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = np.isfinite(values)
    n_patients = len(np.unique(patients[known]))
    if n_patients < 2:
        raise ValueError("Each target needs to be known of two or more patients.")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": _STRENGTHS},
        scoring="neg_mean_squared_error",
        cv=GroupKFold(min(_FOLDS, n_patients), shuffle=True, random_state=seed % 2**32),
    )
    return search.fit(embeddings[known], values[known], groups=patients[known])


def fit_cox(embeddings: Float32, targets: Float64, *, seed: int) -> Linear:
    """Fit Cox proportional hazards with a ridge penalty, Efron ties.

    It minimises the very loss that the student has, by L-BFGS in float64. The strength is chosen
    by what the model adds to the partial likelihood of folds that were left out (Verweij and van
    Houwelingen, Statistics in Medicine 1993).

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, dim)
        A row a patient.
    targets : ndarray of float64, shape (n, 2)
        Time, and 1 for an event or 0.

    Raises
    ------
    ValueError
        If fewer than two patients have an event.
    """
    if targets[:, 1].sum() < 2:
        raise ValueError("Fewer than two patients have an event.")
    mean, std = embeddings.mean(axis=0, dtype=np.float64), embeddings.std(axis=0, dtype=np.float64)
    scale = 1 / np.where(std > 0, std, np.inf)

    def brought(rows: Float32) -> Float64:
        return np.asarray((rows - mean) * scale, dtype=np.float64)

    # The fit lies in the span of its rows: along their axes there are no more numbers than rows.
    axes = np.linalg.svd(brought(embeddings), full_matrices=False)[2]  # (k, dim)
    rows = brought(embeddings) @ axes.T  # (n, k)
    gained = [
        sum(_gain(rows, targets, strength, left) for left in _folds(len(rows), seed))
        for strength in _STRENGTHS
    ]
    weights = _cox_weights(rows, targets, float(_STRENGTHS[int(np.argmax(gained))]))
    return lambda asked: (brought(asked) @ axes.T @ weights)[:, None]


def _folds(n: int, seed: int) -> Iterator[Int64]:
    """Yield the rows of each fold."""
    order = np.random.default_rng(seed).permutation(n)
    n_folds = min(_FOLDS, n)
    yield from (order[start::n_folds] for start in range(n_folds))


def _gain(rows: Float64, targets: Float64, strength: float, left: Int64) -> float:
    """Return the log partial likelihood of all rows less that of the rows not left out."""
    kept = np.setdiff1d(np.arange(len(rows)), left)
    if not targets[kept, 1].any():
        return 0.0
    weights = _cox_weights(rows[kept], targets[kept], strength)
    return _surprise(rows[kept] @ weights, targets[kept]) - _surprise(rows @ weights, targets)


def _surprise(risks: Float64, targets: Float64) -> float:
    """Return the negative log partial likelihood, the sum over events."""
    loss = task_loss(torch.from_numpy(risks)[:, None], torch.from_numpy(targets), task="survival")
    return float(loss) * float(targets[:, 1].sum())


def _cox_weights(rows: Float64, targets: Float64, strength: float) -> Float64:
    inputs, wanted = torch.from_numpy(rows), torch.from_numpy(targets)
    n_events = wanted[:, 1].sum()
    weights = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        surprise = task_loss((inputs @ weights)[:, None], wanted, task="survival") * n_events
        loss = surprise + strength / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach().numpy()
