"""Bags drawn on the fly from stored embeddings, and the scale that the views are brought to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Protocol, TypeAlias

import numpy as np

from src_core.bags.ahead import read_ahead
from src_core.bags.batch import Batch
from src_core.bags.cohort import CohortSlide
from src_core.bags.order import Batches, bag_batches, n_batches_of, risk_sets
from src_core.bags.selection import cluster_share_log_weights, select_bags
from src_core.embeddings.stored import Stored
from src_core.open_files import most_maps
from src_core.progress import Stop, check, never
from src_core.seeding import generator
from src_core.types import BoolArray, Float32, Int64

__all__ = [
    "BagDataset",
    "Patches",
    "Scale",
    "embedding_chunks",
    "standardised_rows",
]

_CHUNK = 4096


class Scale(Protocol):
    """How embeddings are standardised; see :class:`src_core.models.standardise.Standardiser`."""

    @property
    def dim(self) -> int:
        """Length of the embeddings."""
        ...

    def apply(self, embeddings: Float32, /, out: Float32 | None = None) -> Float32:
        """Return standardised embeddings, shape (..., dim), written to `out` if it is given."""
        ...


class _Rows(Protocol):
    def rows(self, indices: Int64, /) -> Float32:
        """Return some patches' embeddings, shape (k, dim)."""
        ...


def embedding_chunks(
    slides: Sequence[CohortSlide], view: int, *, stop: Stop = never
) -> Iterator[Float32]:
    """Yield one view's embeddings of all clustered patches, a few thousand rows at a time.

    Parameters
    ----------
    slides : sequence of CohortSlide
    view : int
        Its place among the views.
    stop : callable
        Asked between chunks.
    """
    for slide in slides:
        rows = np.flatnonzero(slide.labels >= 0)
        for start in range(0, len(rows), _CHUNK):
            check(stop)
            yield slide.views[view].rows(rows[start : start + _CHUNK])


def standardised_rows(views: Sequence[_Rows], scales: Sequence[Scale], rows: Int64) -> Float32:
    """Gather patches from all views, standardised and side by side, shape (k, sum of D)."""
    out = np.empty((len(rows), sum(scale.dim for scale in scales)), dtype=np.float32)
    start = 0
    for view, scale in zip(views, scales, strict=True):
        scale.apply(view.rows(rows), out=out[:, start : start + scale.dim])
        start += scale.dim
    return out


Patches: TypeAlias = Callable[[Int64], Float32]
"""Row numbers of a slide's patches -> their standardised embeddings, shape (k, D)."""


