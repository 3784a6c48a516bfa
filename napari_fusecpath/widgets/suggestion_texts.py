"""Why a patch is suggested, in the words of the reviewer."""

from __future__ import annotations

import numpy as np

from src_core.inference.prediction import Prediction
from src_core.review.suggest import Reason

__all__ = ["why_text"]


def why_text(reason: Reason, prediction: Prediction, row: int, cluster: str) -> str:
    """Return why a patch should be looked at, as a sentence.

    Parameters
    ----------
    reason : {"evidence", "doubt", "coverage"}
    prediction : Prediction
        Of the slide, with classes.
    row : int
        Of the patch grid.
    cluster : str
        What the cluster is called that the patch belongs to.
    """
    odds = np.asarray(prediction.patch_probabilities[row], dtype=np.float64)  # (C,)
    first, second = np.argsort(-odds, kind="stable")[:2]
    if reason == "coverage":
        return f"Coverage: typical of {cluster}, of which little has been looked at."
    if reason == "doubt":
        return (
            f"Doubt: {_odd(prediction, odds, first)} against {_odd(prediction, odds, second)}, "
            "or the encoders disagree about it."
        )
    means = np.nanmean(np.asarray(prediction.patch_probabilities, dtype=np.float64), axis=0)
    usual = int(means.argmax())
    best = first if first != usual else second
    return (
        f"Evidence: {_odd(prediction, odds, best)}, which is much for this slide. If it is right, "
        "a mark anchors it; if it is wrong, nothing teaches more."
    )


def _odd(prediction: Prediction, odds: np.ndarray, column: int | np.integer) -> str:
    return f"{prediction.classes[int(column)]} {odds[column]:.2f}"
