"""Patches that a reviewer has judged, as training reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src_core.bags.cohort import View
from src_core.bags.dataset import Scale, standardised_rows
from src_core.errors import CheckpointError
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.progress import Stop, check, never
from src_core.review.meanings import ARTEFACT, SILENT, UNMARKED
from src_core.types import Float32, Int64

__all__ = ["MarkedSet", "MarkedSlide", "require_teachable"]

_CHUNK = 4096


def require_teachable(meta: CheckpointMeta) -> None:
    """Raise `CheckpointError` unless a model can learn from marked patches."""
    if meta.student.task != "classification":
        raise CheckpointError(
            f"The model of {meta.target_name} has no classes that a patch could be of; "
            "fine-tune a classification."
        )
    if not meta.student.n_branches:
        raise CheckpointError(
            "The model has no local branches, which are what learns from marked patches; "
            "train one with n_branches of 1 or more."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedSlide:
    """The judged patches of one slide, whether or not the model has learned from its label."""

    slide_id: str
    views: tuple[View, ...]
    """Of the model's encoders, in their order."""
    kinds: Int64
    """What is said of each patch, shape (N,); see :mod:`src_core.review.meanings`."""


class MarkedSet:
    """The judged patches of several slides.

    Parameters
    ----------
    slides : sequence of MarkedSlide
    scales : sequence of Scale
        One for each view, as the model has them.
    """

    def __init__(self, slides: Sequence[MarkedSlide], scales: Sequence[Scale]) -> None:
        self._slides, self._scales = tuple(slides), tuple(scales)
        rows = [np.flatnonzero(slide.kinds != UNMARKED) for slide in slides]
        kinds = [slide.kinds[here] for slide, here in zip(slides, rows, strict=True)]
        self._slide = np.repeat(np.arange(len(rows)), [len(here) for here in rows])
        self._rows: Int64 = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
        said = np.concatenate([*kinds, np.zeros(0, dtype=np.int64)])
        # An artefact is out of every bag already; of what is in it nothing is to be read.
        self.kinds: Int64 = np.where(said == ARTEFACT, SILENT, said)

    def __len__(self) -> int:
        """Return the number of judged patches."""
        return len(self._rows)

    def draw(self, n: int, rng: np.random.Generator) -> Int64:
        """Return places of about `n` judged patches at most, as many of each kind as there can be.

        Reviewers mark much of one kind and little of another, and both have to be learned.
        """
        taken: list[Int64] = []
        left = n
        groups = [np.flatnonzero(self.kinds == kind) for kind in np.unique(self.kinds)]
        for number, group in enumerate(sorted(groups, key=len)):
            share = left // (len(groups) - number)
            taken.append(rng.permutation(group)[:share])
            left -= len(taken[-1])
        return np.sort(np.concatenate([*taken, np.zeros(0, dtype=np.int64)]))

    def gather(self, places: Int64, *, stop: Stop = never) -> Float32:
        """Return the standardised embeddings at some places, shape (k, D)."""
        return self._read(self._slide[places], self._rows[places], stop)

    def around(self, n: int, rng: np.random.Generator, *, stop: Stop = never) -> Float32:
        """Return the embeddings of about `n` patches that nobody has judged, of the same slides."""
        share = -(-n // max(1, len(self._slides)))
        chosen = [
            np.sort(rng.permutation(np.flatnonzero(slide.kinds == UNMARKED))[:share])
            for slide in self._slides
        ]
        of = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
        return self._read(of, np.concatenate([*chosen, np.zeros(0, dtype=np.int64)]), stop)

    def _read(self, of: Int64, rows: Int64, stop: Stop) -> Float32:
        out = np.zeros((len(rows), sum(scale.dim for scale in self._scales)), dtype=np.float32)
        for number in np.unique(of):
            here = np.flatnonzero(of == number)
            for start in range(0, len(here), _CHUNK):
                check(stop)
                some = here[start : start + _CHUNK]
                views = self._slides[number].views
                out[some] = standardised_rows(views, self._scales, rows[some])
        return out
