"""Lines of a ranking: receiver operating characteristic, and precision against recall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from src_core.reports.scored import ScoredSlides
from src_core.training.weighted import one_against_rest
from src_core.types import BoolArray, Float64

__all__ = ["RankingLine", "ranking_lines"]

_GRID = np.linspace(0, 1, 501)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingLine:
    """Both lines of one class, in one fold, or the mean over folds."""

    name: str
    false: Float64
    """Rising: share of the others that is called."""
    true: Float64
    recall: Float64
    """Falling; precision is a step that holds from each recall down to the next."""
    precision: Float64
    share: float
    """Of positives: precision by chance."""


def ranking_lines(scored: ScoredSlides) -> list[RankingLine]:
    """Return a line for the second of two classes, or for each of more.

    Scores of different models have different zeros and are never ranked together. So of two
    classes each fold of a cross-validation has a line of its own; of more, a class has the mean
    over folds, whose area is the mean of theirs. A class without others, or a fold with one class
    only, has no line.
    """
    folds = [scored.rows(np.flatnonzero(scored.folds == fold)) for fold in scored.fold_numbers]
    names = scored.outputs[1:] if scored.binary else scored.outputs
    if not folds:
        each = [list(_lines(scored))]
    elif scored.binary:
        names = tuple(f"fold {fold + 1}" for fold in scored.fold_numbers)
        each = [[line for fold in folds for line in _lines(fold)]]
    else:
        each = [list(_lines(fold)) for fold in folds]
    found = []
    for name, *lines in zip(names, *each, strict=True):
        there = [line for line in lines if line is not None]
        if there:
            found.append(_mean(name, there))
    return found


def _lines(scored: ScoredSlides) -> Iterator[RankingLine | None]:
    """Yield the line of each class, or of the second of two; None where it has none."""
    for score, positive in one_against_rest(scored.scores, scored.classes):
        yield _line(score, positive) if 0 < positive.sum() < len(positive) else None


def _line(score: Float64, positive: BoolArray) -> RankingLine:
    false, true, _ = roc_curve(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score)
    return RankingLine(
        name="",
        false=false,
        true=true,
        recall=recall[:-1],  # the last point is a convention
        precision=precision[:-1],
        share=float(positive.mean()),
    )


def _mean(name: str, lines: Sequence[RankingLine]) -> RankingLine:
    """Return the mean at each abscissa, the line itself of one."""
    if len(lines) == 1:
        return replace(lines[0], name=name)
    true = np.mean([np.interp(_GRID, line.false, line.true) for line in lines], axis=0)
    precision = np.mean([_precision_at(line, _GRID) for line in lines], axis=0)
    return RankingLine(
        name=name,
        false=np.concatenate([[0.0], _GRID]),
        true=np.concatenate([[0.0], true]),
        recall=_GRID[::-1],
        precision=precision[::-1],
        share=float(np.mean([line.share for line in lines])),
    )


def _precision_at(line: RankingLine, recall: Float64) -> Float64:
    """Return the precision at the highest threshold that reaches each recall."""
    place = np.searchsorted(line.recall[::-1], recall - 1e-12)
    return np.asarray(line.precision[::-1][place])
