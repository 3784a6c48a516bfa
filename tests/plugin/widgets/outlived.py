"""A report's figures of planted risks and times, as ``evaluate`` stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from src_core.reports.figures import SetFigures
from src_core.reports.scored import ScoredSlides
from src_core.reports.tables import report_values

__all__ = ["figures_of"]

_N = 40


def figures_of(median: float = 25.0, *, known: Sequence[str] = ()) -> dict[str, Any]:
    """Return figures of 40 held-back patients: the 14 with a risk above `median` die early."""
    steps = np.arange(_N) - 25.0
    high = steps > 0
    names = tuple(f"p{number}" for number in range(_N))
    scored = ScoredSlides(
        task="survival",
        target_name="months, dead",
        outputs=("log-hazard",),
        slide_ids=names,
        patients=names,
        sets=("test",) * _N,
        scores=np.asarray(median + steps, np.float64)[:, None],
        targets=np.stack([np.where(high, 2 + 0.5 * steps, 55 + steps), np.arange(_N) % 3 > 0], 1),
        training_risks=np.full(_N, median),
        members=tuple((name,) for name in names),
        provenance={"known patients": list(known)} if known else {},
    )
    measured = SetFigures(name="test", scored=scored, figures=())
    return dict(report_values(scored, [measured]))
