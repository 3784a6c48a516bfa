"""Predictions of slides.

They are made by `predict_slide`, which loads torch when it is first asked for, and read, drawn
and exported without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src_core.inference.prediction import Prediction

if TYPE_CHECKING:
    from src_core.inference.predict import predict_slide

__all__ = ["Prediction", "predict_slide"]


def __getattr__(name: str) -> Any:
    if name == "predict_slide":
        from src_core.inference.predict import predict_slide

        return predict_slide
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
