"""Pathology encoders that timm can build: by architecture and arguments, never over the network.

``timm.create_model("hf-hub:...")`` would ask the hub for settings even without weights. Here the
settings are written down, and the weights' file decides by its names and shapes whether they are
right. What it cannot tell is written down with care: gated networks (SwiGLU) load as well with
another activation and are then silently wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from src_core.devices import DeviceName, pick_device
from src_core.encoders.cards import EncoderCard
from src_core.encoders.strict_load import fill, grid_side
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.encoders.transformers_names import to_timm_names
from src_core.encoders.weights import card_with_weights, given_file, hub_file, read_state_dict

__all__ = ["BLUEPRINTS", "Blueprint", "PooledVit", "build_vit", "load_foundation", "weights_file"]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How timm builds an encoder."""

    arch: str
    """timm's architecture, without a tag of weights."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments, beside those that all have."""
    pooling: Literal["class", "class+mean"] = "class"
    """Which tokens are the embedding."""
    names: Literal["timm", "transformers"] = "timm"
    """In whose names the weights are published."""


_SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
_HUGE = {"init_values": 1e-5, "mlp_ratio": 5.3375, **_SWIGLU}
_LARGE = Blueprint("vit_large_patch16_224", {"init_values": 1e-5})
_H_OPTIMUS = Blueprint("vit_giant_patch14_reg4_dinov2", {"init_values": 1e-5})

BLUEPRINTS: dict[str, Blueprint] = {
    "uni": _LARGE,
    "uni2-h": Blueprint(
        "vit_giant_patch14_224",
        {
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "init_values": 1e-5,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
            **_SWIGLU,
        },
    ),
    "virchow": Blueprint("vit_huge_patch14_224", _HUGE, "class+mean"),
    "virchow2": Blueprint("vit_huge_patch14_224", {**_HUGE, "reg_tokens": 4}, "class+mean"),
    "gigapath": Blueprint("vit_giant_patch14_dinov2", {"patch_size": 16, "mlp_ratio": 5.33334}),
    "h-optimus-0": _H_OPTIMUS,
    "h-optimus-1": _H_OPTIMUS,
    "h0-mini": Blueprint(
        "vit_base_patch14_reg4_dinov2", {"mlp_ratio": 5.33334, **_SWIGLU}, "class+mean"
    ),
    "gpfm": Blueprint("vit_large_patch14_dinov2", {"init_values": 1e-5}),
    "lunit-vits8": Blueprint("vit_small_patch8_224"),
    "kaiko-vits8": Blueprint("vit_small_patch8_224"),
    "kaiko-vits16": Blueprint("vit_small_patch16_224"),
    "kaiko-vitb8": Blueprint("vit_base_patch8_224"),
    "kaiko-vitb16": Blueprint("vit_base_patch16_224"),
    "kaiko-vitl14": Blueprint("vit_large_patch14_reg4_dinov2"),
    "phikon": Blueprint(
        "vit_base_patch16_224",
        {"norm_layer": partial(nn.LayerNorm, eps=1e-12)},
        names="transformers",
    ),
    "phikon-v2": Blueprint(_LARGE.arch, _LARGE.options, names="transformers"),
    "midnight12k": Blueprint("vit_giant_patch14_dinov2", {}, "class+mean", "transformers"),
}
"""By the encoder's name."""


class PooledVit(nn.Module):
    """A vision transformer whose output is its class token, alone or beside the mean patch."""

    def __init__(self, vit: nn.Module, *, pooling: Literal["class", "class+mean"]) -> None:
        super().__init__()
        self.vit = vit
        self.pooling = pooling

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings (n, dim) of pixels (n, 3, side, side)."""
        vit = cast(Any, self.vit)
        tokens: Tensor = vit.forward_features(pixels)  # (n, prefix + patches, width)
        if self.pooling == "class":
            return tokens[:, 0]  # (n, width)
        patches = tokens[:, vit.num_prefix_tokens :]  # (n, patches, width), no registers
        return torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)  # (n, 2 width)


def load_foundation(
    card: EncoderCard, device: DeviceName, weights: Path | None
) -> TorchPatchEncoder:
    """Make an encoder of :data:`BLUEPRINTS` from a file, the Hugging Face cache or the hub."""
    target = pick_device(device)
    path = weights_file(card, weights)
    blueprint = BLUEPRINTS[card.name]
    vit = build_vit(card, blueprint)
    state = read_state_dict(card, path)
    if blueprint.names == "transformers":
        state = to_timm_names(state)
    fill(card, vit, _fit_positions(card, blueprint, vit, state, path), path)
    card = card_with_weights(card, path, given=weights is not None)
    return TorchPatchEncoder(card, PooledVit(vit, pooling=blueprint.pooling), device=target)


def weights_file(card: EncoderCard, weights: Path | None) -> Path:
    """Return the given file, or the card's in the Hugging Face cache or from the hub."""
    if weights is not None:
        return given_file(card, weights)
    return hub_file(card, str(card.repository))


def build_vit(card: EncoderCard, blueprint: Blueprint) -> nn.Module:
    """Return the network on the meta device, where it takes neither time nor memory."""
    with torch.device("meta"):
        vit: nn.Module = timm.create_model(
            blueprint.arch,
            pretrained=False,
            num_classes=0,
            global_pool="",
            img_size=card.input_px,
            weight_init="skip",
            **blueprint.options,
        )
    return vit


def _fit_positions(
    card: EncoderCard,
    blueprint: Blueprint,
    vit: nn.Module,
    state: dict[str, Tensor],
    path: Path,
) -> dict[str, Tensor]:
    """Resample the position embeddings if the file's are for pictures of another size.

    As the library does, for which the file was made: timm with antialiasing, transformers without.
    """
    positions = state.get("pos_embed")  # (1, prefix + cells, width)
    wanted = cast(Tensor, vit.pos_embed)
    if positions is None or positions.ndim != 3 or positions.shape[1] == wanted.shape[1]:
        return state
    timm_vit = cast(Any, vit)
    n_prefix = 0 if timm_vit.no_embed_class else int(timm_vit.num_prefix_tokens)
    side = grid_side(card, positions.shape[1] - n_prefix, path)
    resampled = resample_abs_pos_embed(
        positions,
        new_size=list(timm_vit.patch_embed.grid_size),
        old_size=[side, side],
        num_prefix_tokens=n_prefix,
        antialias=blueprint.names == "timm",
    )
    return {**state, "pos_embed": resampled}
