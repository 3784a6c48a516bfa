"""Files of transformers give in timm's networks what transformers computes from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from src_core.encoders import create_encoder, encoder_card, foundation_timm, registry
from src_core.encoders.torch_encoder import TorchPatchEncoder

transformers = pytest.importorskip("transformers")

SHAPE = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def dinov2(**more: Any) -> Any:
    config = transformers.Dinov2Config(**SHAPE, patch_size=14, layerscale_value=0.5, **more)
    return transformers.Dinov2Model(config)


def vit() -> Any:
    config = transformers.ViTConfig(**SHAPE, patch_size=16, image_size=64, intermediate_size=192)
    return transformers.ViTModel(config, add_pooling_layer=False)


MODELS = {
    "phikon": vit,
    "phikon-v2": lambda: dinov2(image_size=56),
    "midnight12k": lambda: dinov2(image_size=56, use_swiglu_ffn=True),
    "midnight12k of other positions": lambda: dinov2(image_size=98, use_swiglu_ffn=True),
}


@pytest.mark.parametrize("which", MODELS)
def test_the_same_embeddings_without_transformers(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = which.split(maxsplit=1)[0]
    torch.manual_seed(0)
    theirs = MODELS[which]().eval()
    for tensor in theirs.parameters():  # biases, norms and scales that matter
        tensor.data += 0.1 * torch.randn_like(tensor)
    theirs.save_pretrained(tmp_path)
    blueprint = foundation_timm.BLUEPRINTS[name]
    small = {**blueprint.options, "depth": 2, "embed_dim": 48, "num_heads": 4}
    small |= {"patch_size": theirs.config.patch_size}
    monkeypatch.setitem(
        foundation_timm.BLUEPRINTS, name, dataclasses.replace(blueprint, options=small)
    )
    side = 64 if name == "phikon" else 56
    card = dataclasses.replace(encoder_card(name), input_px=side)
    entry = dataclasses.replace(registry._entries[name], card=card)
    monkeypatch.setitem(registry._entries, name, entry)

    ours = create_encoder(name, device="cpu", weights=tmp_path / "model.safetensors")
    assert isinstance(ours, TorchPatchEncoder)
    pixels = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        seen = theirs(pixels).last_hidden_state
        expected = seen[:, 0]
        if name == "midnight12k":  # no registers
            expected = torch.cat([expected, seen[:, 1:].mean(dim=1)], dim=1)
        torch.testing.assert_close(ours._module(pixels), expected, rtol=1e-5, atol=1e-5)
