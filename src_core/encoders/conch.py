"""CONCH v1.5: a vision transformer, one query that attends to all of its tokens, a layer norm.

The architecture and the names of the parameters are those of the published weights
(``pytorch_model_vision.bin`` of MahmoodLab/conchv1_5) as public code that loads them strictly
shows (TRIDENT 0.3).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from src_core.devices import DeviceName, pick_device
from src_core.encoders.cards import EncoderCard
from src_core.encoders.foundation_timm import Blueprint, build_vit, weights_file
from src_core.encoders.strict_load import fill, grid_side
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.encoders.weights import card_with_weights, read_state_dict

__all__ = ["TRUNK", "AttentionalPooler", "ConchTower", "load_conch"]

TRUNK = Blueprint("vit_large_patch16_224", {"init_values": 1.0})
_POSITIONS = "trunk.pos_embed"
_TRUNK_CELLS = 14
"""Side of the grid of the trunk's own position embeddings: 224 px in patches of 16."""


class AttentionalPooler(nn.Module):
    """Learnt queries that attend to a sequence of tokens."""

    def __init__(self, width: int, context_width: int, *, n_heads: int, n_queries: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Parameter(torch.empty(n_queries, width))
        self.ln_k = nn.LayerNorm(context_width)
        self.ln_q = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(context_width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, n_queries, width) of tokens (n, t, context_width)."""
        keys, values = self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1)  # (n, t, width) each
        queries = self.to_q(self.ln_q(self.query)).expand(len(tokens), -1, -1)  # (n, q, width)
        attended = scaled_dot_product_attention(
            self._heads(queries), self._heads(keys), self._heads(values)
        )  # (n, heads, q, width / heads)
        return self.to_out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, part: Tensor) -> Tensor:
        heads = part.reshape(*part.shape[:2], self.n_heads, -1)  # (n, t, heads, width / heads)
        return heads.transpose(1, 2)  # (n, heads, t, width / heads)


class ConchTower(nn.Module):
    """The image tower, up to the normalised embedding that slides are made of."""

    def __init__(self, trunk: nn.Module, *, dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = AttentionalPooler(dim, 1024, n_heads=8, n_queries=1)
        self.ln_contrast = nn.LayerNorm(dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings (n, dim) of pixels (n, 3, side, side)."""
        tokens = self.trunk.forward_features(pixels)  # type: ignore[operator]  # (n, t, 1024)
        pooled = self.attn_pool_contrast(tokens)[:, 0]  # (n, dim)
        return self.ln_contrast(pooled)  # type: ignore[no-any-return]


def load_conch(card: EncoderCard, device: DeviceName, weights: Path | None) -> TorchPatchEncoder:
    """Make CONCH v1.5 from a file, the Hugging Face cache or the hub."""
    target = pick_device(device)
    path = weights_file(card, weights)
    trunk = build_vit(card, TRUNK)
    with torch.device("meta"):
        tower = ConchTower(trunk, dim=card.dim)
    state = read_state_dict(card, path)
    positions = state.get(_POSITIONS)  # (1, 1 + cells, 1024)
    if positions is not None and positions.ndim == 3:
        side = grid_side(card, positions.shape[1] - 1, path)
        wanted = grid_side(card, tower.state_dict()[_POSITIONS].shape[1] - 1, path)
        state = {**state, _POSITIONS: _stretched(positions.float(), side, wanted)}
    fill(card, tower, state, path)
    card = card_with_weights(card, path, given=weights is not None)
    return TorchPatchEncoder(card, tower, device=target)


def _stretched(positions: Tensor, side: int, wanted: int) -> Tensor:
    """Return the position embeddings for `wanted` cells a side.

    In the two steps of the reference code, so that embeddings agree with those that others have:
    to the trunk's grid when the file is read (bilinear), and from there when a picture is seen
    (bicubic, by a scale that is a tenth of a cell too large, as in DINO).
    """
    classes, cells = positions[:, :1], positions[:, 1:]  # (1, 1, w), (1, side^2, w)
    grid = cells.transpose(1, 2).unflatten(2, (side, side))  # (1, w, side, side)
    if side != _TRUNK_CELLS:
        size = (_TRUNK_CELLS, _TRUNK_CELLS)
        grid = interpolate(grid, size=size, mode="bilinear", align_corners=False)
    if wanted != _TRUNK_CELLS:
        scale = (wanted + 0.1) / _TRUNK_CELLS
        grid = interpolate(grid, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return torch.cat([classes, grid.flatten(2).transpose(1, 2)], dim=1)  # (1, 1 + wanted^2, w)
