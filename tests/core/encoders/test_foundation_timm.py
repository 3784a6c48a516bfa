"""The published encoders: the right network, filled strictly, pooled rightly.

Real weights are not to be had in a test. So the networks are cut to two blocks and their layers
made narrow, filled through the real loader from files of random tensors, and compared with a
forward pass that is written out by hand. The uncut networks are counted.
"""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from src_core.encoders import EncoderCard, conch, create_encoder, encoder_card, foundation_timm
from src_core.encoders.foundation_cards import FOUNDATION_CARDS
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.encoders.transformers_names import to_timm_names
from src_core.errors import WeightsUnavailableError

State: TypeAlias = dict[str, Tensor]
Tensors: TypeAlias = Callable[[EncoderCard], State]
Save: TypeAlias = Callable[[State, EncoderCard, Path], Path]
NAMES = tuple(card.name for card in FOUNDATION_CARDS)
TIMM = tuple(foundation_timm.BLUEPRINTS)
REGISTERS = {"uni2-h": 8, "virchow2": 4, "h-optimus-0": 4, "h-optimus-1": 4, "h0-mini": 4}
REGISTERS |= {"kaiko-vitl14": 4}
WITH_MEAN = {"virchow", "virchow2", "h0-mini", "midnight12k"}
GATED_MLP = {"uni2-h", "virchow", "virchow2", "gigapath", "h-optimus-0", "h-optimus-1", "h0-mini"}
GATED_MLP |= {"midnight12k"}
HEADS = {"uni2-h": 24, "gigapath": 24, "h-optimus-0": 24, "h-optimus-1": 24, "midnight12k": 24}
HEADS |= {"virchow": 16, "virchow2": 16, "uni": 16, "gpfm": 16, "kaiko-vitl14": 16, "phikon-v2": 16}
HEADS |= {"lunit-vits8": 6, "kaiko-vits8": 6, "kaiko-vits16": 6}
PUBLISHED_PX = {"kaiko-vitl14": 518, "conch_v15": 224}


