"""Attention by hand against finite differences, and what hides a key."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src_core.models.sparse_attention import attend, sparse_softmax

SIZES = torch.tensor([5, 3, 1, 0])
"""Real tokens of each group: full, padded, a single one, none."""


def _inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    projected = torch.randn(4, 5, 3, 2, 3, dtype=dtype, requires_grad=True)
    bias = torch.randn(2, 3, dtype=dtype, requires_grad=True)
    band = torch.randn(2, 5, 5, dtype=torch.promote_types(dtype, torch.float32))
    return projected, bias, band.requires_grad_(), torch.arange(5) < SIZES[:, None]


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("has_band", [True, False])
def test_gradients_equal_finite_differences(k: int | None, has_band: bool) -> None:
    projected, bias, band, mask = _inputs()

    def read(projected: Tensor, bias: Tensor, band: Tensor) -> Tensor:
        return attend(projected, bias, band if has_band else None, mask, k)

    assert torch.autograd.gradcheck(read, (projected, bias, band))


def test_groups_without_a_token_read_nothing_and_padding_has_no_gradient() -> None:
    projected, bias, band, mask = _inputs(torch.float32)
    out = attend(projected, bias, band, mask, 3)
    assert torch.equal(out[3], torch.zeros_like(out[3]))
    (out * mask[..., None, None]).square().sum().backward()
    assert projected.grad is not None
    assert bool(projected.grad.isfinite().all())
    assert torch.equal(projected.grad[~mask], torch.zeros_like(projected.grad[~mask]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weighs_in_float32(dtype: torch.dtype) -> None:
    projected, bias, band, mask = _inputs(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(projected, bias, band, mask, 3)
    wide = attend(projected.double(), bias.double(), band.double(), mask, 3)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), wide, atol=0.02, rtol=0.02)
    out.float().square().sum().backward()
    assert band.grad is not None
    assert band.grad.dtype == torch.float32
    assert bool(band.grad.isfinite().all())


def test_ties_with_the_kth_stay_whatever_the_order() -> None:
    scores = torch.tensor([5.0, 1.0, 3.0, 3.0, 3.0, 0.0])[:, None]
    real = torch.ones(6, 1, dtype=torch.bool)
    weights = sparse_softmax(scores, real, 2)
    assert (weights[:, 0] > 0).tolist() == [True, False, True, True, True, False]
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    torch.testing.assert_close(sparse_softmax(scores[order], real, 2), weights[order])


@pytest.mark.parametrize("k", [None, 2, 9])
def test_hidden_keys_weigh_exactly_nothing(k: int | None) -> None:
    scores = torch.randn(4, 3) * 30 - 200
    real = torch.tensor([[True, True, False], [True, False, False]] + [[True, False, False]] * 2)
    weights = sparse_softmax(scores, real, k)
    assert torch.equal(weights[~real], torch.zeros(int((~real).sum())))
    torch.testing.assert_close(weights.sum(dim=0), torch.tensor([1.0, 1.0, 0.0]))
    if k == 2:
        assert int((weights[:, 0] > 0).sum()) <= 2
