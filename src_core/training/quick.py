"""The quick phase of fine-tuning: a first map within seconds of the reviewer's click.

Only what comes after the branches' projections learns. So each patch that matters is projected
once: the marked ones, a sample of those that the model had learned from, and, for the map, the
slide's. What the branches said of the sample they go on saying: that is all the replay there is
time for, and the full phase, on whole bags, comes after it. The patches around the marked ones are
held too, less firmly: marks of one kind alone would otherwise drag the whole slide with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import Patches, Scale, standardised_rows
from src_core.devices import few_threads
from src_core.models.local_branches import LocalBranches, ScoredPatches
from src_core.models.student import centre
from src_core.progress import Progress, Report, Stop, check, ignore, never
from src_core.seeding import generator
from src_core.training.marked import MarkedSet
from src_core.types import Float32, Int64, Labels

__all__ = ["Anchor", "firmness", "marks_loss", "patch_map", "teach_quickly"]

_MOST_MARKS = 1024
_MOST_REPLAYED = 1024
_MOST_SLIDES = 32
"""Slides that are replayed: to open more files would take longer than it teaches."""
_STEPS = 50
_BATCH = 128
_RATE = 2e-3
_ROWS = 4096

_HOLD = 0.5
"""How firmly the unmarked patches of marked slides are held while all marks are of one kind."""
_FREE = 5
"""Marks of other kinds than the most frequent one that halve it."""

_QUIET_WEIGHT = 0.1
"""Of a silent patch, beside one of a class; as in the branches' own loss."""


def marks_loss(values: Tensor, kinds: Tensor) -> Tensor:
    """Return how far the branches are from what reviewers say of patches: their sum.

    Parameters
    ----------
    values : Tensor, shape (branches, patches, classes)
        Evidence in each patch, as `LocalBranches.score` gives it.
    kinds : Tensor of int64, shape (patches,)
        A class, or -1: there is nothing to be read in the patch.

    Returns
    -------
    Tensor, shape ()
        Of a class the cross-entropy of the patch's logits; of nothing a tenth of twice their
        squared length, as :func:`~src_core.models.local_branches.branches_loss` has it. The mean
        over the patches of each kind, then over the kinds; 0 without any patch.
    """
    logits = values.float()
    named = kinds.clamp_min(0).view(1, -1, 1).expand(len(logits), -1, 1)
    surprise = -logits.log_softmax(dim=-1).gather(-1, named).squeeze(-1)  # (R, patches)
    loudness = 2 * _QUIET_WEIGHT * centre(logits).square().sum(dim=-1)
    terms = torch.where(kinds < 0, loudness, surprise)
    means = [terms[:, kinds == kind].mean(dim=1).sum() for kind in kinds.unique()]
    return torch.stack(means).mean() if means else values.sum() * 0.0


class Anchor:
    """Patches, and what the branches said of them before they learned from marks.

    Parameters
    ----------
    branches : LocalBranches
        As they are before, in evaluation mode.
    rows : ndarray of float32, shape (patches, input_dim)
        Standardised embeddings.
    """

    def __init__(self, branches: LocalBranches, rows: Float32) -> None:
        self.rows = torch.from_numpy(rows).to(branches.output_bias.device)
        with torch.no_grad():
            self.projected = branches.project(self.rows)  # (R, patches, width)
            self._before = branches.score_projected(self.projected)

    def draw(self, n: int, rng: np.random.Generator) -> Tensor:
        """Return places of `n` patches at most."""
        chosen = rng.permutation(len(self.rows))[:n]
        return torch.from_numpy(chosen).to(self.rows.device)

    def moved(self, now: ScoredPatches, places: Tensor) -> Tensor:
        """Return how far the branches have moved at some places, in units of their spread.

        Parameters
        ----------
        now : ScoredPatches
            What they say there now.
        places : Tensor of int64
            As `draw` gave them.
        """
        if len(self.rows) < 2:  # a single patch has no spread to measure by
            return now.values.sum() * 0.0
        total = now.values.new_zeros(())
        for new, old in zip(now, self._before, strict=True):
            spread = old.flatten(1).var(dim=1).clamp_min(1e-6)  # (R,)
            apart = (new - old[:, places]).square().flatten(1).mean(dim=1)
            total = total + (apart / spread).sum()
        return total


def firmness(kinds: Int64) -> float:
    """Return how firmly to hold the unmarked patches of marked slides.

    Marks of one kind alone say nothing of where it ends, and would drag the slide with them; the
    more there are of another, the less of what the model said before is worth keeping there.
    """
    counts = np.unique(kinds, return_counts=True)[1]
    others = int(counts.sum() - counts.max(initial=0))
    return _HOLD / (1 + others / _FREE)


