"""What a report says in numbers beside its figures, and the file that holds all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src_core import RESEARCH_USE
from src_core.reports.cautions import cautions
from src_core.reports.class_plots import calibration_bins
from src_core.reports.figures import SetFigures
from src_core.reports.scored import ScoredSlides
from src_core.reports.survival import curve_values, log_rank, split_by_risk
from src_core.types import Int64, Json

__all__ = ["confusion", "counts", "counts_by_kind", "report_values"]


def confusion(scored: ScoredSlides) -> Int64:
    """Return how many of each true class, by row, are called each class, by column.

    The last column, one more than there are classes, counts those that are indeterminate.
    """
    n = len(scored.outputs)
    called = np.where(scored.calls < 0, n, scored.calls)
    flat = np.bincount(scored.classes * (n + 1) + called, minlength=n * (n + 1))
    return np.asarray(flat.reshape(n, n + 1), dtype=np.int64)


def counts(scored: ScoredSlides) -> dict[str, int]:
    """Return the number of slides and of patients."""
    slides = sum(map(len, scored.members)) if scored.members else len(scored)
    return {"slides": slides, "patients": len({*scored.patients})}


def counts_by_kind(scored: ScoredSlides) -> dict[str, int]:
    """Return the rows of every class, or with and without an event; none in a regression."""
    if scored.task == "classification":
        return {name: int((scored.classes == c).sum()) for c, name in enumerate(scored.outputs)}
    if scored.task == "survival":
        n = int(scored.events.sum())
        return {"with an event": n, "censored": len(scored) - n}
    return {}


def report_values(scored: ScoredSlides, measured: Sequence[SetFigures]) -> dict[str, Json]:
    """Return everything that the report says, as JSON values without NaN."""
    sets: dict[str, Json] = {}
    for one in measured:
        sets[one.name] = {
            "counts": {**counts(one.scored), **_kinds(one.scored)},
            "figures": {figure.name: figure.to_dict() for figure in one.figures},
            "cautions": list(cautions(one, scored)),
            **_by_task(one.scored),
        }
    return {
        "task": scored.task,
        "target": scored.target_name,
        "outputs": list(scored.outputs),
        "level": scored.level,
        "sets": sets,
        "licences": dict(scored.licences),
        "notes": list(scored.notes),
        "provenance": dict(scored.provenance),
        "use": RESEARCH_USE,
    }


def _kinds(scored: ScoredSlides) -> dict[str, Json]:
    kinds: dict[str, Json] = dict(counts_by_kind(scored))
    return {"kinds": kinds} if kinds else {}


def _by_task(scored: ScoredSlides) -> dict[str, Json]:
    if scored.task == "classification":
        matrix = confusion(scored)
        values: dict[str, Json] = {
            "confusion": matrix[:, :-1].tolist(),
            "indeterminate": matrix[:, -1].tolist(),
            "calibration": [
                {"from": low, "to": high, "n": n, "claimed": claimed, "true": true}
                for low, high, n, claimed, true in calibration_bins(scored)
            ],
        }
        if scored.binary or scored.has_band:
            values["thresholds"] = np.unique(scored.cuts, axis=0).tolist()
        return values
    if scored.task == "survival":
        split = split_by_risk(scored)
        times, events = scored.targets[:, 0], scored.events
        p = log_rank(times, events, split.high)
        sides = {"high": split.high, "low": ~split.high}
        groups: Json = {name: int(side.sum()) for name, side in sides.items()}
        curves: dict[str, Json] = {
            name: curve_values(times[side], events[side]) for name, side in sides.items()
        }
        return {
            "log_rank_p": p.to_dict(),
            "groups": groups,
            "split": split.words,
            "curves": {"median_risk": split.median, **curves},
        }
    return {}
