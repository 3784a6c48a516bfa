"""Plots of a classification: ROC, precision against recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from src_core.reports.calling import calling_rule
from src_core.reports.drawing import MOST_DRAWN, Plot, colour, draw, short
from src_core.reports.figures import SetFigures
from src_core.reports.ranking import RankingLine, ranking_lines
from src_core.reports.scored import ScoredSlides
from src_core.training.weighted import calibration
from src_core.types import BoolArray

__all__ = ["CalibrationBin", "calibration_bins", "class_plots"]

CalibrationBin = tuple[float, float, int, float, float]
"""Lower and upper end, number of rows, mean of what was claimed, share that was true."""


def class_plots(measured: SetFigures) -> tuple[Plot, ...]:
    """Return ROC with precision against recall, and calibration; none with a single class."""
    scored = measured.scored
    plots = []
    lines = ranking_lines(scored)
    if lines:
        names = ", ".join(line.name for line in lines[:MOST_DRAWN])
        plots.append(
            draw(
                partial(_paint_ranking, lines=lines[:MOST_DRAWN], scored=scored),
                size=(9.6, 4.4),
                caption=_ranking_caption(scored, len(lines)),
                alt=f"Receiver operating characteristic and precision against recall of {names}.",
            )
        )
    bins = calibration_bins(scored)
    plots.append(
        draw(
            partial(_paint_calibration, bins=bins),
            size=(5.2, 4.8),
            caption=(
                "Calibration: how often it was true against what was claimed, "
                f"{_claim(scored)}, in ten bins of equal width; the bars below count the "
                f"{scored.level}s of each. On the diagonal a claim means what it says."
                f"{_claims_of_folds(measured)}"
            ),
            alt="; ".join(
                f"claimed {mean:.2f}: true {true:.2f} of {n}" for _, _, n, mean, true in bins
            ),
        )
    )
    return tuple(plots)


def calibration_bins(scored: ScoredSlides, n_bins: int = 10) -> list[CalibrationBin]:
    """Return the bins that hold a row."""
    claimed, true = calibration(scored.probabilities, scored.classes)
    place = np.minimum((claimed * n_bins).astype(int), n_bins - 1)
    return [
        (
            number / n_bins,
            (number + 1) / n_bins,
            int((place == number).sum()),
            float(claimed[place == number].mean()),
            float(true[place == number].mean()),
        )
        for number in np.unique(place)
    ]


def _claim(scored: ScoredSlides) -> str:
    if scored.binary:
        return f"the probability of {scored.outputs[1]}"
    return "the probability of the class that each was called"


def _claims_of_folds(measured: SetFigures) -> str:
    return " Of all folds at once: each model claims by itself." if len(measured.folds) else ""


def _ranking_caption(scored: ScoredSlides, n_lines: int) -> str:
    return (
        f"Receiver operating characteristic (left) and precision against recall (right) "
        f"{_ranked(scored, n_lines)}.{_points(scored)} Dotted grey: chance."
    )


def _ranked(scored: ScoredSlides, n_lines: int) -> str:
    """Say of what the lines are, and which are not drawn."""
    first = f", the first {MOST_DRAWN} of {n_lines}" if n_lines > MOST_DRAWN else ""
    n_folds = len(scored.fold_numbers)
    if not scored.binary:
        mean = ", each line the mean over the folds" if n_folds else ""
        return f"of every class against the rest{first}{mean}"
    versus = f"of {scored.outputs[1]} against {scored.outputs[0]}"
    if not n_folds:
        return versus
    without = n_folds - n_lines
    lacking = f"; {without} fold(s) with a single class have none" if without else ""
    return f"{versus}, a line for each fold{first}{lacking}"


def _points(scored: ScoredSlides) -> str:
    if not scored.binary:
        return ""
    over = ", over all folds" if len(scored.fold_numbers) else ""
    if not scored.has_band:
        return f" The circle: {calling_rule(scored)}{over}."
    return (
        f" Circle: those that are called {scored.outputs[1]}; square: those and the "
        f"indeterminate{over}."
    )


def _paint_ranking(figure: Any, *, lines: Sequence[RankingLine], scored: ScoredSlides) -> None:
    roc, pr = figure.subplots(1, 2)
    for number, line in enumerate(lines):
        look = {**colour(number), "lw": 2, "label": short(line.name)}
        roc.plot(line.false, line.true, **look)
        pr.step(line.recall, line.precision, where="post", **look)
        pr.axhline(line.share, color="0.6", ls=":", lw=1)
    roc.plot([0, 1], [0, 1], color="0.6", ls=":", lw=1)
    if scored.binary and scored.has_band:
        _paint_point(roc, pr, scored, scored.calls != 0, "or indeterminate", "s")
    if scored.binary:
        band = f"called {short(scored.outputs[1])}"
        name = band if scored.has_band else "as called"
        _paint_point(roc, pr, scored, scored.calls == 1, name, "o")
    roc.set(xlabel="1 - specificity", ylabel="sensitivity")
    pr.set(xlabel="recall (sensitivity)", ylabel="precision")
    for axes in (roc, pr):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.grid(color="0.92")
    roc.legend(loc="lower right", fontsize=8)


def _paint_point(
    roc: Any, pr: Any, scored: ScoredSlides, called: BoolArray, name: str, marker: str
) -> None:
    positive = scored.classes == 1
    hits = int((called & positive).sum())
    sensitivity = hits / max(1, positive.sum())
    look = {"marker": marker, "ms": 9, "mec": "black", "mfc": "none", "mew": 2, "ls": ""}
    false = (called & ~positive).sum() / max(1, (~positive).sum())
    roc.plot([false], [sensitivity], **look, label=name)
    if called.any():
        pr.plot([sensitivity], [hits / called.sum()], **look)


def _paint_calibration(figure: Any, *, bins: list[CalibrationBin]) -> None:
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color="0.6", ls=":", lw=1)
    claimed, true, n = (np.array([one[i] for one in bins]) for i in (3, 4, 2))
    axes.plot(claimed, true, **colour(0), marker="o", lw=1.5)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.08), ylabel="share that was true")
    axes.grid(color="0.92")
    middles = [(low + high) / 2 for low, high, *_ in bins]
    bars = counts.bar(middles, n, width=0.09, color=colour(0)["color"])
    counts.bar_label(bars, fontsize=8)
    counts.locator_params(axis="y", integer=True, nbins=3)
    counts.set(ylabel="count", xlabel="claimed probability", ylim=(0, 1.35 * n.max()))
