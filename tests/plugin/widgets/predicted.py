"""A prediction as a model stores it, without a model: a window only reads it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from src_core.inference.prediction import Prediction
from src_core.types import Task

__all__ = ["predicted"]


def predicted(
    attention: ArrayLike, odds: ArrayLike, *, grid_id: str = "", task: Task = "classification"
) -> Prediction:
    """Return a prediction of slide ``a`` for two classes.

    Parameters
    ----------
    attention : array_like, shape (N,)
        NaN where no bag holds the patch.
    odds : array_like, shape (N,)
        Probability that a patch is of the first class.
    grid_id : str
        Of the patches.
    task : Task
        Without classes there are no odds.
    """
    weights, first = np.asarray(attention, np.float32), np.asarray(odds, np.float32)
    known, has_classes = np.isfinite(weights), task == "classification"
    pairs = np.stack([first, 1 - first], axis=1) if has_classes else np.empty((len(first), 0))
    return Prediction(
        slide_id="a",
        classes=("tumour", "normal") if has_classes else ("age",),
        task=task,
        probabilities=np.array([0.75, 0.25] if has_classes else []),
        logits=np.zeros(2 if has_classes else 1),
        spread=np.zeros(2 if has_classes else 1),
        bias=np.zeros(2 if has_classes else 1),
        attention=weights,
        contributions=np.zeros((len(weights), 2 if has_classes else 1), np.float32),
        patch_probabilities=np.where(known[:, None], pairs, np.nan).astype(np.float32),
        appearances=known.astype(np.float32),
        map_source="student",
        grid_id=grid_id,
        run_id="run-0001",
    )
