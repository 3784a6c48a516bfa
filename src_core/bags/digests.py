"""What stands for the slides of a training: a repetition knows by it whether they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from src_core.bags.cohort import CohortSlide, View
from src_core.progress import Stop, check, never
from src_core.provenance import recipe_id
from src_core.types import Json

__all__ = ["cohort_digests", "first_difference", "slide_digests", "view_digests"]

_ROWS = 512
"""Patches of a slide whose embeddings are read: whoever embeds a slide anew changes all of them."""


def cohort_digests(
    slides: Iterable[CohortSlide], *, stop: Stop = never
) -> dict[str, dict[str, Json]]:
    """Return the digests of slides by their names; `stop` is asked between them."""
    digests: dict[str, dict[str, Json]] = {}
    for slide in slides:
        check(stop)
        digests[slide.slide_id] = slide_digests(slide)
    return digests


def slide_digests(slide: CohortSlide) -> dict[str, Json]:
    """Return what stands for a slide as training sees it, 16 hexadecimal digits a part.

    Returns
    -------
    dict
        ``label`` (with the patient), ``clusters`` (with the patches that people excluded or
        pinned), and by name ``embeddings`` and ``teachers``. Of embeddings it is the recipe and
        the numbers of up to 512 patches that are spread over the slide.
    """
    label = {"patient": slide.patient_id, "target": slide.target, "values": repr(slide.values)}
    pinned = b"" if slide.pinned is None else slide.pinned.tobytes()
    return {
        "label": recipe_id(label),
        "clusters": _digest(slide.labels.astype("<i4").tobytes(), pinned),
        "embeddings": view_digests(slide.views),
        "teachers": {
            name: _digest(vector.astype("<f4").tobytes()) for name, vector in slide.teachers.items()
        },
    }


def view_digests(views: Iterable[View]) -> dict[str, Json]:
    """Return what stands for embeddings, by their encoder; see `slide_digests`."""
    return {view.encoder: _of_view(view) for view in views}


def first_difference(stored: Any, now: Mapping[str, Any]) -> str:
    """Return what of a slide is no longer as its stored digests say, in words; "" if nothing.

    A slide of which no label was learned has digests of its embeddings alone.
    """
    before = stored if isinstance(stored, Mapping) else {}
    if before.get("label") != now.get("label"):
        return "its label, or its patient"
    if before.get("clusters") != now.get("clusters"):
        return "its patches, their clusters, or which of them are excluded or pinned"
    for kind, what in (("embeddings", "its embeddings"), ("teachers", "its slide embedding")):
        own = before.get(kind)
        own = own if isinstance(own, Mapping) else {}
        new = now.get(kind, {})
        for name in sorted({*own, *new}):
            if own.get(name) != new.get(name):
                return f"{what} by {name}"
    return ""


def _of_view(view: View) -> str:
    rows = np.unique(np.linspace(0, len(view) - 1, min(len(view), _ROWS)).astype(np.int64))
    return _digest(recipe_id(view.recipe).encode(), view.rows(rows).astype("<f4").tobytes())


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]
