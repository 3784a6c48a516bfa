"""Predicting one slide: its classes, their spread, and the maps of its patches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from src_core.bags.cohort import View, check_views
from src_core.bags.dataset import standardised_rows
from src_core.bags.edits import SelectionEdits
from src_core.bags.selection import covering_bags
from src_core.devices import DeviceName, pick_device
from src_core.errors import CheckpointError, GridMismatchError
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint import Checkpoint, CheckpointMeta, EmbeddingSource
from src_core.progress import Progress, Report, Stop, ignore, never
from src_core.provenance import check_recipe
from src_core.seeding import generator
from src_core.training.scoring import SlideScorer, SlideScores, Watch, fuse
from src_core.types import Cells, Float32, Int64, Labels

__all__ = ["predict_slide"]


def predict_slide(
    checkpoint: Checkpoint,
    views: Sequence[View],
    labels: Labels,
    cells: Cells,
    *,
    edits: SelectionEdits | None = None,
    slide_id: str = "",
    n_bags: int = 8,
    seed: int = 0,
    device: DeviceName = "auto",
    report: Report = ignore,
    stop: Stop = never,
) -> Prediction:
    """Predict a slide from its stored embeddings and clusters.

    Parameters
    ----------
    checkpoint : Checkpoint
    views : sequence of View
        The checkpoint's encoders among them; others are left aside.
    labels, cells : ndarray of int32
        Cluster (N,) and lattice cell (N, 2) of each patch; -1, no cluster, is left out.
    edits : SelectionEdits, optional
        Patches that a person has excluded are left out too, pinned ones are in every bag.
    slide_id : str
        With `seed` it decides the bags.
    n_bags, seed : int
        Bags at least; as many are drawn as it takes, see `covering_bags`.
    device, report, stop
        See :func:`src_core.devices.pick_device` and :mod:`src_core.progress`.

    Returns
    -------
    Prediction
        Without `grid_id` and `run_id`, which the caller knows: ``prediction.replace(...)``.

    Raises
    ------
    CheckpointError
        If a view is missing or of another width, or no numbers come of it.
    StaleArtifactError
        If a view was made by another recipe than the one that was learned from.
    GridMismatchError, TooFewPatchesError
        If views, clusters, cells and edits are not of the same patches, or none is left.
    """
    edits, meta = edits or SelectionEdits.none(len(labels)), checkpoint.meta
    chosen = choose_views(meta.encoders, views, slide_id)
    check_patches(slide_id, chosen, labels, cells)
    left = edits.applied(labels, slide_id=slide_id)
    bags = prediction_bags(meta, left, edits, slide_id=slide_id, n_bags=n_bags, seed=seed)
    report(_progress(0, slide_id))
    watch = LikenessWatch(checkpoint)
    scorer = slide_scorer(
        checkpoint, chosen, bags, len(left), device=device, watch=watch, stop=stop
    )
    scores = scorer.score(bags, scorer.log_share(left, bags), maps=True, stop=stop)
    prediction = _assemble(checkpoint, scores, slide_id=slide_id, n_bags=len(bags), seed=seed)
    report(_progress(1, slide_id))
    return _with_edits(_checked(prediction.replace(unlikeness=watch.unlikeness())), edits, left)


def prediction_bags(
    meta: CheckpointMeta,
    labels: Labels,
    edits: SelectionEdits,
    *,
    slide_id: str,
    n_bags: int,
    seed: int,
) -> Int64:
    """Return the bags of a prediction; `labels` are those that the edits have left."""
    return covering_bags(
        labels,
        n_per_cluster=meta.student.n_per_cluster,
        n_bags=n_bags,
        rng=generator(seed, "predict", slide_id),
        pinned=edits.pinned,
    )


def choose_views(
    sources: Sequence[EmbeddingSource], views: Sequence[View], slide_id: str
) -> list[View]:
    """Return the views that a checkpoint reads, in its order, if they are as it learned them."""
    there = {view.encoder: view for view in views}
    chosen = []
    for source in sources:
        view = there.get(source.name)
        if view is None:
            raise CheckpointError(
                f"The checkpoint needs embeddings by {source.name}, which slide {slide_id} lacks; "
                "embed it with that encoder."
            )
        if view.dim != source.dim:
            raise CheckpointError(
                f"The checkpoint needs {source.dim} numbers a patch from {source.name}, slide "
                f"{slide_id} has {view.dim}; embed it with the same encoder."
            )
        if source.recipe:
            what = f"The embeddings of slide {slide_id} by {source.name}"
            check_recipe(dict(view.recipe), source.recipe, what=what)
        chosen.append(view)
    return chosen


def check_patches(slide_id: str, views: Sequence[View], labels: Labels, cells: Cells) -> None:
    """Raise `GridMismatchError` unless all are of the same patches."""
    check_views(slide_id, views, len(labels))
    if len(cells) != len(labels):
        raise GridMismatchError(
            f"Slide {slide_id}: {len(cells)} cells for {len(labels)} clustered patches; "
            "cluster the slide again."
        )


def slide_scorer(
    checkpoint: Checkpoint,
    views: Sequence[View],
    bags: Int64,
    n_patches: int,
    *,
    device: DeviceName,
    watch: Watch | None = None,
    stop: Stop = never,
) -> SlideScorer:
    """Project the patches that stand in bags; `views` are those of the checkpoint, in its order."""
    on = pick_device(device)
    return SlideScorer(
        checkpoint.student(on),
        checkpoint.branches(on),
        partial(standardised_rows, views, checkpoint.views()),
        np.unique(bags[bags >= 0]),
        n_patches=n_patches,
        watch=watch,
        stop=stop,
    )


class LikenessWatch:
    """Sees the patches of a slide as they are projected, and tells how unlike it is."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._likeness = checkpoint.likeness()
        self._seen: list[Float32] = []

    def __call__(self, rows: Int64, embeddings: Float32) -> None:
        """Keep what is compared of patches: standardised embeddings, shape (k, D)."""
        if self._likeness is not None:
            self._seen.append(self._likeness.coordinates(embeddings))

    def unlikeness(self) -> float | None:
        """Return the slide's; None where the checkpoint cannot tell."""
        if self._likeness is None:
            return None
        return self._likeness.unlikeness(np.concatenate(self._seen))


