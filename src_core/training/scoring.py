"""What a model says of one slide: scores of its bags, and of its patches over all bags.

Every patch is projected once, and every block (what a cluster gives to a bag) attended to once,
however many bags they stand in; bags are then put together a few at a time, so memory follows the
number of patches and not that of the bags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from src_core.bags.dataset import Patches
from src_core.bags.selection import cluster_share_log_weights
from src_core.models.local_branches import LocalBranches, ScoredPatches
from src_core.models.student import BagModel, Student, StudentOutput, centre
from src_core.progress import Stop, check, never
from src_core.training.blocks import attend_blocks, sections, take_blocks
from src_core.types import BoolArray, Float32, Float64, Int64, Labels

__all__ = ["PatchScores", "SlideScorer", "SlideScores", "Watch", "fuse", "score_slide"]

_ROWS = 4096
"""Patches projected, and instances scored, at a time."""

_KEPT_NUMBERS = 2**28
"""Numbers of attended blocks in memory at most: 1 GB."""

Watch: TypeAlias = Callable[[Int64, Float32], None]
"""Sees row numbers (k,) and standardised embeddings (k, D) of patches as they are projected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchScores:
    """What the part of a model that localises says of every patch.

    That part is the mean of the local branches, or the student where there are none.
    """

    source: str
    """``"local branches"`` or ``"student"``."""
    attention: Float64
    """Shape (N,): mean over the patch's places in bags, times the bag's length; NaN without."""
    contributions: Float64
    """Shape (N, C): parts of the outputs, mean over all bags, 0 where a bag lacks it."""
    bias: Float64
    """Shape (C,): with the sum of the contributions it is the part's mean output."""
    probabilities: Float64
    """Shape (N, C): the patch's own class probabilities, NaN in no bag; (N, 0) without classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideScores:
    """Outputs of the bags of a slide, and what they are made of.

    Of a classification they are logits, centred over the classes; of a regression values in the
    unit that the model learned in, of a survival log-hazards.
    """

    student: Float64
    """Shape (n_bags, C)."""
    branches: Float64
    """Shape (R, n_bags, C)."""
    places: Int64
    """Shape (N,): how often each patch stands in a bag."""
    patches: PatchScores | None = None


def fuse(
    student: Float64, branches: Float64, *, student_std: float, branches_std: float
) -> Float64:
    """Add the student's logits and the branches' mean, each divided by its size.

    Parameters
    ----------
    student : ndarray of float64, shape (n, C)
    branches : ndarray of float64, shape (R, n, C)
        R may be 0; then the student stands alone.
    student_std, branches_std : float
        As the checkpoint has them.

    Returns
    -------
    ndarray of float64, shape (n, C)
    """
    fused = student / student_std
    return fused + branches.mean(axis=0) / branches_std if len(branches) else fused


def score_slide(
    student: BagModel,
    branches: LocalBranches | None,
    patches: Patches,
    labels: Labels,
    bags: Int64,
    *,
    maps: bool = False,
    stop: Stop = never,
) -> SlideScores:
    """Score the bags of one slide; the modules must be in evaluation mode.

    Parameters
    ----------
    student, branches : Module
        On one device.
    patches : callable
        Gathers standardised embeddings.
    labels : ndarray of int32, shape (N,)
    bags : ndarray of int64, shape (n_bags, length)
        Row numbers, -1 where padded.
    maps : bool
        Whether to split the outputs among the patches.
    stop : callable
        Asked between chunks.
    """
    used = np.unique(bags[bags >= 0])
    scorer = SlideScorer(student, branches, patches, used, n_patches=len(labels), stop=stop)
    return scorer.score(bags, scorer.log_share(labels, bags), maps=maps, stop=stop)


class SlideScorer:
    """Patches of one slide, projected once and ready to be scored in any bags of them.

    Parameters
    ----------
    student, branches : Module
        In evaluation mode, on one device.
    patches : callable
        Gathers standardised embeddings.
    used : ndarray of int64, shape (k,)
        Rows of the patches that bags may hold, each once.
    n_patches : int
        Of the slide.
    watch : callable, optional
        Sees the embeddings on their way.
    stop : callable
        Asked between chunks.
    """

    @torch.no_grad()
    def __init__(
        self,
        student: BagModel,
        branches: LocalBranches | None,
        patches: Patches,
        used: Int64,
        *,
        n_patches: int,
        watch: Watch | None = None,
        stop: Stop = never,
    ) -> None:
        self._student, self._branches, self._n_patches = student, branches, n_patches
        self._device = next(student.parameters()).device
        self._place = np.zeros(n_patches + 1, dtype=np.int64)  # -1, padding, reads the last: masked
        self._place[used] = np.arange(len(used))
        projected, scores, values = [], [], []
        for start in range(0, len(used), _ROWS):
            check(stop)
            some = used[start : start + _ROWS]
            embeddings = patches(some)
            if watch is not None:
                watch(some, embeddings)
            rows = torch.from_numpy(embeddings).to(self._device)  # (k, D)
            projected.append(student.project(rows))  # (k, width)
            if branches is not None:
                scored = branches.score(rows)
                scores.append(scored.scores)  # (R, k)
                values.append(scored.values)  # (R, k, C)
        self._projected = torch.cat(projected)
        self._scored = (
            ScoredPatches(torch.cat(scores, dim=1), torch.cat(values, dim=1)) if scores else None
        )

    def log_share(self, labels: Labels, bags: Int64) -> Float32 | None:
        """Return what the student adds to the attention of bags that were drawn from `labels`."""
        weigh = self._student.config.weight_by_cluster_size
        return cluster_share_log_weights(labels, bags) if weigh else None

    @torch.no_grad()
    def score(
        self, bags: Int64, log_share: Float32 | None, *, maps: bool = False, stop: Stop = never
    ) -> SlideScores:
        """Score bags.

        Parameters
        ----------
        bags : ndarray of int64, shape (n_bags, length)
            Row numbers, -1 where padded. A cluster may be nothing but padding.
        log_share : ndarray of float32, shape (n_bags, length), optional
            See the method of that name.
        maps : bool
            Whether to split the outputs among the patches.
        stop : callable
            Asked between chunks.
        """
        branches, config = self._branches, self._student.config
        sums = _Sums(bags, self._n_patches, config.n_outputs)
        logits, branch_logits = [], []
        for chunk, output in self._student_outputs(bags, log_share, stop):
            logits.append(self._centred(output.logits))  # (b, C)
            if branches is not None and self._scored is not None:
                rows, mask, share = self._inputs(bags[chunk], log_share, chunk)
                taken = ScoredPatches(self._scored.scores[:, rows], self._scored.values[:, rows])
                pooled = branches.pool(taken, mask, share)
                branch_logits.append(pooled.logits)  # (R, b, C)
                if maps:
                    sums.add(chunk, pooled.attention.mean(dim=0), pooled.contributions.mean(dim=0))
            elif maps:
                sums.add(chunk, output.attention, self._splitter.contributions(output))
                if self._has_classes:
                    sums.add_heads(chunk, self._student.head(output.instances).softmax(dim=-1))
        return SlideScores(
            student=_numpy(torch.cat(logits)),
            branches=_numpy(torch.cat(branch_logits, dim=1))
            if branch_logits
            else np.zeros((0, len(bags), config.n_outputs)),
            places=sums.places,
            patches=self._patch_scores(sums) if maps else None,
        )

    def _student_outputs(
        self, bags: Int64, log_share: Float32 | None, stop: Stop
    ) -> Iterator[tuple[slice, StudentOutput]]:
        """Yield what the student says of a few bags at a time, and which these are."""
        student, config = self._student, self._student.config
        step = max(1, _ROWS // bags.shape[1])
        if not isinstance(student, Student) or config.regions != "cluster":
            for start in range(0, len(bags), step):
                check(stop)
                chunk = slice(start, start + step)
                rows, mask, share = self._inputs(bags[chunk], log_share, chunk)
                yield chunk, student.forward_projected(self._projected[rows], mask, share)
            return
        size = config.n_per_cluster
        most = _KEPT_NUMBERS // ((size + config.n_summaries) * config.width)
        for section in sections(bags, n_per_cluster=size, most=most):
            places, filled, _ = self._inputs(section.blocks, None, slice(None))
            blocks = attend_blocks(student, self._projected, places, filled, stop=stop)
            for start in range(0, len(section.which), step):
                check(stop)
                first = section.bags.start + start
                chunk = slice(first, min(first + step, section.bags.stop))
                _, mask, share = self._inputs(bags[chunk], log_share, chunk)
                index = torch.from_numpy(section.which[start : start + step]).to(self._device)
                taken = take_blocks(blocks, index)  # (b, clusters, ...)
                yield chunk, student.forward_attended(taken, mask, share)

    def _inputs(
        self, rows: Int64, log_share: Float32 | None, chunk: slice
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return places of rows among the projected patches, their mask, and their share."""
        share = None if log_share is None else torch.from_numpy(log_share[chunk]).to(self._device)
        places = torch.from_numpy(self._place[rows]).to(self._device)
        return places, torch.from_numpy(rows >= 0).to(self._device), share

    @property
    def _splitter(self) -> Student:
        if not isinstance(self._student, Student):
            raise TypeError(f"{type(self._student).__name__} cannot say what each patch gives")
        return self._student

    @property
    def _has_classes(self) -> bool:
        return self._student.config.task == "classification"

    def _centred(self, logits: Tensor) -> Tensor:
        return centre(logits) if self._has_classes else logits

    def _patch_scores(self, sums: _Sums) -> PatchScores:
        """Finish the sums as those of the part of the model that localises."""
        branches, scored = self._branches, self._scored
        nothing = np.zeros((self._n_patches, 0))
        if branches is None or scored is None:
            heads = sums.heads() if self._has_classes else nothing
            return sums.finish("student", self._splitter.bias(), heads)
        own = nothing
        if self._has_classes:
            # Of patches in no bag the first one's: they are made NaN.
            own = _numpy(branches.patch_probabilities(scored))[self._place[:-1]]  # (N, C)
        return sums.finish("local branches", branches.bias().mean(dim=0), own)


