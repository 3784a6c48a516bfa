"""Attention within clusters (C-MSA) and across them (CC-MSA).

Both read instances as (bags, clusters, patches, width) with a mask of the real ones. A padded
instance, and a cluster of nothing but padding, change nothing: their rows stay 0 and no other
row sees them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from src_core.models.dropout import Dropout
from src_core.models.sparse_attention import attend

__all__ = ["AcrossClusterAttention", "MultiHeadAttention", "WithinClusterAttention"]

_MIN_RANGE = 1e-4
"""Scores of a cluster closer than this are one score: rounding must not become 0 against 1."""


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis, in float32 or wider, that gives masked entries exactly 0.

    A row with no entry left is 0, with gradients of 0: the smallest finite number keeps both
    passes free of the NaN that minus infinity brings.
    """
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    hidden = wide.masked_fill(~mask, torch.finfo(wide.dtype).min)
    return hidden.softmax(dim=-1) * mask


class MultiHeadAttention(nn.Module):
    """Sparse multi-head self-attention with a convolution over the queries.

    The scores are ``e + conv(e)``, the convolution depthwise per head along the query axis
    (eq. 6).

    There is no key bias: it would shift a row of scores, which the softmax forgets.

    Parameters
    ----------
    width : int
        Length of a token.
    heads : int
        Number of heads.
    topk : int or None
        Keys that a query keeps; None keeps all.
    conv_kernel : int
        Taps of the convolution, odd; 0 for none.
    dropout : float
        Dropout of the output.
    """

    def __init__(
        self, width: int, *, heads: int, topk: int | None, conv_kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.topk = heads, topk
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(width))
        self.value_bias = nn.Parameter(torch.zeros(width))
        self.output = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        bound = 1 / math.sqrt(conv_kernel) if conv_kernel else 0.0
        taps = torch.empty(heads, conv_kernel).uniform_(-bound, bound)
        self.taps = nn.Parameter(taps) if conv_kernel else None

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Let each token read the others of its group.

        Parameters
        ----------
        tokens : Tensor, shape (..., n, width)
            Groups of tokens.
        mask : Tensor of bool, shape (..., n)
            True where a token is real.

        Returns
        -------
        Tensor, shape (..., n, width)
            What each token read; padded rows hold no meaning.
        """
        n, width = tokens.shape[-2:]
        projected = functional.linear(tokens.reshape(-1, width), self.query_key_value.weight)
        projected = projected.view(-1, n, 3, self.heads, width // self.heads)
        read = attend(
            projected,
            self.query_bias.to(projected.dtype).view(self.heads, -1),
            self._band(n),
            mask.reshape(-1, n),
            self.topk,
        )  # (groups, n, heads, width / heads)
        # The weights of a token sum to 1, so a bias of the values is one of the output.
        bias = self.output.bias + self.output.weight @ self.value_bias
        out = functional.linear(read.view(-1, width), self.output.weight, bias)
        dropped: Tensor = self.dropout(out)
        return dropped.view(tokens.shape)

    def _band(self, n: int) -> Tensor | None:
        """Return the convolution over `n` queries as one (n, n) matrix per head."""
        taps = self.taps
        if taps is None:
            return None
        half = taps.shape[-1] // 2
        place = torch.arange(n, device=taps.device)
        offset = place[None, :] - place[:, None] + half  # (n, n): which tap joins row and column
        padded = functional.pad(taps, (0, 1))  # (heads, kernel + 1), the last tap is 0
        outside = (offset < 0) | (offset >= taps.shape[-1])
        band: Tensor = padded[:, offset.masked_fill(outside, taps.shape[-1])]  # (heads, n, n)
        return band


class WithinClusterAttention(nn.Module):
    """C-MSA: the patches of a cluster read one another, pre-normalised, with a residual."""

    def __init__(
        self, width: int, *, heads: int, topk: int | None, conv_kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(
            width, heads=heads, topk=topk, conv_kernel=conv_kernel, dropout=dropout
        )

    def forward(self, instances: Tensor, mask: Tensor) -> Tensor:
        """Return the instances after one layer, shape (..., n, width).

        What padded rows hold is of no consequence, before or after.
        """
        read: Tensor = self.attention(self.norm(instances), mask)
        return instances + read


class AcrossClusterAttention(nn.Module):
    """CC-MSA: every cluster is summed up, the summaries meet, each patch takes its share back.

    With ``P = Z Phi`` per cluster (eq. 7): summary g is the mean of the patches weighted by a
    softmax of ``P[:, g]`` over them; the g-th summaries of all clusters attend to one another;
    a patch receives them weighted by a softmax of ``P`` over g times the place of ``P[:, g]``
    between the least (0) and the greatest (1) of its cluster.

    Parameters
    ----------
    width, heads, topk, dropout
        As in :class:`MultiHeadAttention`; `topk` counts clusters.
    n_summaries : int
        Summaries per cluster (G).
    """

    def __init__(
        self, width: int, *, heads: int, topk: int | None, n_summaries: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.phi = nn.Parameter(torch.empty(width, n_summaries))
        nn.init.kaiming_uniform_(self.phi, a=math.sqrt(5))
        self.attention = MultiHeadAttention(
            width, heads=heads, topk=topk, conv_kernel=0, dropout=dropout
        )

    def forward(self, instances: Tensor, mask: Tensor) -> Tensor:
        """Return the instances after the exchange.

        Parameters
        ----------
        instances : Tensor, shape (bags, clusters, n, width)
            Patches; what padded rows hold is of no consequence.
        mask : Tensor of bool, shape (bags, clusters, n)
            True where a patch is real.
        """
        tokens, share = self.summarise(instances, mask)
        return instances + share @ self.exchange(tokens, mask.any(dim=-1))

    def summarise(self, instances: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Sum up clusters, each on its own.

        Parameters
        ----------
        instances : Tensor, shape (..., n, width)
        mask : Tensor of bool, shape (..., n)

        Returns
        -------
        tokens : Tensor, shape (..., G, width)
        share : Tensor, shape (..., n, G)
            What each patch takes back of what the tokens of its cluster have read.
        """
        normed: Tensor = self.norm(instances)
        # Minmax divides by a difference of these scores: half precision would not carry it.
        with torch.autocast(device_type=normed.device.type, enabled=False):
            scores = normed.float() @ self.phi.float()  # (..., n, G)
            gather = masked_softmax(scores.transpose(-1, -2), mask.unsqueeze(-2))
            share = scores.softmax(dim=-1) * _minmax(scores, mask)
        return gather.to(normed.dtype) @ normed, share.to(normed.dtype)

    def exchange(self, tokens: Tensor, filled: Tensor) -> Tensor:
        """Let the tokens of a bag's clusters read one another, each kind its own.

        Parameters
        ----------
        tokens : Tensor, shape (bags, clusters, G, width)
        filled : Tensor of bool, shape (bags, clusters)
            True where a cluster has a patch.
        """
        kinds = tokens.transpose(1, 2)  # (bags, G, clusters, width)
        met: Tensor = self.attention(kinds, filled.unsqueeze(1).expand(kinds.shape[:-1]))
        return met.transpose(1, 2)  # (bags, clusters, G, width)


def _minmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Place each score between its cluster's least (0) and greatest (1); padded ones are 0.

    Parameters
    ----------
    scores : Tensor of float32, shape (..., n, G)
    mask : Tensor of bool, shape (..., n)
    """
    real = mask.unsqueeze(-1)
    limit = torch.finfo(scores.dtype).max
    least = scores.masked_fill(~real, limit).amin(dim=-2, keepdim=True)
    greatest = scores.masked_fill(~real, -limit).amax(dim=-2, keepdim=True)
    filled = real.any(dim=-2, keepdim=True)
    least, greatest = least.where(filled, 0), greatest.where(filled, 0)
    return (scores - least) / (greatest - least).clamp_min(_MIN_RANGE) * real
