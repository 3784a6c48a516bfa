"""How well a map finds the patches of a slide's class, where somebody knows which they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import BagDataset
from src_core.bags.selection import covering_bags
from src_core.models.local_branches import LocalBranches
from src_core.models.student import BagModel
from src_core.progress import Stop, never
from src_core.seeding import generator
from src_core.training.metrics import auroc
from src_core.training.scoring import SlideScores, score_slide
from src_core.types import BoolArray, Float64, Json

__all__ = ["Found", "localisation", "patch_aurocs"]


class Found(NamedTuple):
    """Areas under the curve over the known patches of one slide, its class's against others."""

    contribution: float
    """By the contribution to the slide's class."""
    magnitude: float
    """By the contribution's magnitude: the way to read a map where all tumour is of one class."""


def patch_aurocs(contributions: Float64, slide: CohortSlide, there: BoolArray) -> Found | None:
    """Hold one slide's map against what is known of its patches.

    Parameters
    ----------
    contributions : ndarray of float64, shape (N, C)
        Mean over the bags that hold the patch.
    slide : CohortSlide
    there : ndarray of bool, shape (N,)
        Which patches have a place on the map.

    Returns
    -------
    Found or None
        None where no patch of the slide's class is known, or no other.
    """
    if slide.truth is None:
        return None
    known = there & (slide.truth >= 0)
    parts, positive = contributions[known], slide.truth[known] == slide.target
    signed = auroc(parts[:, slide.target], positive).value
    sized = auroc(parts.max(axis=1) - parts.min(axis=1), positive).value
    return None if signed is None or sized is None else Found(signed, sized)


def localisation(
    student: BagModel,
    branches: LocalBranches | None,
    dataset: BagDataset,
    *,
    classes: Sequence[str],
    seed: int,
    stop: Stop = never,
) -> dict[str, Json] | None:
    """Return how well the map finds the patches of a slide's own class, where they are known.

    Parameters
    ----------
    student, branches : Module
        In evaluation mode.
    dataset : BagDataset
    classes : sequence of str
        Their names.
    seed : int
        With a slide's id it decides its bags.
    stop : callable
        Asked between chunks of bags.

    Returns
    -------
    dict or None
        Number of slides, median and lowest area under the curve over them, of the contribution
        to the slide's class and of the contribution's magnitude, for all slides and by class;
        and whose knowledge it was held against. None where no slide has both patches that are
        known to be of its class and others.
    """
    found: list[tuple[CohortSlide, Found]] = []
    for index, slide in enumerate(dataset.slides):
        if slide.truth is None or not (slide.truth == slide.target).any():
            continue
        bags = covering_bags(
            slide.labels,
            n_per_cluster=student.config.n_per_cluster,
            n_bags=1,
            rng=generator(seed, "localise", slide.slide_id),
            pinned=slide.pinned,
        )
        scores = score_slide(
            student, branches, dataset.patches(index), slide.labels, bags, maps=True, stop=stop
        )
        one = _found(scores, slide)
        if one is not None:
            found.append((slide, one))
    if not found:
        return None
    by_class = {
        name: _figures([one for slide, one in found if slide.target == target])
        for target, name in enumerate(classes)
        if any(slide.target == target for slide, _ in found)
    }
    truths = sorted({slide.truth_source for slide, _ in found})
    whole = _figures([one for _, one in found])
    return {**whole, "by_class": dict(by_class), "truth": " and ".join(truths)}


def _found(scores: SlideScores, slide: CohortSlide) -> Found | None:
    if scores.patches is None:
        return None
    parts = scores.patches.contributions / np.maximum(scores.places, 1)[:, None]
    return patch_aurocs(parts, slide, scores.places > 0)


def _figures(found: Sequence[Found]) -> dict[str, Json]:
    columns = np.array(found)  # (n_slides, 2)
    return {
        "n_slides": len(found),
        "contribution_median": float(np.median(columns[:, 0])),
        "contribution_lowest": float(columns[:, 0].min()),
        "magnitude_median": float(np.median(columns[:, 1])),
        "magnitude_lowest": float(columns[:, 1].min()),
    }
