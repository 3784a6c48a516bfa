"""Plots of a regression: predicted against true, and residuals."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from src_core.reports.drawing import MOST_DRAWN, Plot, colour, draw, short
from src_core.reports.scored import ScoredSlides
from src_core.training.metrics import pearson_by_target

__all__ = ["value_plots"]


def value_plots(scored: ScoredSlides) -> tuple[Plot, ...]:
    """Return one plot a target, of the first `MOST_DRAWN`: predicted against true, residuals."""
    pooled = ", all folds together" if len(scored.fold_numbers) else ""
    correlations = pearson_by_target(scored.scores, scored.targets)
    plots = []
    for column in range(min(MOST_DRAWN, len(scored.outputs))):
        known = np.isfinite(scored.targets[:, column])
        if not known.any():
            continue
        name, r = scored.outputs[column], correlations[column]
        figure = "no correlation" if r.value is None else f"Pearson r {r.value:.3f}"
        plots.append(
            draw(
                partial(_paint_values, scored=scored, column=column),
                size=(9.6, 4.0),
                caption=(
                    f"{name}: predicted against true (left) and what is left, predicted minus true "
                    f"(right); {figure}, {int(known.sum())} {scored.level}s{pooled}. Dotted "
                    "grey: perfect."
                ),
                alt=f"Scatter of predicted against true {name}: {figure}.",
            )
        )
    return tuple(plots)


def _paint_values(figure: Any, *, scored: ScoredSlides, column: int) -> None:
    known = np.isfinite(scored.targets[:, column])
    true, predicted = scored.targets[known, column], scored.scores[known, column]
    scatter, residuals = figure.subplots(1, 2)
    look = {"s": 18, "alpha": 0.6, "color": colour(0)["color"], "lw": 0}
    scatter.scatter(true, predicted, **look)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    scatter.plot(ends, ends, color="0.6", ls=":", lw=1)
    residuals.scatter(true, predicted - true, **look)
    residuals.axhline(0, color="0.6", ls=":", lw=1)
    name = short(scored.outputs[column])
    scatter.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    residuals.set(xlabel=f"true {name}", ylabel="predicted - true")
    for axes in (scatter, residuals):
        axes.grid(color="0.92")
