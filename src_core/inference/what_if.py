"""What a slide's prediction would be without some of its patches.

The patches are projected once, and blocks that a set of patches leaves as they were are not
attended to again: each set costs the cross-cluster attention and the pooling of a few bags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from src_core.bags.cohort import View
from src_core.bags.edits import SelectionEdits
from src_core.devices import DeviceName
from src_core.errors import TooFewPatchesError
from src_core.inference.explanation import Explanation, Outcome
from src_core.inference.predict import (
    check_patches,
    choose_views,
    prediction_bags,
    require_numbers,
    slide_scorer,
)
from src_core.models.checkpoint import Checkpoint, CheckpointMeta
from src_core.progress import Progress, Report, Stop, ignore, never
from src_core.training.scoring import SlideScorer, fuse
from src_core.types import BoolArray, Cells, Float32, Float64, Int64, Labels

__all__ = ["clusters_to_leave_out", "explain_slide"]


def clusters_to_leave_out(labels: Labels) -> dict[str, BoolArray]:
    """Return the patches of each cluster, by names such as ``cluster 7``."""
    return {f"cluster {one}": labels == one for one in np.unique(labels[labels >= 0])}


def explain_slide(
    checkpoint: Checkpoint,
    views: Sequence[View],
    labels: Labels,
    cells: Cells,
    *,
    without: Mapping[str, BoolArray] | None = None,
    edits: SelectionEdits | None = None,
    slide_id: str = "",
    n_bags: int = 8,
    change_bags: int = 8,
    seed: int = 0,
    device: DeviceName = "auto",
    report: Report = ignore,
    stop: Stop = never,
) -> Explanation:
    """Predict a slide again without some of its patches.

    A change is what the first `change_bags` of the prediction's bags say without the patches, less
    what they say with them. Over all of them that is `predict_slide` with the patches excluded.

    Parameters
    ----------
    checkpoint, views, labels, cells, edits, slide_id, n_bags, seed, device, report, stop
        See :func:`src_core.inference.predict.predict_slide`, which raises the same errors.
    without : mapping of str to ndarray of bool, shape (N,), optional
        Names of sets of patches, and which patches these are; each cluster by default.
    change_bags : int
        Bags over which a change is taken.

    Raises
    ------
    TooFewPatchesError
        If a set leaves nothing of the slide, as its only cluster does.
    """
    edits, meta = edits or SelectionEdits.none(len(labels)), checkpoint.meta
    chosen = choose_views(meta.encoders, views, slide_id)
    check_patches(slide_id, chosen, labels, cells)
    left = edits.applied(labels, slide_id=slide_id)
    sets = _each_cluster(left, slide_id) if without is None else without
    report(_progress(0, slide_id))
    draw = partial(prediction_bags, meta, edits=edits, slide_id=slide_id, seed=seed)
    whole = draw(left, n_bags=n_bags)
    few = min(change_bags, len(whole))
    remaining = [_remaining(left, patches, name, slide_id) for name, patches in sets.items()]
    drawn = [_Drawn(left, whole), *(_Drawn(one, draw(one, n_bags=few)[:few]) for one in remaining)]
    every = np.concatenate([one.bags.ravel() for one in drawn])
    scorer = slide_scorer(checkpoint, chosen, every, len(left), device=device, stop=stop)
    first, *others = _scores(scorer, drawn, meta, slide_id=slide_id, stop=stop)
    counts = [int((one != left).sum()) for one in remaining]
    report(_progress(1, slide_id))
    return Explanation(
        slide_id=slide_id,
        classes=meta.classes,
        whole=_outcome(meta, first, "", 0),
        without=tuple(map(partial(_outcome, meta, first), sets, counts, others)),
        n_bags=few,
        seed=seed,
        edits_id=edits.edits_id,
    )


def _each_cluster(labels: Labels, slide_id: str) -> dict[str, BoolArray]:
    sets = clusters_to_leave_out(labels)
    if len(sets) == 1:
        raise TooFewPatchesError(
            f"All patches of slide {slide_id!r} are of one cluster, as those of small slides are, "
            "so no other is left without it; exclude patches in step 3 and predict again to see "
            "what they weigh."
        )
    return sets


def _remaining(labels: Labels, patches: BoolArray, name: str, slide_id: str) -> Labels:
    remaining = np.where(patches, -1, labels).astype(labels.dtype)
    if not (remaining >= 0).any():
        raise TooFewPatchesError(
            f"Without {name} nothing is left of slide {slide_id!r}; leave out less."
        )
    return remaining


class _Drawn(NamedTuple):
    """Bags, and the labels that they were drawn from."""

    labels: Labels
    bags: Int64


def _scores(
    scorer: SlideScorer,
    drawn: Sequence[_Drawn],
    meta: CheckpointMeta,
    *,
    slide_id: str,
    stop: Stop,
) -> list[Float64]:
    """Return the fused outputs of each one's bags, (n_bags, C)."""
    shares = [scorer.log_share(one.labels, one.bags) for one in drawn]
    bags, share = _aligned(drawn, shares, meta.student.n_per_cluster)
    found = scorer.score(bags, share, stop=stop)
    fused = fuse(
        found.student,
        found.branches,
        student_std=meta.student_logit_std,
        branches_std=meta.branches_logit_std,
    )
    require_numbers(slide_id, fused)
    ends = np.cumsum([len(one.bags) for one in drawn])
    return np.split(fused, ends[:-1])


