from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from src_core.bags.dataset import BagDataset, embedding_chunks, standardised_rows
from src_core.errors import JobCancelled
from src_core.models.standardise import Standardiser


def scales_of(slides: Any) -> tuple[Standardiser, ...]:
    return tuple(
        Standardiser.fit(embedding_chunks(slides, view)) for view in range(len(slides[0].views))
    )


def dataset(slides: Any, **changes: Any) -> BagDataset:
    return BagDataset(slides, scales_of(slides), **{"n_per_cluster": 4, "seed": 3, **changes})


def test_the_chunks_are_all_clustered_patches_of_a_view(planted: Any) -> None:
    slides = planted(3).slides
    rows = np.concatenate(list(embedding_chunks(slides, 1)))
    wanted = [s.views[1].values[s.labels >= 0] for s in slides]
    np.testing.assert_array_equal(rows, np.concatenate(wanted))
    with pytest.raises(JobCancelled):
        list(embedding_chunks(slides, 0, stop=lambda: True))


def test_every_view_weighs_the_same_whatever_its_width_and_size(planted: Any) -> None:
    slides = planted(6).slides
    rows = np.flatnonzero(slides[0].labels >= 0)
    found = [
        standardised_rows(s.views, scales_of(slides), np.flatnonzero(s.labels >= 0)) for s in slides
    ]
    everything = np.concatenate(found)
    assert found[0].shape == (len(rows), 32)
    for view in (everything[:, :24], everything[:, 24:]):
        np.testing.assert_allclose(view.mean(axis=0), 0, atol=1e-5)
        assert (view**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_bags_are_the_slides_own_patches_and_padding_has_no_share(planted: Any) -> None:
    slides = planted(5).slides
    for batch in dataset(slides).batches(0, bags_per_slide=2, batch_size=3):
        assert [view.shape[2] for view in batch.views] == [24, 8]
        assert not batch.log_share[~batch.mask].any()
        bags = np.concatenate(batch.views, axis=-1)
        for bag, mask, target in zip(bags, batch.mask, batch.targets, strict=True):
            rows = [
                {r.tobytes() for r in np.concatenate([v.values for v in s.views], axis=1)}
                for s in slides
                if s.target == target
            ]
            mine = {row.tobytes() for row in bag[mask]}
            assert any(mine <= theirs for theirs in rows)


def test_an_epoch_holds_every_slide_and_the_seed_decides_it(planted: Any) -> None:
    slides = planted(5).slides

    def epoch(number: int, **changes: Any) -> np.ndarray:
        batches = dataset(slides, **changes).batches(number, bags_per_slide=2, batch_size=4)
        return np.concatenate([batch.views[0].sum(axis=(1, 2)) for batch in batches])

    assert len(epoch(0)) == 10 == dataset(slides).n_batches(bags_per_slide=10, batch_size=5)
    np.testing.assert_array_equal(epoch(0), epoch(0))
    assert not np.array_equal(epoch(0), epoch(1))
    assert not np.array_equal(epoch(0), epoch(0, seed=4))


def test_adding_a_slide_leaves_the_bags_of_the_others_alone(planted: Any) -> None:
    slides = planted(5).slides
    scales = scales_of(slides)

    def bags(some: Any) -> set[bytes]:
        data = BagDataset(some, scales, n_per_cluster=4, seed=3)
        batches = data.batches(0, bags_per_slide=1, batch_size=1)
        return {batch.views[0].tobytes() for batch in batches}

    assert bags(slides[:4]) < bags(slides)


def test_a_slide_with_fewer_clusters_is_padded_by_whole_clusters(planted: Any) -> None:
    one, other = planted(2).slides
    fewer = dataclasses.replace(other, labels=np.minimum(other.labels, 1))
    (batch,) = dataset((one, fewer)).batches(0, bags_per_slide=1, batch_size=2)
    assert [view.shape for view in batch.views] == [(2, 24, 24), (2, 24, 8)]
    short = batch.mask[int(np.argmin(batch.mask.sum(axis=1)))]
    assert short[:8].all()
    assert not short[8:].any()


def test_a_missing_teacher_is_absent_and_zero(planted: Any) -> None:
    one, other = planted(2).slides
    one = dataclasses.replace(one, teachers={"t": np.array([1.0, 2.0], np.float32)})
    scale = Standardiser(mean=np.zeros(2, np.float32), scale=np.ones(2, np.float32))
    data = dataset((one, other), teacher_scales={"t": scale})
    (batch,) = data.batches(0, bags_per_slide=1, batch_size=2)
    order = np.argsort(batch.targets)
    assert batch.present[order, 0].tolist() == [True, False]
    np.testing.assert_array_equal(batch.teachers["t"][order], [[1, 2], [0, 0]])


def test_values_come_with_their_bags_and_a_patient_stands_once(planted: Any) -> None:
    slides = [
        dataclasses.replace(slide, target=-1, values=(1.0 + place, float(place % 2)))
        for place, slide in enumerate(planted(9, patients=6).slides)
    ]
    data = dataset(slides, one_a_patient=True)
    batches = list(data.batches(0, bags_per_slide=2, batch_size=3))
    assert len(batches) == data.n_batches(bags_per_slide=2, batch_size=3)
    known = {slide.values for slide in slides}
    for batch in batches:
        assert batch.targets.dtype == np.float32
        assert {tuple(row) for row in batch.targets.tolist()} <= known
        assert len({(row[0] - 1) % 6 for row in batch.targets.tolist()}) == len(batch.mask)
