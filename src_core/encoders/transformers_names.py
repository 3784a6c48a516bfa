"""ViT and DINOv2 weights in the names of Hugging Face's transformers, renamed to timm's.

So models that are published for transformers run without it. The names are those of published
files (transformers 4); release 5 writes the same. Its SwiGLU packs gate and value in one matrix,
in timm's order, and its attention keeps query, key and value apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["to_timm_names"]

_OUTER = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_UNUSED = {"embeddings.mask_token", "pooler.dense.weight", "pooler.dense.bias"}
"""Parts of training, which embeddings do not pass through."""
_INNER = {
    "norm1": "norm1",
    "norm2": "norm2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
}
_LEAVES = {"weight": "weight", "bias": "bias", "lambda1": "gamma"}
_BLOCK = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias|lambda1)")
_PARTS = ("query", "key", "value")


def to_timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by timm's names; a name that is not known keeps itself.

    What is left under its old name, or missing, is found by who loads the result strictly.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _UNUSED:
            continue
        match = _BLOCK.fullmatch(name)
        if match is None:
            renamed[_OUTER.get(name, name)] = tensor
            continue
        block, part, leaf = match.groups()
        attention = part.removeprefix("attention.attention.")
        if attention in _PARTS:
            joined = _joined(state, f"encoder.layer.{block}.attention.attention", leaf)
            renamed[f"blocks.{block}.attn.qkv.{leaf}" if joined is not None else name] = (
                tensor if joined is None else joined
            )
            continue
        renamed[f"blocks.{block}.{_INNER[part]}.{_LEAVES[leaf]}" if part in _INNER else name] = (
            tensor
        )
    return renamed


def _joined(state: Mapping[str, Tensor], where: str, leaf: str) -> Tensor | None:
    """Return query, key and value of a block in one tensor, or None if they do not fit."""
    parts = [state.get(f"{where}.{part}.{leaf}") for part in _PARTS]
    there = [part for part in parts if part is not None]
    if len(there) < len(_PARTS) or len({part.shape for part in there}) > 1:
        return None
    return torch.cat(there)
