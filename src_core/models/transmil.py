"""TransMIL, a transformer over all patches of a bag, as a baseline.

Shao et al., TransMIL: Transformer based Correlated Multiple Instance Learning for Whole Slide
Image Classification, NeurIPS 2021; its attention is that of Xiong et al., Nystromformer, AAAI 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from src_core.models.config import StudentConfig
from src_core.models.re_embedding import initialise
from src_core.models.student import StudentOutput
from src_core.models.unpadded import UnpaddedModel

__all__ = ["NystromAttention", "PositionEncoding", "TransMil"]

_INVERSE_STEPS = 6
_VALUE_KERNEL = 33


class TransMil(UnpaddedModel):
    """Two layers of Nystrom attention with a class token and a position encoding between them.

    It knows no mask, so every bag is read without its padding. The patches of a bag are laid
    out row by row on a square; as published, the first ones come again to fill it.

    Parameters
    ----------
    config : StudentConfig
        Of it are used the width, the heads, both dropouts and the outputs.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.input_dim, config.width)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.class_token = nn.Parameter(torch.randn(config.width))
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))
        self.first = NystromAttention(config)
        self.last = NystromAttention(config)
        self.positions = PositionEncoding(config.width)
        self.last_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_outputs)
        initialise(self, zero_outputs=False)

    def project(self, embeddings: Tensor) -> Tensor:
        """Bring standardised embeddings to the model's width; see `BagModel`."""
        out: Tensor = self.input_dropout(self.linear(embeddings).relu())  # (..., width)
        return out

    def forward_real(self, instances: Tensor, log_share: Tensor | None) -> StudentOutput:
        """Score bags without padding, (bags, n, width); shares have no place in this model.

        `attention` is what the class token takes of each patch in the last layer, mean over the
        heads; what Nystrom's approximation makes negative counts as 0.
        """
        n_bags, n, _ = instances.shape
        side = math.isqrt(n - 1) + 1
        square = torch.cat([instances, instances[:, : side * side - n]], dim=1)
        token = self.class_token.expand(n_bags, 1, -1)
        tokens = torch.cat([token, square], dim=1)  # (bags, 1 + side * side, width)
        tokens = tokens + self.first(self.norms[0](tokens))
        tokens = self.positions(tokens, side)
        read, taken = self.last.read(self.norms[1](tokens))
        taken = taken.clamp_min(0)[:, 1:]  # (bags, side * side)
        tokens = self.last_norm(tokens + read)
        embedding = tokens[:, 0]  # (bags, width)
        attention = taken[:, :n].clone()
        attention[:, : side * side - n] += taken[:, n:]
        attention = attention / attention.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return StudentOutput(self.head(embedding), attention, tokens[:, 1 : n + 1], embedding)


class NystromAttention(nn.Module):
    """Multi-head self-attention through landmarks: its cost grows with n and not with n squared.

    ``softmax(q k~) pinv(softmax(q~ k~)) softmax(q~ k) v``, with landmarks q~, k~ the means of
    segments that follow one another, and a depthwise convolution of the values added. With as
    many landmarks as tokens it is plain attention.

    Parameters
    ----------
    config : StudentConfig
        As published there are half as many landmarks as the width; a bag with fewer tokens has
        one landmark each.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self._heads, self._n_landmarks = heads, width // 2
        self._scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.values = nn.Conv2d(
            heads, heads, (_VALUE_KERNEL, 1), padding=(_VALUE_KERNEL // 2, 0), groups=heads,
            bias=False,
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what tokens take of one another, (bags, n, width)."""
        return self.read(tokens)[0]

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what tokens take, (bags, n, width), and how much the first takes of each.

        The latter, (bags, n), is the mean over the heads; no gradient flows through it.
        """
        query, key, value = self._split(tokens)
        to_marks, inverse, from_marks = self._kernels(query, key)
        weights = to_marks @ inverse  # (bags, heads, n, m)
        taken = weights @ (from_marks @ value)  # (bags, heads, n, width / heads)
        first = weights[:, :, :1].detach() @ from_marks.detach()  # (bags, heads, 1, n)
        joined = (taken + self.values(value)).transpose(1, 2).flatten(2)  # (bags, n, width)
        return self.dropout(self.output(joined)), first.squeeze(2).mean(dim=1)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, (bags, heads, n, width / heads) each."""
        parts = self.qkv(tokens).chunk(3, dim=-1)
        query, key, value = (one.unflatten(2, (self._heads, -1)).transpose(1, 2) for one in parts)
        return query * self._scale, key, value

    def _kernels(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        marks_q, marks_k = self._landmarks(query), self._landmarks(key)
        to_marks = (query @ marks_k.mT).softmax(dim=-1)  # (bags, heads, n, m)
        between = (marks_q @ marks_k.mT).softmax(dim=-1)  # (bags, heads, m, m)
        from_marks = (marks_q @ key.mT).softmax(dim=-1)  # (bags, heads, m, n)
        return to_marks, pseudo_inverse(between), from_marks

    def _landmarks(self, rows: Tensor) -> Tensor:
        """Return means of segments of nearly one length, (bags, heads, m, width / heads).

        The published code fills n up to a multiple of m with tokens of zeros, which then are
        attended to; segments that differ by a token need none.
        """
        n = rows.shape[2]
        if n <= self._n_landmarks:
            return rows
        flat = rows.flatten(0, 1).mT  # (bags * heads, width / heads, n)
        pooled = functional.adaptive_avg_pool1d(flat, self._n_landmarks)
        marks: Tensor = pooled.mT.unflatten(0, rows.shape[:2])
        return marks


class PositionEncoding(nn.Module):
    """PPEG: depthwise convolutions of 7, 5 and 3 patches over the square, added to the patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, size, padding=size // 2, groups=width) for size in (7, 5, 3)
        )

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Return tokens (bags, 1 + side * side, width); the first, the class token, as it is."""
        square = tokens[:, 1:].mT.unflatten(2, (side, side))  # (bags, width, side, side)
        encoded = square + sum(one(square) for one in self.convolutions)
        return torch.cat([tokens[:, :1], encoded.flatten(2).mT], dim=1)


def pseudo_inverse(matrices: Tensor) -> Tensor:
    """Approximate the Moore-Penrose inverse of matrices (..., m, m) by six steps of iteration.

    Each is scaled by its own sums, and not by the largest of the batch as in the published code:
    a bag's score must not depend on what else is in the batch.
    """
    size = matrices.abs()
    largest = size.sum(dim=-1).amax(dim=-1) * size.sum(dim=-2).amax(dim=-1)
    inverse = matrices.mT / largest[..., None, None]
    identity = torch.eye(matrices.shape[-1], device=matrices.device, dtype=matrices.dtype)
    for _ in range(_INVERSE_STEPS):
        product = matrices @ inverse
        inner = 7 * identity - product
        inner = 15 * identity - product @ inner
        inverse = 0.25 * inverse @ (13 * identity - product @ inner)
    return inverse