def _assemble(
    checkpoint: Checkpoint, scores: SlideScores, *, slide_id: str, n_bags: int, seed: int
) -> Prediction:
    meta, patches = checkpoint.meta, scores.patches
    if patches is None:
        raise ValueError("the scores were made without maps")
    size, bias = meta.student_logit_std, patches.bias
    if len(scores.branches):
        # The student's score has no honest place among the patches: it is part of the bias.
        size = meta.branches_logit_std
        bias = bias + scores.student.mean(axis=0) * (size / meta.student_logit_std)
    fused = fuse(
        scores.student,
        scores.branches,
        student_std=meta.student_logit_std,
        branches_std=meta.branches_logit_std,
    )  # (n_bags, C)
    scale = meta.target_scale
    logits = scale.in_units(fused.mean(axis=0))
    has_classes = meta.student.task == "classification"
    sources = (*meta.encoders, *meta.teachers)
    return Prediction(
        slide_id=slide_id,
        classes=meta.classes,
        task=meta.student.task,
        probabilities=softmax(logits) if has_classes else np.zeros(0),
        logits=logits,
        spread=(softmax(fused, axis=1) if has_classes else scale.sizes_in_units(fused)).std(axis=0),
        bias=scale.in_units(bias / size),
        attention=patches.attention.astype(np.float32),
        contributions=scale.sizes_in_units(patches.contributions / size).astype(np.float32),
        patch_probabilities=patches.probabilities.astype(np.float32),
        appearances=(scores.places / n_bags).astype(np.float32),
        map_source=patches.source,
        n_bags=n_bags,
        seed=seed,
        licences={one.name: one.licence for one in sources},
        notes=tuple(one.imported for one in sources if one.imported is not None),
        operating_point=meta.operating_point,
    )


def _checked(prediction: Prediction) -> Prediction:
    there = prediction.appearances > 0
    require_numbers(
        prediction.slide_id,
        *(prediction.logits, prediction.spread, prediction.bias, prediction.contributions),
        *(prediction.attention[there], prediction.patch_probabilities[there]),
        np.array([prediction.unlikeness or 0.0]),
    )
    return prediction


def require_numbers(slide_id: str, *arrays: NDArray[np.floating]) -> None:
    """Raise `CheckpointError` unless all that a model gives are numbers.

    In a map a patch without one would look as if it were not there.
    """
    if not all(np.isfinite(one).all() for one in arrays):
        raise CheckpointError(
            f"What the model computes of slide {slide_id!r} are no numbers: its weights, or the "
            "slide's embeddings, are damaged or far too large; restore the model, or remove the "
            "slide's embeddings and embed it again."
        )


def _with_edits(prediction: Prediction, edits: SelectionEdits, labels: Labels) -> Prediction:
    """Say of a prediction which selections it was made from; `labels` are those of its bags."""
    unseen = int(((labels >= 0) & (prediction.appearances == 0)).sum())
    return prediction.replace(
        notes=(*prediction.notes, *edits.notes(unseen)),
        n_clusters=len(np.unique(labels[labels >= 0])),
        n_excluded=edits.n_excluded,
        n_pinned=edits.n_pinned,
        edits_id=edits.edits_id,
    )


def _progress(done: int, slide_id: str) -> Progress:
    return Progress(stage="Predicting", done=done, total=1, unit="slides", detail=slide_id)
