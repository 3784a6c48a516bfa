"""The slides that a model got most wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src_core.reports.scored import ScoredSlides
from src_core.types import Float64

__all__ = ["Wrong", "most_wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One row of `ScoredSlides` and what is wrong with it."""

    row: int
    words: str
    output: int | None = None
    """Target that it is most wrong in, where there are several to choose from."""


def most_wrong(scored: ScoredSlides, n: int = 6) -> tuple[Wrong, ...]:
    """Return up to `n` rows, the worst first; fewer where fewer are wrong.

    Classification: of those called wrongly, which the indeterminate are not, the least probable
    true classes. Regression: the largest distances from the known values, each divided by its
    target's standard deviation. Survival: the most pairs of patients in the wrong order.
    """
    if not len(scored):
        return ()
    if scored.task == "classification":
        return _classes(scored, n)
    return _values(scored, n) if scored.task == "regression" else _pairs(scored, n)


def _classes(scored: ScoredSlides, n: int) -> tuple[Wrong, ...]:
    rows = np.arange(len(scored))
    probabilities = scored.probabilities
    true = probabilities[rows, scored.classes]
    calls = scored.calls
    wrong = rows[(calls >= 0) & (calls != scored.classes)]
    return tuple(
        Wrong(
            row=int(row),
            words=(
                f"is {scored.outputs[scored.classes[row]]}, probability {true[row]:.3f}; called "
                f"{scored.outputs[calls[row]]}, probability {probabilities[row, calls[row]]:.3f}"
            ),
        )
        for row in wrong[np.argsort(true[wrong], kind="stable")][:n]
    )


def _values(scored: ScoredSlides, n: int) -> tuple[Wrong, ...]:
    known = np.isfinite(scored.targets)
    apart = np.where(known, scored.scores - scored.targets, 0.0)
    sizes = np.array([_spread(column[np.isfinite(column)]) for column in scored.targets.T])
    distance = np.sqrt(((apart / sizes) ** 2).sum(axis=1) / np.maximum(1, known.sum(axis=1)))
    order = np.argsort(-distance, kind="stable")[:n]
    found = []
    for row in order[distance[order] > 0]:
        column = int(np.argmax(np.abs(apart[row] / sizes)))
        found.append(
            Wrong(
                row=int(row),
                output=column,
                words=(
                    f"{scored.outputs[column]} is {scored.targets[row, column]:.4g}, predicted "
                    f"{scored.scores[row, column]:.4g}; {distance[row]:.1f} standard deviations "
                    f"away" + ("" if len(sizes) == 1 else " over all targets")
                ),
            )
        )
    return tuple(found)


def _spread(values: Float64) -> float:
    return float(values.std()) or 1.0 if len(values) else 1.0


def _pairs(scored: ScoredSlides, n: int) -> tuple[Wrong, ...]:
    times, risks = scored.targets[:, 0], scored.scores[:, 0]
    pair = scored.events[:, None] & (times[:, None] < times)  # (n, n): i dies before j
    if scored.folds is not None:
        pair &= scored.folds[:, None] == scored.folds
    wrong = pair & (risks[:, None] < risks)
    n_wrong, n_pairs = (matrix.sum(axis=0) + matrix.sum(axis=1) for matrix in (wrong, pair))
    order = np.argsort(-n_wrong, kind="stable")[:n]
    return tuple(
        Wrong(
            row=int(row),
            words=(
                f"{'event at' if scored.events[row] else 'no event until'} {times[row]:.4g}, risk "
                f"{risks[row]:.3g}; in the wrong order with {n_wrong[row]} of {n_pairs[row]} others"
            ),
        )
        for row in order[n_wrong[order] > 0]
    )
