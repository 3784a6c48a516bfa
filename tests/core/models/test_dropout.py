"""Dropout in place."""

from __future__ import annotations

import pytest
import torch

from src_core.models.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.25, 0.95])
def test_the_share_is_dropped_and_the_mean_is_kept(share: float) -> None:
    torch.manual_seed(0)
    out = Dropout(share)(torch.ones(1001, 333))
    n = out.numel()
    noise = (share * (1 - share) / n) ** 0.5
    assert abs(float((out == 0).float().mean()) - share) < 4 * noise + 2**-16
    assert abs(float(out.mean()) - 1) < 4 * noise / (1 - share)
    assert len(out.unique()) == 2


def test_neighbours_are_dropped_independently() -> None:
    """Two entries share one draw of 32 bits."""
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(400_000)) == 0).view(-1, 2)
    both = float(dropped.all(dim=1).float().mean())
    assert abs(both - 0.25) < 0.005


def test_what_is_dropped_has_no_gradient_and_the_rest_the_scale() -> None:
    torch.manual_seed(0)
    entries = torch.ones(50, 7, requires_grad=True)
    out = Dropout(0.25)(entries * 1)
    (gradient,) = torch.autograd.grad(out.sum(), entries)
    assert torch.equal(gradient, out)
    assert float(out.detach().max()) == pytest.approx(4 / 3)


def test_evaluation_and_a_share_of_none_change_nothing() -> None:
    entries = torch.randn(5, 3)
    before = entries.clone()
    assert torch.equal(Dropout(0.5).eval()(entries), before)
    assert torch.equal(Dropout(0.0)(entries), before)


def test_the_generator_decides_and_half_precision_stays_half() -> None:
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        outs.append(Dropout(0.3)(torch.ones(99, dtype=torch.bfloat16)))
    assert torch.equal(*outs)
    assert outs[0].dtype == torch.bfloat16
