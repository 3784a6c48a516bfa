"""Why a patch is suggested, and what agreeing or not comes to, in the words of the reviewer."""

from __future__ import annotations

import numpy as np

from src_core.errors import ProjectError
from src_core.inference.prediction import Prediction
from src_core.review.meanings import meanings
from src_core.review.suggest import Reason

__all__ = ["BLIND", "verdict_label", "why_text"]

BLIND = "Why it is shown is kept from you: it would tell what the model predicts."


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


def verdict_label(prediction: Prediction, row: int, *, is_right: bool) -> str | None:
    """Return how a patch is marked whose most probable class is agreed to, or not.

    What is not that class is the other one of two, and else ``not`` that class.

    Parameters
    ----------
    prediction : Prediction
        Of the slide, with classes.
    row : int
        Of the patch grid.
    is_right : bool
        Whether the reviewer agrees.

    Returns
    -------
    str or None
        None where the patch has no probabilities, or the label would not say what it is.
    """
    odds = np.asarray(prediction.patch_probabilities[row], dtype=np.float64)  # (C,)
    if not np.isfinite(odds).all():
        return None
    best = int(odds.argmax())
    classes = list(prediction.classes)
    if is_right:
        return classes[best]
    if len(classes) == 2:
        return classes[1 - best]
    label = f"not {classes[best]}"
    try:
        meanings([label], classes)
    except ProjectError:
        return None
    return label


def _odd(prediction: Prediction, odds: np.ndarray, column: int | np.integer) -> str:
    return f"{prediction.classes[int(column)]} {odds[column]:.2f}"
