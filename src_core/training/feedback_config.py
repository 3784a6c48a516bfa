"""The settings of fine-tuning from review, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from src_core.config import Config, Help, Range

__all__ = ["FeedbackConfig", "FeedbackEpochs", "Tolerance"]

FeedbackEpochs: TypeAlias = Annotated[
    int, Range(1, 1000), Help("Passes over the slides it had learned from")
]

Tolerance: TypeAlias = Annotated[
    float, Range(0, 1), Help("Loss of AUROC on the slides it is checked on that needs no yes")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackConfig(Config):
    """How a model learns from what reviewers say of patches."""

    epochs: FeedbackEpochs = 4
    rate: Annotated[
        float, Range(0, 10), Help("Learning rate, as a share of the training's", advanced=True)
    ] = 0.25
    mark_weight: Annotated[
        float, Range(0, 100), Help("Weight of the marks beside the slides' labels", advanced=True)
    ] = 1.0
    marks_a_step: Annotated[
        int, Range(2, 4096), Help("Marked patches in a step", advanced=True)
    ] = 128
    tolerance: Tolerance = 0.02
