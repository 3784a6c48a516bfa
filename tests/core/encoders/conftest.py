"""Pictures that come with scikit-image, so that no test of an encoder needs a download."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torch import Tensor

from src_core.encoders import EncoderCard, conch, encoder_card, foundation_timm, registry
from src_core.types import Rgb
from tests.core.encoders.simulated_hub import empty_cache, running_hub

State: TypeAlias = dict[str, Tensor]
PUBLISHED_PX = {"kaiko-vitl14": 518, "conch_v15": 224}
"""For pictures of which side the position embeddings of a file are, if not the card's."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with nothing in it."""
    return empty_cache(tmp_path, monkeypatch)


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a hub of our own."""
    with running_hub(monkeypatch) as address:
        yield address


@pytest.fixture(scope="session")
def tissue() -> Rgb:
    """Four patches of 256 px of real stained tissue (colon, haematoxylin and DAB)."""
    picture = data.immunohistochemistry()  # (512, 512, 3)
    corners = [(y, x) for y in (0, 256) for x in (0, 256)]
    return np.stack([picture[y : y + 256, x : x + 256] for y, x in corners])


@pytest.fixture(scope="session")
def blank() -> Rgb:
    """White, black and grey patches without any structure."""
    return np.stack([np.full((256, 256, 3), level, np.uint8) for level in (255, 0, 128)])


@pytest.fixture(scope="session")
def shallow() -> Callable[..., Any]:
    """Cut every published network to two blocks, if asked with narrow layers.

    Small ones have one block and few tokens: the widest layers are the most that a test computes.
    """

    @contextmanager
    def cut(*, small: bool = False, narrow: bool = False) -> Iterator[None]:
        def shorter(blueprint: foundation_timm.Blueprint) -> foundation_timm.Blueprint:
            changes = {"depth": 1 if small else 2, **({"embed_dim": 48} if narrow else {})}
            return dataclasses.replace(blueprint, options={**blueprint.options, **changes})

        with pytest.MonkeyPatch.context() as patch:
            for name, blueprint in foundation_timm.BLUEPRINTS.items():
                patch.setitem(foundation_timm.BLUEPRINTS, name, shorter(blueprint))
            patch.setattr(conch, "TRUNK", shorter(conch.TRUNK))
            blueprints = {**foundation_timm.BLUEPRINTS, "conch_v15": conch.TRUNK} if small else {}
            for name, blueprint in blueprints.items():
                card = encoder_card(name)
                side = 4 * patch_side(blueprint)
                resize_px = None if card.resize_px is None else side + 8
                card = dataclasses.replace(card, input_px=side, resize_px=resize_px)
                entry = dataclasses.replace(registry._entries[name], card=card)
                patch.setitem(registry._entries, name, entry)
            yield

    return cut


@pytest.fixture(scope="session")
def published() -> Callable[[EncoderCard], State]:
    """Random tensors under the names and in the shapes of a published file."""

    def tensors(card: EncoderCard) -> State:
        whole = encoder_card(card.name)  # within `shallow` its pictures may be small
        side = PUBLISHED_PX.get(card.name, 224)
        whole = dataclasses.replace(whole, input_px=side, resize_px=None)
        if card.name == "conch_v15":
            with torch.device("meta"):
                network = conch.ConchTower(foundation_timm.build_vit(whole, conch.TRUNK), dim=768)
            return {name: noise(name, like.shape) for name, like in network.state_dict().items()}
        blueprint = foundation_timm.BLUEPRINTS[card.name]
        vit = foundation_timm.build_vit(whole, blueprint)
        state = {name: noise(name, like.shape) for name, like in vit.state_dict().items()}
        return transformers_names(state) if blueprint.names == "transformers" else state

    return tensors


@pytest.fixture(scope="session")
def save_state() -> Callable[[State, EncoderCard, Path], Path]:
    """Write tensors as the card's file is written."""

    def save(state: State, card: EncoderCard, folder: Path) -> Path:
        path = folder / card.filename
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
        return path

    return save


def patch_side(blueprint: foundation_timm.Blueprint) -> int:
    """Return how many pixels wide a token's patch is."""
    named = re.search(r"patch(\d+)", blueprint.arch)
    return int(blueprint.options.get("patch_size") or (named[1] if named else 0))


_NOISE = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))


def noise(name: str, shape: torch.Size) -> Tensor:
    """Numbers that let every layer matter; repeated, for drawing them takes the longest."""
    n = shape.numel()
    drawn = _NOISE.repeat(-(-n // len(_NOISE)))[:n].reshape(shape)
    scale = re.search(r"(norm\d?|gamma|ln_\w+)(\.weight)?$", name)
    return 1 + 0.2 * drawn if scale else 0.05 * drawn


def transformers_names(state: State) -> State:
    """Return a timm ViT's tensors as a transformers file has them."""
    dino = any(name.endswith("ls1.gamma") for name in state)
    packed = (
        dino
        and state["blocks.0.mlp.fc1.weight"].shape[0] != (state["blocks.0.mlp.fc2.weight"].shape[1])
    )
    first, second = ("mlp.weights_in", "mlp.weights_out") if packed else ("mlp.fc1", "mlp.fc2")
    parts = {
        "attn.proj": "attention.output.dense",
        "mlp.fc1": first if dino else "intermediate.dense",
        "mlp.fc2": second if dino else "output.dense",
        "norm1": "norm1" if dino else "layernorm_before",
        "norm2": "norm2" if dino else "layernorm_after",
        "ls1": "layer_scale1",
        "ls2": "layer_scale2",
    }
    outer = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    renamed = {outer[name]: tensor for name, tensor in state.items() if name in outer}
    if dino:
        renamed["embeddings.mask_token"] = torch.zeros(1, state["norm.bias"].shape[0])
    for name, tensor in state.items():
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias|gamma)", name)
        if match is None:
            continue
        block, part, leaf = match.groups()
        where = f"encoder.layer.{block}."
        if part == "attn.qkv":
            for which, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                renamed[f"{where}attention.attention.{which}.{leaf}"] = third.clone()
        else:
            renamed[f"{where}{parts[part]}.{'lambda1' if leaf == 'gamma' else leaf}"] = tensor
    return renamed
