"""What a comparison is known again by: all that decides what a contender's models score."""

from __future__ import annotations

import hashlib

import numpy as np

import src_core
from src_core.bags.cohort import Cohort
from src_core.provenance import recipe_id
from src_core.training.config import TrainConfig
from src_core.types import Json

__all__ = ["contest_recipe"]


def contest_recipe(cohort: Cohort, config: TrainConfig, n_folds: int) -> dict[str, Json]:
    """Return all that decides what a contender's models score."""
    return {
        "target": cohort.target_name,
        "task": cohort.task,
        "per": cohort.per,
        "classes": list(cohort.classes),
        "encoders": list(cohort.encoders),
        "teachers": list(cohort.teacher_dims),
        "n_folds": n_folds,
        "settings": config.to_dict(),
        "slides": _digest(cohort),
        "version": src_core.__version__,
    }


def _digest(cohort: Cohort) -> str:
    """Return a hash of the slides: whose, with which labels, embeddings, clusters and teachers."""
    digest = hashlib.sha256()
    for slide in cohort.slides:
        told = {
            "slide": [slide.slide_id, slide.patient_id, slide.target],
            "values": [None if np.isnan(one) else one for one in slide.values],
            "views": [[view.encoder, dict(view.recipe)] for view in slide.views],
        }
        digest.update(recipe_id(told).encode())
        digest.update(np.ascontiguousarray(slide.labels).tobytes())
        digest.update(np.ascontiguousarray(slide.cells).tobytes())
        digest.update(b"" if slide.pinned is None else slide.pinned.tobytes())
        for name in sorted(slide.teachers):
            digest.update(name.encode() + np.ascontiguousarray(slide.teachers[name]).tobytes())
    return digest.hexdigest()[:32]