class BagDataset:
    """The bags of a set of slides.

    What it reads stays open, and is checked when it is opened: to open a file and to map its pages
    anew would cost more than to read a bag from it. Of very many slides those last read stay open.
    Whoever made it closes it (`contextlib.closing`): Windows replaces no file that is open.

    Parameters
    ----------
    slides : sequence of CohortSlide
    scales : sequence of Scale
        One for each view, from the slides that are trained on.
    teacher_scales : mapping of str to Scale
        The same for teachers, by name, in the order in which a batch has them.
    n_per_cluster : int
        Patches drawn from each cluster.
    seed : int
        With a slide's id and the epoch it decides the slide's bags.
    repeat_short : bool
        Fill small clusters by repetition instead of padding.
    one_a_patient : bool
        A batch holds a patient once, as survival needs it.
    """

    def __init__(
        self,
        slides: Sequence[CohortSlide],
        scales: Sequence[Scale],
        *,
        teacher_scales: Mapping[str, Scale] | None = None,
        n_per_cluster: int,
        seed: int,
        repeat_short: bool = False,
        one_a_patient: bool = False,
    ) -> None:
        self.slides = tuple(slides)
        self._scales, self._teacher_scales = tuple(scales), dict(teacher_scales or {})
        self._n_per_cluster, self._seed, self._repeat = n_per_cluster, seed, repeat_short
        self._one_a_patient, self._targets = one_a_patient, _targets(self.slides)
        self._most_maps = most_maps()
        self._open = lru_cache(self._most_maps)(partial(_stored, self.slides))

    def close(self) -> None:
        """Close the files of embeddings; what is asked for later opens them anew."""
        self._open.cache_clear()

    def patches(self, index: int) -> Patches:
        """Return what gathers the standardised embeddings of one slide's patches."""
        return partial(self._standardised, index)

    def _standardised(self, index: int, rows: Int64) -> Float32:
        views = [self._open(index, view) for view in range(len(self._scales))]
        return standardised_rows(views, self._scales, rows)

    def n_batches(self, *, bags_per_slide: int, batch_size: int) -> int:
        """Return how many batches an epoch has."""
        return n_batches_of(
            self.slides,
            bags_per_slide=bags_per_slide,
            batch_size=batch_size,
            one_a_patient=self._one_a_patient,
        )

    def batches(
        self, epoch: int, *, bags_per_slide: int, batch_size: int, ahead: bool = False
    ) -> Generator[Batch, None, None]:
        """Yield the bags of an epoch, shuffled; the same for the same seed and epoch.

        Parameters
        ----------
        epoch, bags_per_slide, batch_size : int
        ahead : bool
            Gather the next batch in a thread while the caller works on the last one, as pays
            where another device does the work. Otherwise the caller gathers.
        """
        batches = self._batches(epoch, bags_per_slide, batch_size)
        return read_ahead(map(Batch.in_memory, batches)) if ahead else batches

    def _batches(
        self, epoch: int, bags_per_slide: int, batch_size: int
    ) -> Generator[Batch, None, None]:
        drawn = [
            select_bags(
                slide.labels,
                n_per_cluster=self._n_per_cluster,
                n_bags=bags_per_slide,
                rng=generator(self._seed, "bags", slide.slide_id, epoch),
                repeat_short=self._repeat,
                pinned=slide.pinned,
            ).astype(np.int32)
            for slide in self.slides
        ]
        for chosen in self._order(epoch, bags_per_slide, batch_size):
            yield self._stack(
                [(slide, drawn[slide][bag].astype(np.int64)) for slide, bag in chosen]
            )

    def _order(self, epoch: int, bags_per_slide: int, batch_size: int) -> Batches:
        rng = generator(self._seed, "order", epoch)
        sizes = {"bags_per_slide": bags_per_slide, "batch_size": batch_size}
        if self._one_a_patient:
            return risk_sets(self.slides, **sizes, rng=rng)
        return bag_batches(len(self.slides), **sizes, rng=rng)

    def _stack(self, bags: list[tuple[int, Int64]]) -> Batch:
        # Bags are whole clusters, so shorter ones end in whole clusters of padding.
        rows = np.full((len(bags), max(len(own) for _, own in bags)), -1, dtype=np.int64)
        share = np.zeros(rows.shape, dtype=np.float32)
        for place, (index, own) in enumerate(bags):
            rows[place, : len(own)] = own
            labels = self.slides[index].labels
            share[place, : len(own)] = cluster_share_log_weights(labels, own[None])
        slides = [index for index, _ in bags]
        teachers, present = self._teachers(slides)
        return Batch(
            stored=tuple(self._of_view(view, slides, rows) for view in range(len(self._scales))),
            mask=rows >= 0,
            log_share=share,
            targets=self._targets[slides],
            teachers=teachers,
            present=present,
        )

    def _of_view(self, view: int, slides: Sequence[int], rows: Int64) -> tuple[Stored, ...]:
        """Return one view's patches of several slides, rows (B, L), -1 where padded."""
        stored = (
            self._open(slide, view).some(np.maximum(own, 0))
            for slide, own in zip(slides, rows, strict=True)
        )
        if len(slides) * len(self._scales) > self._most_maps:
            # A batch holds what it is read from open, which these would be too many for.
            return tuple(one.in_memory() for one in stored)
        return tuple(stored)

    def _teachers(self, indices: list[int]) -> tuple[dict[str, Float32], BoolArray]:
        present = np.zeros((len(indices), len(self._teacher_scales)), dtype=np.bool_)
        vectors = {}
        for column, (name, scale) in enumerate(self._teacher_scales.items()):
            values = np.zeros((len(indices), scale.dim), dtype=np.float32)
            for row, index in enumerate(indices):
                vector = self.slides[index].teachers.get(name)
                if vector is not None:
                    present[row, column] = True
                    values[row] = scale.apply(vector)
            vectors[name] = values
        return vectors, present


def _stored(slides: Sequence[CohortSlide], slide: int, view: int) -> Stored:
    return slides[slide].views[view].stored()


def _targets(slides: Sequence[CohortSlide]) -> Int64 | Float32:
    """Return the class of each slide (n,), or its values (n, n_values)."""
    if any(slide.values for slide in slides):
        return np.array([slide.values for slide in slides], dtype=np.float32)
    return np.array([slide.target for slide in slides], dtype=np.int64)
