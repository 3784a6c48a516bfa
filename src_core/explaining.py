"""What the predictions of a project's slides become without some of their patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src_core.errors import ConfigError
from src_core.inference.explanation import Explanation
from src_core.progress import Report, Stop
from src_core.project import SlideFolder
from src_core.runs import Predictor
from src_core.types import BoolArray, Labels

__all__ = ["EXPLANATION_NAME", "explain"]

EXPLANATION_NAME = "explanation.json"
"""Beside the slide's prediction by the same run."""


def explain(
    predictor: Predictor,
    slide: SlideFolder,
    *,
    without: Sequence[int] = (),
    change_bags: int = 8,
    report: Report,
    stop: Stop,
) -> Explanation:
    """Predict a slide again without each of its clusters, and store what comes of it.

    Parameters
    ----------
    predictor : Predictor
    slide : SlideFolder
    without : sequence of int
        Clusters that are left out together, instead of one after another.
    change_bags : int
        Bags over which a change is taken.
    report, stop : callable
        See :mod:`src_core.progress`.

    Raises
    ------
    ConfigError
        If the slide has no such cluster.
    TooFewPatchesError
        If nothing would be left.
    ProjectError, GridMismatchError
        If the slide is not embedded as the model needs it.
    """
    from src_core.inference.what_if import explain_slide

    inputs = predictor.gather(slide, report=report, stop=stop)
    explanation = explain_slide(
        predictor.checkpoint,
        inputs.views,
        inputs.labels,
        inputs.grid.cells,
        without=_together(slide.slide_id, inputs.labels, without) if without else None,
        edits=inputs.edits,
        slide_id=slide.slide_id,
        n_bags=predictor.n_bags,
        change_bags=change_bags,
        seed=predictor.checkpoint.meta.seed,
        device=predictor.device,
        report=report,
        stop=stop,
    )
    explanation = explanation.of(grid_id=inputs.grid.grid_id, run_id=predictor.run_id)
    folder = predictor.project.prediction(predictor.run_id, slide.slide_id)
    explanation.save(folder / EXPLANATION_NAME)
    return explanation


def _together(slide_id: str, labels: Labels, clusters: Sequence[int]) -> dict[str, BoolArray]:
    unknown = [one for one in clusters if one < 0 or not (labels == one).any()]
    if unknown:
        known = np.unique(labels[labels >= 0])
        raise ConfigError(
            f"Slide {slide_id!r} has no cluster {unknown[0]}; it has {len(known)}, from "
            f"{known.min()} to {known.max()}."
        )
    numbers = sorted(set(clusters))
    name = f"cluster{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
    return {name: np.isin(labels, numbers)}