class _Sums:
    """Adds up, per patch, what the bags say of it: in float64, in the order of the bags."""

    def __init__(self, bags: Int64, n_patches: int, n_outputs: int) -> None:
        self._bags = bags
        self.places: Int64 = np.bincount(bags[bags >= 0], minlength=n_patches)
        self._attention = np.zeros((n_patches, 1))
        self._contributions = np.zeros((n_patches, n_outputs))
        self._heads = np.zeros((n_patches, n_outputs))

    def add(self, chunk: slice, attention: Tensor, contributions: Tensor) -> None:
        """Add attention (b, L) and contributions (b, L, C)."""
        bags = self._bags[chunk]
        real = bags >= 0
        share = _numpy(attention) * real.sum(axis=1, keepdims=True)
        _add(self._attention, bags, real, share[..., None])
        _add(self._contributions, bags, real, _numpy(contributions))

    def add_heads(self, chunk: slice, probabilities: Tensor) -> None:
        """Add what the student's head says of each re-embedded patch alone, (b, L, C)."""
        bags = self._bags[chunk]
        _add(self._heads, bags, bags >= 0, _numpy(probabilities))

    def heads(self) -> Float64:
        return self._heads / np.maximum(self.places, 1)[:, None]

    def finish(self, source: str, bias: Tensor, probabilities: Float64) -> PatchScores:
        there = self.places > 0
        attention = self._attention[:, 0] / np.maximum(self.places, 1)
        return PatchScores(
            source=source,
            attention=np.where(there, attention, np.nan),
            contributions=self._contributions / len(self._bags),
            bias=_numpy(bias),
            probabilities=np.where(there[:, None], probabilities, np.nan),
        )


def _add(total: Float64, bags: Int64, real: BoolArray, values: Float64) -> None:
    """Add values (b, L, C) to the rows of `total` (N, C) that real places of bags (b, L) name.

    As numbers in a line: NumPy adds rows of a matrix ten times as slowly.
    """
    width = total.shape[1]
    numbers = bags[real][:, None] * width + np.arange(width)
    np.add.at(total.reshape(-1), numbers.ravel(), values[real].ravel())


def _numpy(tensor: Tensor) -> Float64:
    return tensor.detach().cpu().numpy().astype(np.float64)
