"""Scores of slides: each patch projected once, each block attended to once, for every task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from src_core.bags.selection import cluster_share_log_weights, covering_bags
from src_core.models.attention import MultiHeadAttention
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches
from src_core.models.student import Student
from src_core.training import scoring
from src_core.training.blocks import sections
from src_core.training.scoring import SlideScorer, score_slide

DIM, SIZE = 12, 4


def modules(**changes: Any) -> tuple[Student, LocalBranches]:
    torch.manual_seed(0)
    settings = {"n_outputs": 2, "n_per_cluster": SIZE, "width": 16, "heads": 2, **changes}
    config = StudentConfig(input_dim=DIM, zero_init=False, n_branches=2, **settings)
    student, branches = Student(config), LocalBranches(config)
    for parameter in (student.head.bias, branches.output_bias):
        torch.nn.init.normal_(parameter)
    return student.eval(), branches.eval()


class Slide:
    """One large cluster, two small ones, and a patch of none."""

    labels = np.repeat([0, 1, 2, -1], [41, 7, 4, 1]).astype(np.int32)

    def __init__(self) -> None:
        """Draw the embeddings."""
        self.values = np.random.default_rng(1).normal(size=(53, DIM)).astype(np.float32)
        self.bags = covering_bags(
            self.labels, n_per_cluster=SIZE, n_bags=2, rng=np.random.default_rng(2)
        )
        self.seen: list[int] = []

    def patches(self, rows: Any) -> Any:
        self.seen += rows.tolist()
        return self.values[rows]


@pytest.fixture
def slide() -> Slide:
    return Slide()


def forward(module: Any, slide: Slide, *, share: bool = False) -> Any:
    """Score the bags by a plain forward pass of everything that is in them."""
    inputs = torch.from_numpy(slide.values[np.maximum(slide.bags, 0)])
    log_share = None
    if share:
        log_share = torch.from_numpy(cluster_share_log_weights(slide.labels, slide.bags))
    with torch.no_grad():
        return module(inputs, torch.from_numpy(slide.bags >= 0), log_share)


@pytest.mark.parametrize("regions", ["cluster", "grid"])
@pytest.mark.parametrize("summaries", [0, 3])
@pytest.mark.parametrize("share", [False, True])
def test_a_bag_scores_as_by_a_plain_forward_pass(
    slide: Slide, regions: str, summaries: int, share: bool
) -> None:
    student, branches = modules(
        regions=regions, n_summaries=summaries, weight_by_cluster_size=share
    )
    scores = score_slide(student, branches, slide.patches, slide.labels, slide.bags)
    logits = forward(student, slide, share=share).logits
    np.testing.assert_allclose(scores.student, logits - logits.mean(-1, keepdim=True), atol=1e-5)
    local = forward(branches, slide, share=share).logits
    np.testing.assert_allclose(scores.branches, local, atol=1e-5)


@pytest.mark.parametrize("task", ["classification", "regression", "survival"])
@pytest.mark.parametrize("has_branches", [True, False])
def test_contributions_and_bias_add_up_to_the_mean_output(
    slide: Slide, task: str, has_branches: bool
) -> None:
    student, branches = modules(task=task, n_outputs=1 if task == "survival" else 3)
    part = branches if has_branches else None
    scores = score_slide(student, part, slide.patches, slide.labels, slide.bags, maps=True)
    assert scores.patches is not None
    if has_branches:
        output = forward(branches, slide).logits.mean(dim=(0, 1))
    else:
        output = forward(student, slide).logits.mean(dim=0)
    if task == "classification" and not has_branches:
        output = output - output.mean()
    total = scores.patches.bias + scores.patches.contributions.sum(axis=0)
    np.testing.assert_allclose(total, output, atol=1e-5)
    n_classes = 3 if task == "classification" else 0
    assert scores.patches.probabilities.shape == (53, n_classes)
    if n_classes:
        there = scores.places > 0
        np.testing.assert_allclose(scores.patches.probabilities[there].sum(axis=1), 1, rtol=1e-5)
        assert np.isnan(scores.patches.probabilities[~there]).all()


def test_each_patch_is_projected_once_and_each_block_attended_to_once(
    slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, branches = modules(n_summaries=0)
    attended: list[int] = []
    plain = MultiHeadAttention.forward

    def counted(self: Any, tokens: Any, mask: Any) -> Any:
        attended.append(tokens.shape[:-1].numel())
        return plain(self, tokens, mask)

    monkeypatch.setattr(MultiHeadAttention, "forward", counted)
    score_slide(student, branches, slide.patches, slide.labels, slide.bags, maps=True)
    assert sorted(slide.seen) == list(range(52)), "the patch of no cluster is not read"
    blocks = {tuple(row) for row in slide.bags.reshape(-1, SIZE)}
    assert len(blocks) < len(slide.bags) * 3 * 2 / 3, "small clusters come back"
    assert sum(attended) == 2 * SIZE * len(blocks), "two layers"


def test_the_cost_follows_the_largest_cluster_and_not_the_bags_of_the_small_ones() -> None:
    """Ten times the largest cluster: ten times the bags, but not ten times the blocks."""
    counts = {}
    for largest in (200, 2_000):
        labels = np.concatenate([np.zeros(largest), np.arange(400) % 40 + 1]).astype(np.int32)
        bags = covering_bags(labels, n_per_cluster=10, n_bags=1, rng=np.random.default_rng(0))
        section, *others = sections(bags, n_per_cluster=10, most=10**6)
        assert not others
        counts[largest] = (len(bags), len(section.blocks))
    assert counts[200] == (20, 20 + 40)
    assert counts[2_000] == (200, 200 + 40)


def test_blocks_kept_in_parts_change_nothing(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    student, branches = modules()

    def score() -> Any:
        return score_slide(student, branches, slide.patches, slide.labels, slide.bags, maps=True)

    whole = score()
    monkeypatch.setattr(scoring, "_KEPT_NUMBERS", 6 * (SIZE + 3) * 16)
    parts = list(sections(slide.bags, n_per_cluster=SIZE, most=6))
    assert len(parts) > 1
    assert all(len(one.blocks) <= 6 for one in parts)
    assert [one.bags.start for one in parts[1:]] == [one.bags.stop for one in parts[:-1]]
    again = score()
    np.testing.assert_allclose(again.student, whole.student, atol=1e-6)
    np.testing.assert_allclose(again.patches.contributions, whole.patches.contributions, atol=1e-6)


def test_a_cluster_of_nothing_but_padding_says_nothing(slide: Slide) -> None:
    student, branches = modules()
    used = np.arange(52)
    scorer = SlideScorer(student, branches, slide.patches, used, n_patches=53)
    two = slide.bags[:, : 2 * SIZE]
    padded = slide.bags.copy()
    padded[:, 2 * SIZE :] = -1
    one, other = (scorer.score(bags, None, maps=True) for bags in (two, padded))
    np.testing.assert_allclose(one.student, other.student, atol=1e-6)
    assert one.patches is not None
    assert other.patches is not None
    np.testing.assert_allclose(one.patches.attention, other.patches.attention, atol=1e-5)


def test_who_watches_sees_each_patch_as_it_is_projected(slide: Slide) -> None:
    student, branches = modules()
    seen: dict[int, Any] = {}
    used = np.array([3, 1, 50])
    SlideScorer(
        student,
        branches,
        slide.patches,
        used,
        n_patches=53,
        watch=lambda rows, values: seen.update(zip(rows.tolist(), values, strict=True)),
    )
    assert sorted(seen) == [1, 3, 50]
    np.testing.assert_array_equal(seen[50], slide.values[50])
