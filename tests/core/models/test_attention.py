"""Attention against a plain reading of the equations, and every numerical trap that was met."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from src_core.models.attention import (
    AcrossClusterAttention,
    MultiHeadAttention,
    WithinClusterAttention,
    masked_softmax,
)


def _attention(topk: int | None = None, kernel: int = 15, heads: int = 2) -> MultiHeadAttention:
    torch.manual_seed(3)
    module = MultiHeadAttention(8, heads=heads, topk=topk, conv_kernel=kernel, dropout=0.0)
    nn.init.normal_(module.query_bias)
    nn.init.normal_(module.value_bias)
    return module.eval()


def _plain(module: MultiHeadAttention, tokens: Tensor, topk: int | None) -> Tensor:
    """Eq. 6 for one group of real tokens, as it is written: the score map is convolved."""
    width, heads = tokens.shape[-1], module.heads
    size = width // heads
    query, key, value = (tokens @ module.query_key_value.weight.T).split(width, dim=-1)
    query, value = query + module.query_bias, value + module.value_bias
    out = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / size**0.5  # (queries, keys)
        if module.taps is not None:
            kernel = module.taps.shape[1]
            conv = nn.functional.conv2d(
                scores[None, None],
                module.taps[head].view(1, 1, kernel, 1),
                padding=(kernel // 2, 0),
            )
            scores = scores + conv[0, 0]
        if topk is not None and topk < len(tokens):
            kept = torch.full_like(scores, -torch.inf)
            best = scores.topk(topk, dim=1).indices
            scores = kept.scatter(1, best, scores.gather(1, best))
        out.append(scores.softmax(dim=1) @ value[:, part])
    return module.output(torch.cat(out, dim=1))


@pytest.mark.parametrize("topk", [None, 3, 20])
@pytest.mark.parametrize(("kernel", "n"), [(0, 6), (3, 6), (15, 6), (15, 25)])
def test_equals_the_equation(topk: int | None, kernel: int, n: int) -> None:
    module = _attention(topk, kernel)
    tokens = torch.randn(4, n, 8)
    got = module(tokens, torch.ones(4, n, dtype=torch.bool))
    wanted = torch.stack([_plain(module, group, topk) for group in tokens])
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("topk", [None, 4])
def test_padding_at_the_end_of_a_group_changes_nothing(topk: int | None) -> None:
    module = _attention(topk)
    tokens = torch.randn(1, 6, 8)
    alone = module(tokens, torch.ones(1, 6, dtype=torch.bool))
    mask = torch.arange(10) < 6
    padded = torch.cat([tokens, torch.full((1, 4, 8), 37.0)], dim=1)
    together = module(padded, mask[None])[:, :6]
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)


def test_topk_drops_the_rest() -> None:
    """The weights of what was dropped are exactly zero, and no more than k survive."""
    module = _attention(topk=2, kernel=0, heads=1)
    tokens = torch.randn(1, 7, 8, requires_grad=True)
    out = module(tokens, torch.ones(1, 7, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(out[0, 0].sum(), tokens)
    read = (gradient[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist()
    assert len(set(read) - {0}) <= 2


def test_rows_without_keys_give_no_nan_forward_or_backward() -> None:
    scores = torch.randn(3, 4, requires_grad=True)
    mask = torch.tensor([[True] * 4, [True, False, False, True], [False] * 4])
    weights = masked_softmax(scores, mask)
    assert torch.equal(weights[2], torch.zeros(4))
    assert float(weights[1, 1].detach()) == 0.0
    weights.square().sum().backward()
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())
    assert torch.equal(scores.grad[2], torch.zeros(4))


def test_what_padded_rows_hold_moves_no_real_row() -> None:
    layer = WithinClusterAttention(8, heads=2, topk=2, conv_kernel=3, dropout=0.0)
    instances = torch.randn(2, 5, 8)
    mask = torch.tensor([[True, True, True, False, False], [False] * 5])
    out = layer(instances, mask)
    other = layer(instances.masked_fill(~mask.unsqueeze(-1), 1e6), mask)
    assert torch.equal(out[mask], other[mask])
    assert bool(other.isfinite().all())
    assert not torch.equal(out[mask], instances[mask])


def _across(topk: int | None = None, summaries: int = 3) -> AcrossClusterAttention:
    torch.manual_seed(5)
    return AcrossClusterAttention(8, heads=2, topk=topk, n_summaries=summaries, dropout=0.0).eval()


def test_across_equals_the_equation() -> None:
    module = _across()
    instances = torch.randn(1, 4, 5, 8)
    normed = module.norm(instances)[0]  # (clusters, n, width)
    scores = normed @ module.phi  # (clusters, n, G)
    wanted = torch.zeros(4, 5, 8)
    for g in range(3):
        summaries = torch.stack(
            [s[:, g].softmax(0) @ z for s, z in zip(scores, normed, strict=True)]
        )
        met = _plain(module.attention, summaries, None)
        for k in range(4):
            p = scores[k, :, g]
            place = (p - p.min()) / (p.max() - p.min())
            weight = scores[k].softmax(dim=1)[:, g] * place
            wanted[k] += weight[:, None] * met[k]
    got = module(instances, torch.ones(1, 4, 5, dtype=torch.bool)) - instances
    torch.testing.assert_close(got[0], wanted, atol=1e-5, rtol=1e-4)


def test_across_ignores_empty_clusters_and_padding() -> None:
    module = _across(topk=2)
    instances = torch.randn(1, 3, 5, 8)
    mask = torch.ones(1, 3, 5, dtype=torch.bool)
    alone = module(instances, mask)
    wide = torch.zeros(1, 5, 7, 8)
    wide_mask = torch.zeros(1, 5, 7, dtype=torch.bool)
    wide[:, [0, 2, 3], :5], wide_mask[:, [0, 2, 3], :5] = instances, mask
    out = module(wide, wide_mask)
    torch.testing.assert_close(out[:, [0, 2, 3], :5], alone, atol=1e-6, rtol=1e-6)
    assert torch.equal(out[~wide_mask], wide[~wide_mask])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_repeated_rows_get_no_signal_instead_of_noise(dtype: torch.dtype) -> None:
    """A cluster of one patch repeated has a range of rounding only: 0, not 0 against 1."""
    module = _across().to(dtype)
    repeated = torch.randn(1, 1, 1, 8).repeat(1, 1, 6, 1)
    instances = torch.cat([repeated, torch.randn(1, 2, 6, 8)], dim=1).to(dtype)
    mask = torch.ones(1, 3, 6, dtype=torch.bool)
    instances[0, 0, 1:] *= 1 + 1e-7  # the rounding of another order of summation
    out = module(instances, mask)
    assert bool(out.isfinite().all())
    moved = (out - instances).detach().float().abs().amax(dim=(0, 2, 3))
    assert float(moved[0]) < 0.02 * float(moved[1:].min())


def test_single_patch_of_a_cluster_gets_none_of_the_others() -> None:
    module = _across()
    instances = torch.randn(1, 2, 3, 8)
    mask = torch.tensor([[[True, False, False], [True, True, True]]])
    out = module(instances * mask[..., None], mask)
    torch.testing.assert_close(out[0, 0, 0], instances[0, 0, 0])


def test_across_gradients_are_finite_with_empty_clusters() -> None:
    module = _across()
    instances = torch.zeros(2, 3, 4, 8)
    instances[0, 0] = torch.randn(4, 8)
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[0, 0] = True
    instances.requires_grad_()
    module(instances, mask).square().sum().backward()
    assert instances.grad is not None
    assert bool(instances.grad.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)
