"""Sparse attention among few tokens: forward and backward by hand.

Groups are many and small (50 clusters of 10 patches a bag, 8 heads), so a step is made of thousands
of tiny matrices, and what costs is how often arrays are read, not arithmetic. Left to autograd, the
same takes three times as many passes over them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["attend", "sparse_softmax"]


def attend(
    projected: Tensor, query_bias: Tensor, band: Tensor | None, mask: Tensor, k: int | None
) -> Tensor:
    """Let the tokens of each group read one another.

    With scores ``e = Q K^T / sqrt(size)``, rows of padded queries 0, each token reads
    ``softmax(top-k(e + band e)) V``, the softmax in float32 or wider.

    Parameters
    ----------
    projected : Tensor, shape (groups, n, 3, heads, size)
        Queries, keys and values.
    query_bias : Tensor, shape (heads, size)
        Added to the queries.
    band : Tensor, shape (heads, n, n), optional
        The positional term: a convolution of the scores along the queries, as a matrix.
    mask : Tensor of bool, shape (groups, n)
        True where a token is real.
    k : int or None
        Keys that a query keeps, ties with the k-th included; None keeps all.

    Returns
    -------
    Tensor, shape (groups, n, heads, size)
        What each token read; 0 in groups without a real token.
    """
    with torch.autocast(projected.device.type, enabled=False):
        out: Tensor = _Attend.apply(projected, query_bias, band, mask, k)
    return out


def sparse_softmax(scores: Tensor, mask: Tensor, k: int | None) -> Tensor:
    """Softmax over the first axis of the `k` largest real scores; all others are exactly 0.

    Ties with the k-th stay: deciding by a threshold makes the result independent of the order
    and of the device, which the indices of a top-k are not.

    Parameters
    ----------
    scores : Tensor, shape (keys, ...)
        The first axis is the slowest in memory: whole planes are compared at once.
    mask : Tensor of bool, broadcasts with `scores`
        True where a key is real; without any the result is 0.
    """
    # The smallest finite number: minus infinity would give NaN where no key is real.
    scores = scores + (~mask).to(scores.dtype) * torch.finfo(scores.dtype).min
    if k is None or k >= len(scores):
        weights = (scores - scores.amax(dim=0)).exp_()
    else:
        largest = scores.topk(k, dim=0).values  # (k, ...), in descending order
        weights = (scores - largest[0]).exp_().mul_(scores >= largest[-1])
    weights.mul_(mask)
    return weights.div_(weights.sum(dim=0).clamp_min_(torch.finfo(scores.dtype).tiny))


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        query_bias: Tensor,
        band: Tensor | None,
        mask: Tensor,
        k: int | None,
    ) -> Tensor:
        groups, n, _, heads, size = projected.shape
        # Heads first, one copy for all three: from here on everything is a batch of whole matrices.
        parts = projected.permute(2, 3, 0, 1, 4).contiguous()  # (3, heads, groups, n, size)
        parts[0].add_(query_bias[:, None, None])
        query, key, value = parts.flatten(1, 2).unbind()  # (heads * groups, n, size) each
        wide = torch.promote_types(parts.dtype, torch.float32)
        scores = torch.bmm(key, query.transpose(1, 2)).to(wide)  # (heads * groups, keys, queries)
        scores = scores.view(heads, groups, n, n).mul_(mask.unsqueeze(1) * size**-0.5)
        seen = scores.flatten(1, 2)  # (heads, groups * keys, queries)
        if band is not None:
            band = band.to(wide)
            scores = torch.baddbmm(seen, seen, band.transpose(1, 2)).view_as(scores)
        by_key = scores.permute(2, 0, 1, 3).contiguous()  # (keys, heads, groups, queries)
        weights = sparse_softmax(by_key, mask.T[:, None, :, None], k)
        weights = weights.permute(1, 2, 0, 3).contiguous()  # (heads, groups, keys, queries)
        read = torch.bmm(weights.to(parts.dtype).flatten(0, 1).transpose(1, 2), value)
        ctx.save_for_backward(parts, weights, mask, seen if band is not None else None, band)
        return read.view(heads, groups, n, size).permute(1, 2, 0, 3).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts, weights, mask, seen, band = ctx.saved_tensors
        _, heads, groups, n, size = parts.shape
        query, key, value = parts.flatten(1, 2).unbind()
        got = gradient.permute(2, 0, 1, 3).reshape(heads * groups, n, size)
        out = torch.empty_like(parts)
        of_query, of_key, of_value = out.flatten(1, 2).unbind()
        torch.bmm(weights.to(parts.dtype).flatten(0, 1), got, out=of_value)
        of_weights = torch.bmm(value, got.transpose(1, 2)).to(weights.dtype).view_as(weights)
        # Softmax: w (dw - sum over the keys of w dw). A weight of 0, padded or dropped, gives 0.
        product = of_weights.mul_(weights)
        of_scores = torch.addcmul(product, weights, product.sum(dim=2, keepdim=True), value=-1)
        of_band = None
        if band is not None:
            rows = of_scores.flatten(1, 2)  # (heads, groups * keys, queries)
            of_band = torch.bmm(rows.transpose(1, 2), seen)  # (heads, queries, queries)
            of_scores = torch.baddbmm(rows, rows, band).view_as(weights)
        of_scores = (of_scores * (mask.unsqueeze(1) * size**-0.5)).to(parts.dtype).flatten(0, 1)
        torch.bmm(of_scores.transpose(1, 2), key, out=of_query)
        torch.bmm(of_scores, query, out=of_key)
        of_bias = out[0].flatten(1, 2).sum(dim=1)  # (heads, size)
        return out.permute(2, 3, 0, 1, 4).contiguous(), of_bias, of_band, None, None
