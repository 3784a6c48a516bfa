"""LongNet as Prov-GigaPath's slide encoder uses it, in plain torch: no flash-attn, any device.

Dilated attention: Ding et al., LongNet, https://arxiv.org/abs/2307.02486. The parameters have the
names of the published checkpoint, https://huggingface.co/prov-gigapath/prov-gigapath.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

__all__ = ["LongNetSlide", "dilated_attention", "position_codes"]

_MAX_SCORES = 2**25
"""Attention scores held at once: 128 MiB in float32."""


def dilated_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    segments: Sequence[int],
    ratios: Sequence[int],
    max_scores: int = _MAX_SCORES,
) -> Tensor:
    """Attend within segments, each to every `ratio`-th token, and blend the patterns.

    Parameters
    ----------
    query, key, value : Tensor, shape (tokens, heads, width)
    segments : sequence of int
        Length of the segments of each pattern.
    ratios : sequence of int
        Dilation of each pattern, a divisor of `heads`; the first is 1, so that every token is
        reached. The heads are divided among the offsets 0 to ratio - 1.
    max_scores : int
        How many attention scores are held at once.

    Returns
    -------
    Tensor, shape (tokens, heads, width)
        The patterns' outputs weighted by the sums of their exponentials.

    Notes
    -----
    The last segment is filled up with zero tokens, and they are attended to as the published
    model attends to them.
    """
    tokens, heads, _ = query.shape
    if ratios[0] != 1 or any(heads % ratio for ratio in ratios):
        raise ValueError(f"{heads} heads cannot be dilated by {tuple(ratios)}")
    blend: Tensor | None = None
    total = query.new_empty(0)
    for length, ratio in zip(segments, ratios, strict=True):
        side = min(length, tokens)
        sparse = [_thin(one, side, ratio) for one in (query, key, value)]
        out, weight = _attend(*sparse, max_scores=max_scores)  # (n, heads, m, width), (n, heads, m)
        dense = _spread(out, side, ratio, tokens, fill=0.0)  # (tokens, heads, width)
        log = _spread(weight.unsqueeze(-1), side, ratio, tokens, fill=-math.inf)
        if blend is None:
            blend, total = dense, log
            continue
        both = torch.logaddexp(total, log)  # (tokens, heads, 1)
        blend = blend * (total - both).exp() + dense * (log - both).exp()
        total = both
    if blend is None:
        raise ValueError("dilated attention needs a pattern")
    return blend


def _thin(x: Tensor, side: int, ratio: int) -> Tensor:
    """Cut (tokens, heads, width) to segments; give each group of heads its own `ratio`-th tokens.

    Returns
    -------
    Tensor, shape (segments, heads, ceil(side / ratio), width)
    """
    tokens, heads, width = x.shape
    count, kept = math.ceil(tokens / side), math.ceil(side / ratio)
    x = pad(x, (0, 0, 0, 0, 0, count * side - tokens)).view(count, side, heads, width)
    x = pad(x, (0, 0, 0, 0, 0, kept * ratio - side))
    x = x.view(count, kept, ratio, ratio, heads // ratio, width)  # offset, then group of heads
    x = x.diagonal(dim1=2, dim2=3)  # (count, kept, heads / ratio, width, ratio)
    return x.permute(0, 4, 2, 1, 3).reshape(count, heads, kept, width)


def _spread(x: Tensor, side: int, ratio: int, tokens: int, *, fill: float) -> Tensor:
    """Put back what `_thin` took; `fill` stands where a head has not looked."""
    count, heads, kept, width = x.shape
    out = x.new_full((count, kept, ratio, ratio, heads // ratio, width), fill)
    x = x.view(count, ratio, heads // ratio, kept, width).permute(0, 3, 2, 4, 1)
    out.diagonal(dim1=2, dim2=3).copy_(x)
    out = out.view(count, kept * ratio, heads, width)[:, :side]
    return out.reshape(count * side, heads, width)[:tokens]


def _attend(query: Tensor, key: Tensor, value: Tensor, *, max_scores: int) -> tuple[Tensor, Tensor]:
    """Return plain attention, and the logarithm of the sum of its exponentials.

    Shapes: (n, heads, m, width) each, and (n, heads, m) for the logarithm.
    """
    n, heads, m, width = query.shape
    query, key, value = (x.reshape(n * heads, m, width) for x in (query, key, value))
    out = torch.empty_like(query)
    logs = query.new_empty(n * heads, m)
    for batch, rows in _blocks(n * heads, m, max_scores):
        scores = query[batch, rows] @ key[batch].mT * width**-0.5  # (b, rows, m)
        log = scores.logsumexp(dim=-1, keepdim=True)  # (b, rows, 1)
        out[batch, rows] = (scores - log).exp() @ value[batch]
        logs[batch, rows] = log.squeeze(-1)
    return out.view(n, heads, m, width), logs.view(n, heads, m)


def _blocks(batches: int, m: int, max_scores: int) -> Iterator[tuple[slice, slice]]:
    rows = max(1, min(m, max_scores // m))
    together = max(1, max_scores // (rows * m))
    for first in range(0, batches, together):
        for row in range(0, m, rows):
            yield slice(first, first + together), slice(row, row + rows)


def position_codes(cells: Tensor, width: int) -> Tensor:
    """Return sines and cosines of places: the first half of a code is of y, the second of x.

    Parameters
    ----------
    cells : Tensor of int64, shape (n, 2)
        Columns x, y, in patches.
    width : int
        A multiple of 4.

    Returns
    -------
    Tensor of float32, shape (n, width)
    """
    quarter = width // 4
    steps = torch.arange(quarter, dtype=torch.float64, device=cells.device) / quarter
    angles = cells.flip(1).double().unsqueeze(-1) / 10_000**steps  # (n, 2, quarter), y then x
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.inner_attn_ln = nn.LayerNorm(width)
        self._heads = heads

    def forward(self, x: Tensor, segments: Sequence[int], ratios: Sequence[int]) -> Tensor:
        """Map (tokens, width) to the same."""
        query, key, value = (
            part(x).unflatten(-1, (self._heads, -1))  # (tokens, heads, width / heads)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = dilated_attention(query, key, value, segments=segments, ratios=ratios)
        out: Tensor = self.out_proj(self.inner_attn_ln(mixed.flatten(1)))
        return out


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.ffn_layernorm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tokens, width) to the same."""
        out: Tensor = self.fc2(self.ffn_layernorm(gelu(self.fc1(x))))
        return out


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.ffn = _FeedForward(width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, segments: Sequence[int], ratios: Sequence[int]) -> Tensor:
        """Map (tokens, width) to the same."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), segments, ratios)
        out: Tensor = x + self.ffn(self.final_layer_norm(x))
        return out


class _Encoder(nn.Module):
    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.layer_norm = nn.LayerNorm(width)  # of the published file; no output here is past it


class LongNetSlide(nn.Module):
    """Prov-GigaPath's slide encoder, ``gigapath_slide_enc12l768d``.

    Parameters
    ----------
    in_dim, width, heads, depth : int
        Of the published model by default.
    segments, ratios : sequence of int
        The patterns of `dilated_attention`; the lengths are 2^10, 2^12.5, 2^15, 2^17.5, 2^20.
    """

    def __init__(
        self,
        in_dim: int = 1536,
        width: int = 768,
        heads: int = 16,
        depth: int = 12,
        *,
        segments: Sequence[int] = (1024, 5792, 32_768, 185_363, 1_048_576),
        ratios: Sequence[int] = (1, 2, 4, 8, 16),
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.patch_embed = nn.ModuleDict({"proj": nn.Linear(in_dim, width)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder = _Encoder(width, heads, depth)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self._segments, self._ratios = tuple(segments), tuple(ratios)

    def forward(self, features: Tensor, cells: Tensor, *, entry: int) -> Tensor:
        """Return the mean of the patches' tokens after `entry` layers, normalised.

        Parameters
        ----------
        features : Tensor, shape (n, in_dim)
        cells : Tensor of int64, shape (n, 2)
            Columns x, y, in patches.
        entry : int
            0 is the input of the first layer, `depth` the output of the last.

        Returns
        -------
        Tensor, shape (width,)
        """
        x = self.patch_embed["proj"](features)
        x = x + position_codes(cells, x.shape[1])  # (n, width)
        x = torch.cat([self.cls_token[0], x])  # (1 + n, width): a token that has no place
        for layer in self.encoder.layers[:entry]:
            x = layer(x, self._segments, self._ratios)
        pooled: Tensor = self.norm(x[1:].mean(dim=0))  # (width,)
        return pooled
