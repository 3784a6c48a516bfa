"""Where a probability becomes a call, in words."""

from __future__ import annotations

import numpy as np

from src_core.reports.scored import ScoredSlides
from src_core.types import Float64

__all__ = ["calling_rule"]


def calling_rule(scored: ScoredSlides) -> str:
    """Return in words what ``scored.calls`` goes by."""
    low, high = (_span(column) for column in scored.cuts.T)
    if scored.binary:
        negative, positive = scored.outputs
        words = f"{positive} called from a probability of {high}"
        if scored.has_band:
            words = f"{words}, {negative} below {low}, nothing between"
    elif scored.has_band:
        words = f"where the likeliest class is called from a probability of {high}, else nothing"
    else:
        return "where the likeliest class is called"
    return words + _chosen(scored)


def _span(values: Float64) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}, by fold"


def _chosen(scored: ScoredSlides) -> str:
    there = scored.has_point
    if not there.any():
        return ""
    if there.all() or scored.folds is None:
        return ", chosen on validation"
    without = len(np.unique(scored.folds[~there]))
    return (
        f", chosen on validation; the models of {without} fold(s) have no operating point and call "
        "the likeliest class"
    )
