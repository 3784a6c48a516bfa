"""What a person has excluded and pinned, before bags are drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from src_core.bags.dataset import BagDataset, embedding_chunks
from src_core.bags.edits import SelectionEdits
from src_core.errors import GridMismatchError, TooFewPatchesError
from src_core.models.standardise import Standardiser
from src_core.training.probes import mean_embeddings

LABELS = np.array([0, 0, 1, 1, 1, -1], dtype=np.int32)


def edits(excluded: Any = (), pinned: Any = (), n: int = len(LABELS)) -> SelectionEdits:
    rows = np.arange(n)
    return SelectionEdits(excluded=np.isin(rows, excluded), pinned=np.isin(rows, pinned))


def test_excluded_patches_have_no_cluster_and_the_stored_ones_stay() -> None:
    labels = LABELS.copy()
    np.testing.assert_array_equal(edits([0, 5]).applied(labels), [-1, 0, 1, 1, 1, -1])
    assert edits([0, 5]).applied(labels).dtype == np.int32
    np.testing.assert_array_equal(labels, LABELS)
    assert edits(pinned=[0]).applied(labels) is labels, "nothing of it is read"


def test_a_cluster_may_vanish_but_not_all_of_them() -> None:
    assert np.unique(edits([2, 3, 4]).applied(LABELS)).tolist() == [-1, 0]
    with pytest.raises(TooFewPatchesError, match=r"slide 'a' are excluded .*; include some"):
        edits(range(5)).applied(LABELS, slide_id="a")
    nothing = np.full(6, -1, dtype=np.int32)  # that is no edit's fault, and is said elsewhere
    np.testing.assert_array_equal(edits([0]).applied(nothing), nothing)
    with pytest.raises(GridMismatchError, match="cluster the slide again"):
        edits([0], n=5).applied(LABELS)


def test_a_patch_is_not_both() -> None:
    with pytest.raises(ValueError, match="neither"):
        edits([1], [1])


def test_the_name_stands_for_the_edits_and_nothing_else() -> None:
    assert edits().edits_id == "" == SelectionEdits.none(9).edits_id
    assert not edits()
    assert edits([1]).edits_id == edits([1]).edits_id
    others = [edits([1]), edits([2]), edits(pinned=[1]), edits([1], [2]), edits([1, 2])]
    assert len({one.edits_id for one in others}) == len(others)


def test_clusters_without_a_slot_for_others_are_named() -> None:
    assert edits(pinned=[0, 2]).full_clusters(LABELS, 1).tolist() == [0, 1]
    assert edits(pinned=[0, 2, 3]).full_clusters(LABELS, 2).tolist() == [1]
    assert edits([4], pinned=[2, 3]).full_clusters(LABELS, 2).tolist() == [], "there are none"


def test_the_notes_are_sentences() -> None:
    assert edits().notes(0) == ()
    assert edits([1], [2, 3]).notes(0) == (
        "By hand, 1 patch was excluded from and 2 patches were pinned into the patch selections.",
    )
    assert edits(pinned=[1]).notes(2)[1].startswith("2 more patches are in no map")


def test_no_excluded_patch_is_learned_from_and_every_bag_has_the_pinned(planted: Any) -> None:
    slides = planted(4, n_patches=120).slides
    slide = slides[0]
    clustered = np.flatnonzero(slide.labels >= 0)
    own = edits(clustered[::5], clustered[1::40], n=120)
    with pytest.raises(ValueError, match="still in clusters"):
        dataclasses.replace(slide, edits=own)
    edited = dataclasses.replace(slide, labels=own.applied(slide.labels), edits=own)
    cohort = dataclasses.replace(planted(4, n_patches=120), slides=(edited, *slides[1:]))
    identity = tuple(
        Standardiser(mean=np.zeros(dim, np.float32), scale=np.ones(dim, np.float32))
        for dim in cohort.dims
    )
    everything = np.concatenate([view.values for view in slide.views], axis=1)
    excluded = {row.tobytes() for row in everything[own.excluded]}
    pinned = {row.tobytes() for row in everything[own.pinned]}
    seen: list[set[bytes]] = []
    data = BagDataset([edited], identity, n_per_cluster=4, seed=0)
    for epoch in range(3):
        for batch in data.batches(epoch, bags_per_slide=8, batch_size=3):
            bags = np.concatenate(batch.views(), axis=-1)
            for bag, mask in zip(bags, batch.mask, strict=True):
                seen.append({row.tobytes() for row in bag[mask]})
    assert all(pinned <= bag and not excluded & bag for bag in seen)
    # Neither what scales the views nor the plain baseline knows them.
    rows = np.concatenate(list(embedding_chunks([edited], 0)))
    assert len(rows) == len(clustered) - own.n_excluded
    kept = everything[(slide.labels >= 0) & ~own.excluded]
    np.testing.assert_allclose(mean_embeddings(cohort)[0], kept.mean(axis=0), rtol=1e-4)