def _aligned(
    drawn: Sequence[_Drawn], shares: Sequence[Float32 | None], size: int
) -> tuple[Int64, Float32 | None]:
    """Put bags below one another; a cluster that some lack is an empty block, and says nothing."""
    known = np.unique(drawn[0].labels[drawn[0].labels >= 0])
    n_bags = sum(len(one.bags) for one in drawn)
    bags = np.full((n_bags, len(known), size), -1, dtype=np.int64)
    weights = np.zeros(bags.shape, dtype=np.float32)
    start = 0
    for one, share in zip(drawn, shares, strict=True):
        there = np.isin(known, one.labels)
        rows = slice(start, start + len(one.bags))
        bags[rows, there] = one.bags.reshape(len(one.bags), -1, size)
        if share is not None:
            weights[rows, there] = share.reshape(len(one.bags), -1, size)
        start += len(one.bags)
    flat = weights.reshape(n_bags, -1)
    return bags.reshape(n_bags, -1), flat if shares[0] is not None else None


def _outcome(
    meta: CheckpointMeta,
    whole: Float64,
    name: str,
    n_patches: int,
    after: Float64 | None = None,
) -> Outcome:
    """Return what comes of the whole slide's bags (n, C) where the first (k, C) are as `after`."""
    scale = meta.target_scale
    after = whole if after is None else after
    before, mean = whole[: len(after)], whole.mean(axis=0)
    moved = mean + (after - before).mean(axis=0)
    if meta.student.task == "classification":
        values, was = softmax(moved), softmax(mean)
        changes = softmax(after, axis=1) - softmax(before, axis=1)
    else:
        values, was = scale.in_units(moved), scale.in_units(mean)
        changes = scale.sizes_in_units(after - before)
    return Outcome(
        name=name,
        n_patches=n_patches,
        values=_plain(values),
        call=_call(meta, values),
        change=_plain(values - was),
        spread=_plain(changes.std(axis=0)),
    )


def _call(meta: CheckpointMeta, values: Float64) -> str:
    if meta.student.task != "classification":
        return ""
    if meta.operating_point is None:
        return meta.classes[int(values.argmax())]
    return meta.operating_point.call(values, meta.classes)


def _plain(values: Float64) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _progress(done: int, slide_id: str) -> Progress:
    return Progress(stage="Explaining", done=done, total=1, unit="slides", detail=slide_id)
