"""What a reader must know before trusting a set's figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from src_core.reports.figures import SetFigures
from src_core.reports.scored import ScoredSlides
from src_core.training.bootstrap import Interval
from src_core.wording import counted

__all__ = ["FEWEST", "cautions"]

FEWEST = 10
"""Patients of a class, or with an event, below which figures are mostly chance."""

_KEPT_BACK = ("test", "external")


def cautions(measured: SetFigures, everything: ScoredSlides) -> tuple[str, ...]:
    """Return sentences, none where nothing is amiss.

    Parameters
    ----------
    measured : SetFigures
        The set.
    everything : ScoredSlides
        All sets: those kept back must share no patient with the others.
    """
    rows = measured.scored
    return (
        *_shared(measured.name, rows, everything),
        *_few(rows),
        *_constant(rows),
        *_flat(measured),
        *_outside(measured),
    )


def _shared(name: str, rows: ScoredSlides, everything: ScoredSlides) -> Iterator[str]:
    if not name.startswith(_KEPT_BACK):
        return
    for other in everything.set_names:
        if other != name:
            shared = sorted({*rows.patients} & {*everything.of_set(other).patients})
            if shared:
                n_shared = counted(
                    len(shared), "patient of this set is", "patients of this set are"
                )
                yield (
                    f"{n_shared} also in the set {other}, such as {shared[0]}: the figures may "
                    "measure memory."
                )


def _few(rows: ScoredSlides) -> Iterator[str]:
    if rows.task == "classification":
        for c, name in enumerate(rows.outputs):
            yield from _too_few(rows, rows.classes == c, f"of class {name}")
        if len(np.unique(rows.classes)) == 1:
            yield "Only one class is there: nothing can be told apart, and figures are missing."
    elif rows.task == "survival":
        yield from _too_few(rows, rows.events, "with an event")
        if len({*rows.patients}) < len(rows):
            yield (
                "The curves and the log-rank test count every slide of a patient: p is too small; "
                "score patients."
            )
        if len(rows.fold_numbers):
            yield (
                "The models of different folds share training slides, which the log-rank test does "
                "not know: take its p for a guide."
            )
    else:
        for column, name in enumerate(rows.outputs):
            yield from _too_few(
                rows, np.isfinite(rows.targets[:, column]), f"with a value of {name}"
            )


def _too_few(rows: ScoredSlides, there: np.ndarray, what: str) -> Iterator[str]:
    n = len({rows.patients[row] for row in np.flatnonzero(there)})
    if n < FEWEST:
        yield (
            f"{counted(n, 'patient')} {what}: with fewer than {FEWEST} the figures are mostly "
            "chance."
        )


def _constant(rows: ScoredSlides) -> Iterator[str]:
    if len(rows) > 1:
        for column, name in enumerate(rows.outputs):
            if np.ptp(rows.scores[:, column]) == 0:
                yield f"Every score of {name} is the same: the model tells nothing apart."


def _flat(measured: SetFigures) -> Iterator[str]:
    intervals = [figure.interval for figure in measured.figures]
    if any(i.low is not None and i.low == i.high for i in intervals):
        yield (
            "An interval without width says only that no drawn patient was an exception; with few "
            "patients the true figure may well be another."
        )
    redrawn = max((i.n_redrawn for i in intervals), default=0)
    drawn = redrawn + max((i.n_resamples for i in intervals), default=0)
    if redrawn > 0.05 * drawn:
        yield (
            f"{redrawn} of {drawn} resamples lacked a class and were drawn again: the intervals "
            "are narrower than they should be."
        )


def _outside(measured: SetFigures) -> Iterator[str]:
    titles = [
        figure.title
        for figure in measured.figures
        if any(map(_is_outside, (figure.interval, figure.pooled)))
    ]
    if titles:
        yield (
            f"The value lies outside its own interval: {', '.join(titles)}. Patients who are drawn "
            "twice shift such a figure where there are few; the interval tells of its spread alone."
        )


def _is_outside(interval: Interval | None) -> bool:
    if interval is None or interval.value is None or interval.low is None or interval.high is None:
        return False
    return not interval.low <= interval.value <= interval.high
