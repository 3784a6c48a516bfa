"""What the reports of a run and of a cross-validation have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src_core.errors import FusecpathError
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.project import ProjectConfig, SlideFolder
from src_core.runs import draw_prediction
from src_core.types import Float64

__all__ = ["maps_png", "median_risk_of", "origin_of", "point_note", "thresholds_of"]


def thresholds_of(meta: CheckpointMeta) -> Float64:
    """Return both thresholds of a model's operating point, shape (2,); NaN without one."""
    point = meta.operating_point
    return np.array([np.nan, np.nan] if point is None else [point.low, point.high])


def origin_of(meta: CheckpointMeta) -> Float64:
    """Return the means of the training slides, one an output: (C,), 0 but in a regression."""
    return np.broadcast_to(meta.target_scale.origin, (len(meta.classes),)).copy()


def median_risk_of(meta: CheckpointMeta) -> float:
    """Return the median risk of the patients that were learned from; NaN where it is unknown."""
    return np.nan if meta.median_risk is None else meta.median_risk


def point_note(meta: CheckpointMeta) -> str:
    """Say on whom the operating point was chosen, or why there is none; empty without classes."""
    if meta.student.task != "classification":
        return ""
    point = meta.operating_point
    if point is None:
        chosen = meta.metrics.get("operating_point")
        reason = chosen.get("reason") if isinstance(chosen, Mapping) else None
        return f"There is no operating point. {reason or ''}".strip()
    counts = ", ".join(
        f"{n} {name}" for n, name in zip(point.n_patients, meta.classes, strict=True)
    )
    sensitivity, specificity = (f"{100 * x:g}%" for x in (point.sensitivity, point.specificity))
    wanted = (
        f"{sensitivity} of the {meta.classes[-1]} and {specificity} of the {meta.classes[0]} are "
        "not called the other"
    )
    if len(meta.classes) > 2:
        wanted = f"{100 * max(point.sensitivity, point.specificity):g}% of the calls are right"
    return (
        f"The operating point was chosen so that {wanted}, on patients of the inner split, by "
        f"which the training was stopped as well: {counts}."
    )


def maps_png(
    prediction: Prediction, slide: SlideFolder, config: ProjectConfig, *, output: int | None
) -> bytes | None:
    """Return a slide and its maps as PNG; None where the slide cannot be read any more.

    The maps are of an output if one is named, see `draw_prediction`.

    Figures need embeddings only, so a report is no reason to ask for a drive that is not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "maps.png"
        try:
            draw_prediction(prediction, slide, path, config=config, output=output)
        except FusecpathError:
            return None
        return path.read_bytes()
