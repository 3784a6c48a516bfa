"""Blocks: what a cluster gives to a bag. Equal ones need to be attended to only once.

The patches of a block meet before any other cluster has a part in it, and a small cluster is dealt
out again and again to as many bags as the largest one needs: its blocks come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from src_core.models.re_embedding import AttendedBlocks
from src_core.models.student import Student
from src_core.progress import Stop, check
from src_core.types import Int64

__all__ = ["Section", "attend_blocks", "sections", "take_blocks"]

_PLACES = 4096
"""Places of blocks that are attended to at a time."""


class Section(NamedTuple):
    """Some bags that follow one another, and their distinct blocks."""

    bags: slice
    blocks: Int64
    """(n_blocks, n_per_cluster): rows, -1 where empty; each block once."""
    which: Int64
    """(n_bags, n_clusters): which of `blocks` each block of a bag is."""


def sections(bags: Int64, *, n_per_cluster: int, most: int) -> Iterator[Section]:
    """Cut bags into runs that hold at most `most` distinct blocks, or are a single bag.

    Parameters
    ----------
    bags : ndarray of int64, shape (n_bags, n_clusters * n_per_cluster)
    n_per_cluster : int
    most : int
        Bounds the memory of what is kept of blocks.
    """
    start, n_clusters = 0, bags.shape[1] // n_per_cluster
    while start < len(bags):
        rows = bags[start:].reshape(-1, n_per_cluster)
        first = np.unique(rows, axis=0, return_index=True)[1]
        known = np.bincount(first // n_clusters, minlength=len(bags) - start).cumsum()
        end = start + max(1, int(np.searchsorted(known, most, side="right")))
        rows = bags[start:end].reshape(-1, n_per_cluster)
        blocks, index = np.unique(rows, axis=0, return_inverse=True)
        yield Section(slice(start, end), blocks, index.reshape(end - start, n_clusters))
        start = end


def attend_blocks(
    student: Student, projected: Tensor, blocks: Tensor, mask: Tensor, *, stop: Stop
) -> AttendedBlocks:
    """Attend to blocks, a few at a time.

    Parameters
    ----------
    student : Student
        In evaluation mode.
    projected : Tensor, shape (patches, width)
    blocks : Tensor of int64, shape (n_blocks, n)
        Rows of `projected`.
    mask : Tensor of bool, shape (n_blocks, n)
    stop : callable
        Asked between parts.
    """
    step = max(1, _PLACES // blocks.shape[1])
    parts = []
    for start in range(0, len(blocks), step):
        check(stop)
        some, real = blocks[start : start + step], mask[start : start + step]
        rows = projected[some] * real.unsqueeze(-1)  # (k, n, width)
        parts.append(student.re_embedding.attend(rows, real))
    instances, tokens, share = zip(*parts, strict=True)
    return AttendedBlocks(torch.cat(instances), _joined(tokens), _joined(share))


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.cat([one for one in parts if one is not None])


def take_blocks(blocks: AttendedBlocks, index: Tensor) -> AttendedBlocks:
    """Put blocks into bags: `index`, (bags, clusters), says which stands where."""
    instances, tokens, share = blocks
    return AttendedBlocks(
        instances[index],
        None if tokens is None else tokens[index],
        None if share is None else share[index],
    )
