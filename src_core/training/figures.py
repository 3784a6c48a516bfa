"""The figures of each task: what scores of slides or of patients are worth."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from src_core.training import weighted
from src_core.training.metrics import (
    Metric,
    auroc,
    balanced_accuracy,
    c_index,
    mean_squared_error,
    pearson,
)
from src_core.types import Float64, Int64, Task

__all__ = ["CHANCE", "SKILL", "SKILL_NAME", "explained", "figures", "skill"]

SKILL: Mapping[Task, str] = MappingProxyType(
    {"classification": "auroc", "regression": "r2", "survival": "c_index"}
)
"""The one figure by which models of a task are compared; larger is better."""

SKILL_NAME: Mapping[Task, str] = MappingProxyType(
    {"classification": "AUROC", "regression": "R²", "survival": "C-index"}
)

CHANCE: Mapping[Task, float] = MappingProxyType(
    {"classification": 0.5, "regression": 0.0, "survival": 0.5}
)
"""The skill of who knows nothing."""


def figures(
    task: Task, scores: Float64, targets: Int64 | Float64, *, origin: Float64 | float = 0.0
) -> dict[str, Metric]:
    """Return all figures of a task.

    Parameters
    ----------
    task : {"classification", "regression", "survival"}
    scores : ndarray of float64, shape (n, outputs)
        Logits, values, or log-hazards.
    targets : ndarray
        Classes (n,), values (n, outputs) with NaN where unknown, or times and events (n, 2).
    origin : float or ndarray of float64, shape (outputs,)
        Of a regression: the means of the slides that were learned from, in the unit of `scores`.
    """
    if task == "survival":
        return {"c_index": c_index(scores[:, 0], targets[:, 0], targets[:, 1] > 0)}
    if task == "regression":
        return {
            "r2": explained(scores, np.asarray(targets, dtype=np.float64), origin=origin),
            "pearson": pearson(scores, targets),
            "mse": mean_squared_error(scores, targets),
        }
    return {
        "auroc": auroc(scores, targets),
        "balanced_accuracy": balanced_accuracy(scores, targets),
    }


def skill(task: Task, scores: Float64, targets: Int64 | Float64) -> Metric:
    """Return the one figure by which models of a task are compared; see `figures`."""
    return figures(task, scores, targets)[SKILL[task]]


def explained(predicted: Float64, targets: Float64, *, origin: Float64 | float = 0.0) -> Metric:
    """Share of the squared distance from `origin` that a prediction explains, mean over targets.

    1 is a perfect prediction; 0 is worth as much as always saying `origin`, the mean of the slides
    that were learned from; a negative share is worse than that.

    Parameters
    ----------
    predicted, targets : ndarray of float64, shape (n, n_targets)
        Unknown targets are NaN.
    origin : float or ndarray of float64, shape (n_targets,)
    """
    if not np.isfinite(predicted).all():
        return Metric(None, "a prediction is not a finite number")
    middle = np.asarray(origin, dtype=np.float64)
    share = float(
        weighted.explained(predicted, targets, np.ones((1, len(targets))), origin=middle)[0]
    )
    if np.isnan(share):
        return Metric(None, "no target differs from the mean of the slides that were learned from")
    return Metric(share)