@pytest.fixture
def narrow(shallow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two narrow blocks in every network, and no network to ask anything of."""

    def refuse(*args: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with shallow(narrow=True):
        yield


def load(name: str, path: Path) -> TorchPatchEncoder:
    encoder = create_encoder(name, device="cpu", weights=path)
    assert isinstance(encoder, TorchPatchEncoder)
    return encoder


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def layer_norm(x: Tensor, state: State, name: str, eps: float) -> Tensor:
    weight = state[f"{name}.weight"]
    return functional.layer_norm(x, weight.shape, weight, state[f"{name}.bias"], eps)


def block(x: Tensor, state: State, where: str, *, heads: int, gated: bool, eps: float) -> Tensor:
    """One pre-norm block with its layer scales, attention written out."""
    n, t, width = x.shape
    qkv = linear(layer_norm(x, state, f"{where}.norm1", eps), state, f"{where}.attn.qkv")
    q, k, v = qkv.reshape(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
    attended = linear(
        (weights @ v).transpose(1, 2).reshape(n, t, width), state, f"{where}.attn.proj"
    )
    x = x + attended * state.get(f"{where}.ls1.gamma", torch.ones(1))
    hidden = linear(layer_norm(x, state, f"{where}.norm2", eps), state, f"{where}.mlp.fc1")
    if gated:
        gate, value = hidden.chunk(2, dim=-1)
        hidden = gate * torch.sigmoid(gate) * value
    else:
        hidden = functional.gelu(hidden)
    return x + linear(hidden, state, f"{where}.mlp.fc2") * state.get(
        f"{where}.ls2.gamma", torch.ones(1)
    )


def tokens(pixels: Tensor, state: State, *, heads: int, gated: bool, eps: float = 1e-6) -> Tensor:
    """All tokens of a vision transformer by its state dict, in timm's names."""
    patch = state["patch_embed.proj.weight"].shape[-1]
    x = functional.conv2d(
        pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch
    )
    x = x.flatten(2).transpose(1, 2)
    prefix = [state[key] for key in ("cls_token", "reg_token") if key in state]
    positions = state["pos_embed"]
    if positions.shape[1] == x.shape[1]:
        x = torch.cat([*(one.expand(len(x), -1, -1) for one in prefix), x + positions], dim=1)
    else:
        x = torch.cat([*(one.expand(len(x), -1, -1) for one in prefix), x], dim=1) + positions
    for number in range(2):
        x = block(x, state, f"blocks.{number}", heads=heads, gated=gated, eps=eps)
    return layer_norm(x, state, "norm", eps)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_network_has_the_published_number_of_parameters(name: str) -> None:
    card = encoder_card(name)
    built = dataclasses.replace(
        card, input_px=PUBLISHED_PX.get(name, card.input_px), resize_px=None
    )
    blueprint = foundation_timm.BLUEPRINTS.get(name, conch.TRUNK)
    network = foundation_timm.build_vit(built, blueprint)
    if name == "conch_v15":
        with torch.device("meta"):
            network = conch.ConchTower(network, dim=768)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    millions = sum(tensor.numel() for tensor in network.parameters()) / 1e6
    assert card.parameters_m is not None
    assert millions == pytest.approx(card.parameters_m, rel=1e-3)
    if name in foundation_timm.BLUEPRINTS:
        assert network.num_prefix_tokens == 1 + REGISTERS.get(name, 0)
        width = network.num_features
        assert isinstance(width, int)
        assert card.dim == width * (2 if name in WITH_MEAN else 1)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", TIMM)
def test_embeddings_are_those_of_the_forward_pass_by_hand(
    name: str, published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    card = encoder_card(name)
    state = published(card)
    module = load(name, save_state(state, card, tmp_path))._module
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    if foundation_timm.BLUEPRINTS[name].names == "transformers":
        state = to_timm_names(state)
    if name == "kaiko-vitl14":  # made for 518 px: 37 patches a side, here 16
        grid = state["pos_embed"].transpose(1, 2).unflatten(2, (37, 37))
        grid = functional.interpolate(grid, size=(16, 16), mode="bicubic", antialias=True)
        state = {**state, "pos_embed": grid.flatten(2).transpose(1, 2)}
    eps = 1e-12 if name == "phikon" else 1e-6
    with torch.inference_mode():
        gated = name in GATED_MLP
        seen = tokens(pixels, state, heads=HEADS.get(name, 12), gated=gated, eps=eps)
        expected = seen[:, 0]
        if name in WITH_MEAN:
            patches = seen[:, 1 + REGISTERS.get(name, 0) :]
            assert patches.shape[1] in (14**2, 16**2)
            expected = torch.cat([expected, patches.mean(dim=1)], dim=1)
        torch.testing.assert_close(module(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("wrong", ["missing", "left over", "not (", "whole numbers"])
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(
    name: str, wrong: str, published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    card = encoder_card(name)
    state = published(card)
    key = next(key for key in state if key.endswith("norm.weight"))
    if wrong == "missing":
        last = re.compile(r".*\.1\.(mlp\.fc2|output\.dense|mlp\.weights_out)\.bias")
        del state[next(key for key in state if last.fullmatch(key))]
    elif wrong == "left over":
        state["head.weight"] = torch.zeros(2, 2)
    elif wrong == "not (":
        state[key] = state[key][:-1].clone()
    else:
        state[key] = state[key].to(torch.int64)
    sentence = f"does not hold the weights of {name}: "
    with pytest.raises(WeightsUnavailableError, match=sentence) as caught:
        load(name, save_state(state, card, tmp_path))
    message = str(caught.value)
    assert wrong in message
    assert card.filename in message
    assert card.source_url in message
    assert "\n" not in message


def _without_key(state: dict[str, Tensor]) -> None:
    del state["encoder.layer.1.attention.attention.key.weight"]


def _one_position_short(state: dict[str, Tensor]) -> None:
    state["pos_embed"] = state["pos_embed"][:, :-1].clone()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("phikon-v2", _without_key, r"blocks\.1\.attn\.qkv\.weight is missing"),
        ("uni", _one_position_short, "195 position embeddings make no square"),
    ],
)
def test_weights_that_do_not_fill_the_network_are_refused(
    published: Tensors,
    save_state: Save,
    tmp_path: Path,
    name: str,
    damage: Callable[[dict[str, Tensor]], None],
    reason: str,
) -> None:
    card = encoder_card(name)
    state = published(card)
    damage(state)
    with pytest.raises(WeightsUnavailableError, match=reason):
        load(card.name, save_state(state, card, tmp_path))


@pytest.mark.usefixtures("narrow")
def test_halves_are_read_and_the_card_names_the_file(
    published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    card = encoder_card("kaiko-vits16")
    state = {key: tensor.half() for key, tensor in published(card).items()}
    encoder = load(card.name, save_state(state, card, tmp_path))
    assert {tensor.dtype for tensor in encoder._module.parameters()} == {torch.float32}
    assert encoder.card.weights.startswith("sha256:")
    assert card.weights == f"hub:{card.repository}"


def test_gigapath_crops_what_is_left_of_256(
    shallow: Callable[..., Any], published: Tensors, save_state: Save, tmp_path: Path
) -> None:
    with shallow():
        card = encoder_card("gigapath")
        assert (card.resize_px, card.input_px, card.interpolation) == (256, 224, "bicubic")
        encoder = load(card.name, save_state(published(card), card, tmp_path))
    encoder._chunk = 1
    patch = np.random.default_rng(0).integers(0, 255, (1, 256, 256, 3), np.uint8)
    inner = patch.copy()
    inner[:, :16] = inner[:, -16:] = 0
    inner[:, :, :16] = inner[:, :, -16:] = 0
    assert np.array_equal(encoder.encode(patch), encoder.encode(inner))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_the_cards_precision_on_a_gpu_is_near_the_cpus_float32(
    name: str,
    shallow: Callable[..., Any],
    published: Tensors,
    save_state: Save,
    tmp_path: Path,
    tissue: Any,
) -> None:
    with shallow():
        card = encoder_card(name)
        path = save_state(published(card), card, tmp_path)
        rows = {}
        for device in ("cpu", "cuda"):
            encoder = create_encoder(name, device=device, weights=path)  # type: ignore[arg-type]
            assert isinstance(encoder, TorchPatchEncoder)
            encoder._chunk = 2
            rows[device] = encoder.encode(tissue[:2])
    assert rows["cuda"].dtype == np.float32
    assert np.isfinite(rows["cuda"]).all()
    tolerance = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}[card.precision]
    error = np.linalg.norm(rows["cuda"] - rows["cpu"]) / np.linalg.norm(rows["cpu"])
    assert error < tolerance