def teach_quickly(
    branches: LocalBranches,
    marked: MarkedSet,
    replayed: Sequence[CohortSlide],
    scales: Sequence[Scale],
    *,
    seed: int,
    report: Report = ignore,
    stop: Stop = never,
) -> None:
    """Change the branches, in place, so that they say of marked patches what reviewers do.

    Parameters
    ----------
    branches : LocalBranches
        In evaluation mode; their projections stay as they are.
    marked : MarkedSet
        At least one patch; of very many about a thousand are used, as many of each kind.
    replayed : sequence of CohortSlide
        Slides that the model had learned from.
    scales : sequence of Scale
        One for each view.
    seed : int
        The same seed gives the same branches, on the CPU to the last bit.
    report, stop : callable
        See :mod:`src_core.progress`.
    """
    rng = generator(seed, "quick")
    device = branches.output_bias.device
    places = marked.draw(_MOST_MARKS, rng)
    kinds = torch.from_numpy(marked.kinds[places]).to(device)
    shown = Anchor(branches, marked.gather(places, stop=stop)).projected  # (R, M, width)
    anchors = (
        (1.0, Anchor(branches, _sample(replayed, scales, rng, stop))),
        (firmness(marked.kinds), Anchor(branches, marked.around(_MOST_REPLAYED, rng, stop=stop))),
    )
    with few_threads(1):
        _take_steps(branches, shown, kinds, anchors, rng, report, stop)


def _take_steps(
    branches: LocalBranches,
    shown: Tensor,
    kinds: Tensor,
    anchors: Sequence[tuple[float, Anchor]],
    rng: np.random.Generator,
    report: Report,
    stop: Stop,
) -> None:
    """Fit what comes after the projections to marked patches, shown (R, M, width), kinds (M,)."""
    heads = [value for name, value in branches.named_parameters() if "project" not in name]
    optimiser = torch.optim.AdamW(heads, lr=_RATE, weight_decay=0.0)
    for step in range(_STEPS):
        check(stop)
        mine = torch.from_numpy(rng.permutation(len(kinds))[:_BATCH]).to(kinds.device)
        drawn = [anchor.draw(_BATCH, rng) for _, anchor in anchors]
        parts = [shown[:, mine]]
        parts += [one.projected[:, rows] for (_, one), rows in zip(anchors, drawn, strict=True)]
        # Side by side: many small products take longer than few larger ones.
        said = _split(branches.score_projected(torch.cat(parts, dim=1)), parts)
        loss = marks_loss(said[0].values, kinds[mine])
        for (weight, anchor), rows, now in zip(anchors, drawn, said[1:], strict=True):
            loss = loss + weight * anchor.moved(now, rows)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=heads)
        optimiser.step()
        report(Progress(stage="Learning quickly", done=step + 1, total=_STEPS, unit="steps"))
    optimiser.zero_grad(set_to_none=True)


@torch.no_grad()
def patch_map(
    branches: LocalBranches, patches: Patches, n_patches: int, *, stop: Stop = never
) -> Float32:
    """Return the class probabilities of all patches of a slide, shape (N, C)."""
    device = branches.output_bias.device
    parts = []
    for start in range(0, n_patches, _ROWS):
        check(stop)
        rows = torch.from_numpy(patches(np.arange(start, min(start + _ROWS, n_patches))))
        parts.append(branches.patch_probabilities(branches.score(rows.to(device))).cpu())
    return torch.cat(parts).numpy() if parts else np.zeros((0, 2), dtype=np.float32)


def _sample(
    slides: Sequence[CohortSlide],
    scales: Sequence[Scale],
    rng: np.random.Generator,
    stop: Stop,
) -> Float32:
    """Return patches of some slides, as many of each cluster as there can be."""
    chosen = rng.permutation(len(slides))[:_MOST_SLIDES]
    parts = []
    for number in np.sort(chosen):
        check(stop)
        slide = slides[number]
        rows = _spread_out(slide.labels, -(-_MOST_REPLAYED // len(chosen)), rng)
        parts.append(standardised_rows(slide.views, scales, rows))
    width = sum(scale.dim for scale in scales)
    return np.concatenate([*parts, np.zeros((0, width), dtype=np.float32)])


def _spread_out(labels: Labels, n: int, rng: np.random.Generator) -> Int64:
    """Draw patches from every cluster in turn."""
    order = rng.permutation(np.flatnonzero(labels >= 0))
    of = labels[order]
    by_cluster = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[by_cluster], of[by_cluster])
    turn = np.empty(len(order), dtype=np.int64)
    turn[by_cluster] = np.arange(len(order)) - starts
    return np.sort(order[np.argsort(turn, kind="stable")[:n]])


def _split(scored: ScoredPatches, parts: Sequence[Tensor]) -> list[ScoredPatches]:
    """Take apart what was scored side by side, (branches, patches, ...)."""
    lengths = [part.shape[1] for part in parts]
    both = zip(scored.scores.split(lengths, 1), scored.values.split(lengths, 1), strict=True)
    return [ScoredPatches(scores, values) for scores, values in both]
