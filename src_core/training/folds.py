"""Folds of a cross-validation on disk, so that one that is killed goes on with the next fold."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src_core.errors import CheckpointError, ProjectError
from src_core.models.checkpoint import Checkpoint
from src_core.provenance import read_json, write_json
from src_core.training.packing import FitResult
from src_core.types import Float64, Json

__all__ = ["Fold", "fold_folder"]

_FOLD = "fold.json"


def fold_folder(folder: Path, number: int) -> Path:
    """Return where a fold is kept, and the state of its training before that."""
    return folder / f"fold-{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What came of one fold."""

    units: tuple[str, ...]
    """Names of the slides, or patients, that were tested; n of them."""
    scores: Float64
    """Shape (n, C)."""
    baseline: Float64
    """Shape (n, C); NaN where there is none."""
    result: FitResult

    def save(self, folder: Path) -> None:
        """Write it, ``fold.json`` last: without that there is no fold."""
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # of a call that was killed
        self.result.checkpoint.save(folder / "checkpoint")
        told = {
            "units": list(self.units),
            "scores": self.scores.tolist(),
            "baseline": [[_or_none(x) for x in row] for row in self.baseline.tolist()],
            "history": list(self.result.history),
            "metrics": self.result.metrics,
        }
        write_json(folder / _FOLD, told)
        for path in folder.glob("state*"):
            path.unlink()

    @classmethod
    def load(cls, folder: Path, *, units: Sequence[str], n_outputs: int) -> Fold | None:
        """Read a fold; None if there is none, or not one of these slides or patients."""
        if not (folder / _FOLD).is_file():
            return None
        try:
            told = read_json(folder / _FOLD)
            checkpoint = Checkpoint.load(folder / "checkpoint")
        except (ProjectError, CheckpointError):
            return None
        shape = (len(units), n_outputs)
        scores, baseline = (_array(told.get(key), shape) for key in ("scores", "baseline"))
        history, metrics = told.get("history"), told.get("metrics")
        if not isinstance(history, list) or not isinstance(metrics, dict):
            return None
        if told.get("units") != list(units) or scores is None or baseline is None:
            return None
        if not np.isfinite(scores).all():
            return None
        result = FitResult(checkpoint=checkpoint, history=tuple(history), metrics=metrics)
        return cls(units=tuple(units), scores=scores, baseline=baseline, result=result)


def _or_none(value: float) -> Json:
    return None if math.isnan(value) else value


def _array(values: Any, shape: tuple[int, int]) -> Float64 | None:
    """Return a list of lists as an array, None in it as NaN; None if it is of another shape."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape else None
