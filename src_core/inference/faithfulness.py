"""Does a map speak for the model: what is left of a score without the patches it ranks highest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import standardised_rows
from src_core.bags.selection import covering_bags
from src_core.devices import DeviceName, pick_device
from src_core.models.checkpoint import Checkpoint
from src_core.progress import Stop, never
from src_core.seeding import generator
from src_core.training.scoring import fuse, score_slide
from src_core.types import Float64, Labels

__all__ = ["Curve", "Way", "faithfulness_curve"]

Way: TypeAlias = Literal["deletion", "insertion"]
"""The highest patches are taken away, or nothing else is left."""


class Curve(NamedTuple):
    """Centred logits of a slide at each share of its patches."""

    student: Float64
    """Shape (shares, C)."""
    fused: Float64
    """Shape (shares, C): the slide's score, of the student and the local branches together."""


def faithfulness_curve(
    checkpoint: Checkpoint,
    slide: CohortSlide,
    ranking: NDArray[np.floating],
    shares: Sequence[float],
    *,
    way: Way = "deletion",
    n_bags: int = 8,
    seed: int = 0,
    device: DeviceName = "auto",
    stop: Stop = never,
) -> Curve:
    """Score a slide again with some of its patches.

    A map that speaks for the model holds what the score is made of at its top: without it the
    score falls faster than without patches drawn at random, and with little else it is there.

    Parameters
    ----------
    checkpoint : Checkpoint
    slide : CohortSlide
        Its clusters are kept; one that loses all its patches leaves the bags.
    ranking : ndarray of float, shape (N,)
        The map; NaN ranks lowest. Ties are broken by the order of the patches.
    shares : sequence of float
        Of the clustered patches: how many of the highest are deleted, from 0 to less than 1, or
        inserted, from more than 0 to 1.
    way : {"deletion", "insertion"}
    n_bags, seed, device, stop
        As for :func:`~src_core.inference.predict.predict_slide`.

    Raises
    ------
    ValueError
        If a share leaves no patch, or the map is of other patches.
    """
    if ranking.shape != slide.labels.shape:
        raise ValueError(f"a map of shape {ranking.shape} for {len(slide.labels)} patches")
    on = pick_device(device)
    student, branches = checkpoint.student(on), checkpoint.branches(on)
    patches = partial(standardised_rows, slide.views, checkpoint.views())
    rows = []
    for share in shares:
        left = _left(slide.labels, ranking, share, way)
        bags = covering_bags(
            left,
            n_per_cluster=student.config.n_per_cluster,
            n_bags=n_bags,
            rng=generator(seed, "predict", slide.slide_id),
            pinned=slide.pinned,
        )
        scores = score_slide(student, branches, patches, left, bags, stop=stop)
        fused = fuse(
            scores.student,
            scores.branches,
            student_std=checkpoint.meta.student_logit_std,
            branches_std=checkpoint.meta.branches_logit_std,
        )
        rows.append((scores.student.mean(axis=0), fused.mean(axis=0)))
    return Curve(*(np.stack(column) for column in zip(*rows, strict=True)))


def _left(labels: Labels, ranking: NDArray[np.floating], share: float, way: Way) -> Labels:
    """Return the clusters of the patches that are left; -1 for the others."""
    clustered = np.flatnonzero(labels >= 0)
    n_highest = round(share * len(clustered))
    values = np.nan_to_num(ranking[clustered], nan=-np.inf)
    order = clustered[np.argsort(-values, kind="stable")]
    kept = order[n_highest:] if way == "deletion" else order[:n_highest]
    if not len(kept):
        raise ValueError(f"a {way} of the share {share} leaves none of {len(clustered)} patches")
    left = np.full_like(labels, -1)
    left[kept] = labels[kept]
    return left
