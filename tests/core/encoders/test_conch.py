"""CONCH v1.5: pooler and norm by hand; positions in the two steps of the reference code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from src_core.encoders import EncoderCard, create_encoder, encoder_card
from src_core.encoders.conch import AttentionalPooler
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.errors import WeightsUnavailableError

State: TypeAlias = dict[str, Tensor]
Tensors: TypeAlias = Callable[[EncoderCard], State]
Save: TypeAlias = Callable[[State, EncoderCard, Path], Path]
CARD = encoder_card("conch_v15")


@pytest.fixture
def cut(shallow: Callable[..., Any]) -> Any:
    with shallow():
        yield


def tower(path: Path) -> Any:
    encoder = create_encoder("conch_v15", device="cpu", weights=path)
    assert isinstance(encoder, TorchPatchEncoder)
    return encoder._module


def test_the_pooler_is_attention_of_eight_heads() -> None:
    torch.manual_seed(0)
    pooler = AttentionalPooler(64, 96, n_heads=8, n_queries=3)
    torch.nn.init.normal_(pooler.query)
    tokens = torch.randn(2, 10, 96)
    with torch.inference_mode():
        keys, values = pooler.to_kv(pooler.ln_k(tokens)).split(64, dim=2)
        queries = pooler.to_q(pooler.ln_q(pooler.query))
        heads = []
        for head in range(8):
            part = slice(8 * head, 8 * head + 8)
            scores = queries[:, part] @ keys[..., part].transpose(1, 2) / 8**0.5
            heads.append(scores.softmax(-1) @ values[..., part])
        expected = torch.cat(heads, dim=2) @ pooler.to_out.weight.T
        torch.testing.assert_close(pooler(tokens), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("cut")
def test_the_embedding_is_the_pooled_and_normalised_query(
    published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    state = published(CARD)
    assert state["attn_pool_contrast.query"].shape == (1, 768)
    assert state["attn_pool_contrast.to_kv.weight"].shape == (1536, 1024)
    assert state["trunk.pos_embed"].shape == (1, 197, 1024)
    module = tower(save_state(state, CARD, tmp_path))
    pixels = torch.randn(1, 3, 448, 448)
    with torch.inference_mode():
        tokens = module.trunk.forward_features(pixels)  # timm's network, as uni's
        assert tokens.shape == (1, 1 + 28**2, 1024)
        pooled = module.attn_pool_contrast(tokens)[:, 0]
        weight, bias = state["ln_contrast.weight"], state["ln_contrast.bias"]
        expected = functional.layer_norm(pooled, (768,), weight, bias, 1e-5)
        torch.testing.assert_close(module(pixels), expected)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("side", [14, 28])
def test_positions_are_stretched_as_in_the_reference_code(
    side: int, published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    state = published(CARD)
    positions = torch.randn(1, 1 + side**2, 1024)
    state["trunk.pos_embed"] = positions
    found = tower(save_state(state, CARD, tmp_path)).trunk.pos_embed
    grid = positions[:, 1:].reshape(1, side, side, 1024).permute(0, 3, 1, 2)
    if side == 28:
        grid = functional.interpolate(grid, size=(14, 14), mode="bilinear")
    grid = functional.interpolate(grid, scale_factor=(28.1 / 14, 28.1 / 14), mode="bicubic")
    expected = torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 784, 1024)], dim=1)
    torch.testing.assert_close(found.data, expected)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("wrong", ["missing", "left over", "not (1, 768)"])
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(
    wrong: str, published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    state = published(CARD)
    if wrong == "missing":
        del state["ln_contrast.bias"]
    elif wrong == "left over":
        state["attn_pool_caption.query"] = torch.zeros(1)
    else:
        state["attn_pool_contrast.query"] = torch.zeros(256, 768)
    sentence = "does not hold the weights of conch_v15"
    with pytest.raises(WeightsUnavailableError, match=sentence) as caught:
        tower(save_state(state, CARD, tmp_path))
    assert wrong in str(caught.value)
    assert "pytorch_model_vision.bin" in str(caught.value)
