"""What a model says of one slide: scores of its bags, and of its patches over all bags.

Every patch is projected once; bags are then gathered from the projected patches, a few at a
time, so memory follows the number of patches and not that of the bags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src_core.bags.dataset import Patches
from src_core.bags.selection import cluster_share_log_weights
from src_core.models.local_branches import LocalBranches, ScoredPatches
from src_core.models.student import Student, StudentOutput, centre
from src_core.progress import Stop, check, never
from src_core.types import Float64, Int64, Labels

__all__ = ["PatchScores", "SlideScores", "fuse", "score_slide"]

_ROWS = 4096
"""Patches projected, and instances scored, at a time."""


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
    """Shape (N, C): parts of the centred logits, mean over all bags, 0 where a bag lacks it."""
    bias: Float64
    """Shape (C,): with the sum of the contributions it is the part's mean logit."""
    probabilities: Float64
    """Shape (N, C): the patch's own class probabilities, NaN in no bag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideScores:
    """Centred logits of the bags of a slide, and what they are made of."""

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


@torch.no_grad()
def score_slide(
    student: Student,
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
        Whether to split the logits among the patches.
    stop : callable
        Asked between chunks.
    """
    used = np.unique(bags[bags >= 0])
    place = np.zeros(len(labels) + 1, dtype=np.int64)  # -1, padding, reads the last: masked
    place[used] = np.arange(len(used))
    projected, scored = _project(student, branches, patches, used, stop)
    sums = _Sums(bags, len(labels), student.config.n_outputs)
    logits, branch_logits = [], []
    step = max(1, _ROWS // bags.shape[1])
    for start in range(0, len(bags), step):
        check(stop)
        chunk = slice(start, start + step)
        mask, log_share = _mask_and_share(bags[chunk], labels, student)
        rows = torch.from_numpy(place[bags[chunk]]).to(mask.device)  # (b, L)
        output = student.forward_projected(projected[rows], mask, log_share)
        classes = student.config.task == "classification"
        logits.append(centre(output.logits) if classes else output.logits)  # (b, C)
        if branches is not None and scored is not None:
            taken = ScoredPatches(scored.scores[:, rows], scored.values[:, rows])
            pooled = branches.pool(taken, mask, log_share)
            branch_logits.append(pooled.logits)  # (R, b, C)
            if maps:
                sums.add(chunk, pooled.attention.mean(dim=0), pooled.contributions.mean(dim=0))
        elif maps:
            sums.add(chunk, output.attention, student.contributions(output))
            sums.add_heads(chunk, student, output)
    return SlideScores(
        student=_numpy(torch.cat(logits)),
        branches=_numpy(torch.cat(branch_logits, dim=1))
        if branch_logits
        else np.zeros((0, len(bags), student.config.n_outputs)),
        places=sums.places,
        patches=_patch_scores(sums, student, branches, scored, place) if maps else None,
    )


class _Sums:
    """Adds up, per patch, what the bags say of it: in float64, in the order of the bags."""

    def __init__(self, bags: Int64, n_patches: int, n_classes: int) -> None:
        self._bags = bags
        self.places: Int64 = np.bincount(bags[bags >= 0], minlength=n_patches)
        self._attention = np.zeros(n_patches)
        self._contributions = np.zeros((n_patches, n_classes))
        self._heads = np.zeros((n_patches, n_classes))

    def add(self, chunk: slice, attention: Tensor, contributions: Tensor) -> None:
        """Add attention (b, L) and contributions (b, L, C)."""
        bags = self._bags[chunk]
        real = bags >= 0
        share = _numpy(attention) * real.sum(axis=1, keepdims=True)
        np.add.at(self._attention, bags[real], share[real])
        np.add.at(self._contributions, bags[real], _numpy(contributions)[real])

    def add_heads(self, chunk: slice, student: Student, output: StudentOutput) -> None:
        """Add what the student's head says of each re-embedded patch alone."""
        bags = self._bags[chunk]
        real = bags >= 0
        heads = _numpy(student.head(output.instances).softmax(dim=-1))  # (b, L, C)
        np.add.at(self._heads, bags[real], heads[real])

    def heads(self) -> Float64:
        return self._heads / np.maximum(self.places, 1)[:, None]

    def finish(self, source: str, bias: Tensor, probabilities: Float64) -> PatchScores:
        there = self.places > 0
        attention = self._attention / np.maximum(self.places, 1)
        return PatchScores(
            source=source,
            attention=np.where(there, attention, np.nan),
            contributions=self._contributions / len(self._bags),
            bias=_numpy(bias),
            probabilities=np.where(there[:, None], probabilities, np.nan),
        )


def _patch_scores(
    sums: _Sums,
    student: Student,
    branches: LocalBranches | None,
    scored: ScoredPatches | None,
    place: Int64,
) -> PatchScores:
    """Finish the sums as those of the part that localises; `place` finds a patch in `scored`."""
    if branches is None or scored is None:
        return sums.finish("student", student.bias(), sums.heads())
    own = _numpy(branches.patch_probabilities(scored))  # (used, C)
    return sums.finish("local branches", branches.bias().mean(dim=0), own[place[:-1]])


def _project(
    student: Student,
    branches: LocalBranches | None,
    patches: Patches,
    used: Int64,
    stop: Stop,
) -> tuple[Tensor, ScoredPatches | None]:
    """Return the patches that the bags use, projected by the student and scored by the branches."""
    device = next(student.parameters()).device
    projected, scores, values = [], [], []
    for start in range(0, len(used), _ROWS):
        check(stop)
        rows = torch.from_numpy(patches(used[start : start + _ROWS])).to(device)  # (k, D)
        projected.append(student.project(rows))  # (k, width)
        if branches is not None:
            scored = branches.score(rows)
            scores.append(scored.scores)  # (R, k)
            values.append(scored.values)  # (R, k, C)
    both = ScoredPatches(torch.cat(scores, dim=1), torch.cat(values, dim=1)) if scores else None
    return torch.cat(projected), both


def _mask_and_share(bags: Int64, labels: Labels, student: Student) -> tuple[Tensor, Tensor | None]:
    device = next(student.parameters()).device
    share = None
    if student.config.weight_by_cluster_size:
        share = torch.from_numpy(cluster_share_log_weights(labels, bags)).to(device)
    return torch.from_numpy(bags >= 0).to(device), share


def _numpy(tensor: Tensor) -> Float64:
    return tensor.detach().cpu().numpy().astype(np.float64)
