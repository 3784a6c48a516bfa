from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.bags.dataset import BagDataset, embedding_chunks, standardised_rows
from src_core.embeddings import EmbeddingView
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
        assert [view.shape[2] for view in batch.views()] == [24, 8]
        assert not batch.log_share[~batch.mask].any()
        bags = np.concatenate(batch.views(), axis=-1)
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
        return np.concatenate([batch.views()[0].sum(axis=(1, 2)) for batch in batches])

    assert len(epoch(0)) == 10 == dataset(slides).n_batches(bags_per_slide=10, batch_size=5)
    np.testing.assert_array_equal(epoch(0), epoch(0))
    assert not np.array_equal(epoch(0), epoch(1))
    assert not np.array_equal(epoch(0), epoch(0, seed=4))


def test_bags_gathered_ahead_are_the_same(planted: Any) -> None:
    data = dataset(planted(5).slides)
    here, ahead = (
        list(data.batches(0, bags_per_slide=2, batch_size=4, ahead=ahead))
        for ahead in (False, True)
    )
    assert [batch.gathered is None for batch in here + ahead] == [True] * 3 + [False] * 3
    for one, other in zip(here, ahead, strict=True):
        for view, same in zip(one.views(), other.views(), strict=True):
            np.testing.assert_array_equal(view, same)


def test_adding_a_slide_leaves_the_bags_of_the_others_alone(planted: Any) -> None:
    slides = planted(5).slides
    scales = scales_of(slides)

    def bags(some: Any) -> set[bytes]:
        data = BagDataset(some, scales, n_per_cluster=4, seed=3)
        batches = data.batches(0, bags_per_slide=1, batch_size=1)
        return {batch.views()[0].tobytes() for batch in batches}

    assert bags(slides[:4]) < bags(slides)


def test_a_slide_with_fewer_clusters_is_padded_by_whole_clusters(planted: Any) -> None:
    one, other = planted(2).slides
    fewer = dataclasses.replace(other, labels=np.minimum(other.labels, 1))
    (batch,) = dataset((one, fewer)).batches(0, bags_per_slide=1, batch_size=2)
    assert [view.shape for view in batch.views()] == [(2, 24, 24), (2, 24, 8)]
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


def views_of(slides: Any) -> list[Any]:
    return [view for slide in slides for view in slide.views]


def test_views_are_opened_once_and_closed_in_the_end(planted: Any) -> None:
    slides = planted(5).slides
    data = dataset(slides)
    for epoch in range(2):
        list(data.batches(epoch, bags_per_slide=2, batch_size=3))
        data.patches(0)(np.arange(3))
    assert [len(view.opened) for view in views_of(slides)] == [1] * 10
    assert [view.n_open for view in views_of(slides)] == [1] * 10
    data.close()
    assert not any(view.n_open for view in views_of(slides))


def test_of_very_many_views_those_last_read_stay_open(
    planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = planted(5).slides

    def bags() -> list[bytes]:
        data = dataset(slides)
        batches = data.batches(0, bags_per_slide=2, batch_size=3)
        return [view.tobytes() for batch in batches for view in batch.views()]

    expected = bags()
    monkeypatch.setattr("src_core.bags.dataset.most_maps", lambda: 4)
    data = dataset(slides)
    for index in range(5):
        data.patches(index)(np.arange(3))
    assert [view.n_open for view in views_of(slides)] == [0] * 6 + [1] * 4
    assert bags() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows counts no maps")
def test_more_files_than_may_be_open_are_read(planted: Any, tmp_path: Path) -> None:
    import resource

    slides = planted(70).slides
    mapped = []
    for slide in slides:
        views = []
        for view in slide.views:
            path = tmp_path / slide.slide_id / view.encoder / "embeddings.npy"
            path.parent.mkdir(parents=True)
            np.save(path, view.values)
            path.with_name("meta.json").write_text('{"recipe": {}}', encoding="utf-8")
            rows = np.arange(len(view))
            views.append(EmbeddingView(view.encoder, view.dim, {}, path, rows))
        mapped.append(dataclasses.replace(slide, views=tuple(views)))
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, most))
    try:
        found = []
        for some in (slides, mapped):
            with closing(BagDataset(some, scales_of(slides), n_per_cluster=4, seed=3)) as data:
                batches = data.batches(0, bags_per_slide=1, batch_size=8)
                found.append([view.tobytes() for batch in batches for view in batch.views()])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
    assert found[0] == found[1]


def test_bags_are_as_precise_as_what_is_stored(planted: Any) -> None:
    slides = [
        dataclasses.replace(
            slide, views=tuple(planted.view(v.values.astype(np.float16)) for v in slide.views)
        )
        for slide in planted(3).slides
    ]
    mixed = dataclasses.replace(
        slides[0],
        views=(planted.view(slides[0].views[0].values.astype(np.float32)), slides[0].views[1]),
    )
    (half,) = dataset(slides).batches(0, bags_per_slide=1, batch_size=3)
    (wider,) = dataset([mixed, *slides[1:]]).batches(0, bags_per_slide=1, batch_size=3)
    assert [view.dtype for view in half.views()] == [np.float16, np.float16]
    assert [view.dtype for view in wider.views()] == [np.float32, np.float16]
    for one, other in zip(half.views(), wider.views(), strict=True):
        np.testing.assert_array_equal(one, other)
