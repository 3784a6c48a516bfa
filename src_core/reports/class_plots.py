"""Plots of a classification: ROC, precision against recall, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from src_core.reports.drawing import MOST_DRAWN, Plot, colour, draw, short
from src_core.reports.figures import SetFigures
from src_core.reports.scored import ScoredSlides
from src_core.training.weighted import calibration, one_against_rest
from src_core.types import BoolArray, Float64

__all__ = ["CalibrationBin", "calibration_bins", "class_plots"]

CalibrationBin = tuple[float, float, int, float, float]
"""Lower and upper end, number of rows, mean of what was claimed, share that was true."""


def class_plots(measured: SetFigures) -> tuple[Plot, ...]:
    """Return ROC with precision against recall, and calibration; none with a single class."""
    scored = measured.scored
    plots = []
    lines = list(_lines(measured))
    if lines:
        names = ", ".join(name for name, _, _ in lines)
        plots.append(
            draw(
                partial(_paint_ranking, lines=lines, scored=scored),
                size=(9.6, 4.4),
                caption=_ranking_caption(scored),
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


def _ranking_caption(scored: ScoredSlides) -> str:
    what = (
        f"of {scored.outputs[1]} against {scored.outputs[0]}"
        if scored.binary
        else "of every class against the rest"
    )
    if not scored.binary and len(scored.outputs) > MOST_DRAWN:
        what += f", the first {MOST_DRAWN} of {len(scored.outputs)}"
    point = f" The circle: {scored.rule}." if scored.binary else ""
    return (
        f"Receiver operating characteristic (left) and precision against recall (right) {what}."
        f"{point} Dotted grey: chance."
    )


def _lines(measured: SetFigures) -> Iterator[tuple[str, Float64, BoolArray]]:
    """Yield name, score and positives of each line: of folds, of the one class, or of each."""
    scored = measured.scored
    if scored.binary and len(measured.folds):
        for fold in measured.folds[:MOST_DRAWN]:
            part = scored.rows(np.flatnonzero(scored.folds == fold))
            score, positive = next(one_against_rest(part.scores, part.classes))
            if 0 < positive.sum() < len(positive):
                yield f"fold {fold + 1}", score, positive
        return
    names = [scored.outputs[1]] if scored.binary else list(scored.outputs)
    # Over folds the classes' scores come from different models: their probabilities compare best.
    values = scored.probabilities if len(measured.folds) else scored.scores
    pairs = zip(names, one_against_rest(values, scored.classes), strict=True)
    for name, (score, positive) in list(pairs)[:MOST_DRAWN]:
        if 0 < positive.sum() < len(positive):
            yield name, score, positive


def _paint_ranking(
    figure: Any, *, lines: list[tuple[str, Float64, BoolArray]], scored: ScoredSlides
) -> None:
    roc, pr = figure.subplots(1, 2)
    for number, (name, score, positive) in enumerate(lines):
        look = {**colour(number), "lw": 2, "label": short(name)}
        false, true, _ = roc_curve(positive, score)
        roc.plot(false, true, **look)
        precision, recall, _ = precision_recall_curve(positive, score)
        pr.step(recall[:-1], precision[:-1], where="post", **look)  # the last is a convention
        pr.axhline(positive.mean(), color="0.6", ls=":", lw=1)
    roc.plot([0, 1], [0, 1], color="0.6", ls=":", lw=1)
    if scored.binary:
        _paint_point(roc, pr, scored)
    roc.set(xlabel="1 - specificity", ylabel="sensitivity")
    pr.set(xlabel="recall (sensitivity)", ylabel="precision")
    for axes in (roc, pr):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.grid(color="0.92")
    roc.legend(loc="lower right", fontsize=8)


def _paint_point(roc: Any, pr: Any, scored: ScoredSlides) -> None:
    called, positive = scored.decided == 1, scored.classes == 1
    hits = int((called & positive).sum())
    sensitivity = hits / max(1, positive.sum())
    look = {"marker": "o", "ms": 9, "mec": "black", "mfc": "none", "mew": 2, "ls": ""}
    false = (called & ~positive).sum() / max(1, (~positive).sum())
    roc.plot([false], [sensitivity], **look, label="as called")
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
    counts.set(ylabel="count", xlabel="claimed probability", ylim=(0, 1.35 * n.max()))
