"""What every patch encoder keeps, whichever it is: a new one is tested by being registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor

from src_core.encoders import (
    EncoderCard,
    PatchEncoder,
    create_encoder,
    encoder_card,
    encoder_problem,
    list_encoders,
)
from src_core.encoders.foundation_cards import FOUNDATION_CARDS
from src_core.encoders.import_cards import IMPORT_CARDS
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.errors import WeightsUnavailableError
from src_core.types import Rgb

State: TypeAlias = dict[str, Tensor]
IMPORTED = {card.name for card in IMPORT_CARDS}
NAMES = (*list_encoders("patch"), "timm:test_vit@random", "timm:test_efficientnet@random")
FOUNDATION = tuple(card.name for card in FOUNDATION_CARDS)


@pytest.fixture(scope="module", params=[name for name in NAMES if name not in IMPORTED])
def encoder(
    request: pytest.FixtureRequest,
    shallow: Callable[..., Any],
    published: Callable[[EncoderCard], State],
    save_state: Callable[[State, EncoderCard, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> PatchEncoder:
    """One encoder after the other; a published one is two blocks deep, of random weights."""
    name: str = request.param
    if name in FOUNDATION:
        folder = tmp_path_factory.mktemp("weights")
        with shallow(small=True):
            card = encoder_card(name)
            path = save_state(published(card), card, folder)
            made = create_encoder(name, device="cpu", weights=path)
        path.unlink()
    else:
        problem = encoder_problem(name)
        if problem is not None:
            pytest.skip(problem)
        made = create_encoder(name, device="cpu")
    assert isinstance(made, PatchEncoder)
    if isinstance(made, TorchPatchEncoder):
        made._chunk = 2  # the few patches here would be padded to more
    return made


def test_output_is_what_the_card_says(encoder: PatchEncoder, tissue: Rgb, blank: Rgb) -> None:
    embeddings = encoder.encode(np.concatenate([tissue[:2], blank[:2]]))
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (4, encoder.card.dim)
    assert np.isfinite(embeddings).all()
    assert len(np.unique(embeddings, axis=0)) == 4


def test_a_patch_has_the_same_bytes_in_any_batch(encoder: PatchEncoder, tissue: Rgb) -> None:
    together = encoder.encode(tissue[:3])
    assert np.array_equal(encoder.encode(tissue[1:2]), together[1:2])
    assert np.array_equal(encoder.encode(tissue[2::-1])[::-1], together)


def test_a_gpus_precision_is_near_float32(encoder: PatchEncoder, tissue: Rgb) -> None:
    """By the CPU's autocast, which takes the same layers to half precision as a GPU's."""
    if encoder.card.precision == "float32" or not isinstance(encoder, TorchPatchEncoder):
        pytest.skip("computes in float32 everywhere")
    whole = encoder.encode(tissue[:1])
    with torch.autocast("cpu", dtype=getattr(torch, encoder.card.precision)):
        half = encoder.encode(tissue[:1])
    assert half.dtype == np.float32
    error = np.linalg.norm(half - whole) / np.linalg.norm(whole)
    assert 0 < error < {"float16": 1e-2, "bfloat16": 5e-2}[encoder.card.precision]


def test_no_patches_give_no_rows(encoder: PatchEncoder) -> None:
    rows = encoder.encode(np.empty((0, 256, 256, 3), np.uint8))
    assert rows.shape == (0, encoder.card.dim)
    assert rows.dtype == np.float32


@pytest.mark.parametrize("side", [100, 224])
def test_patches_of_any_side_are_taken(encoder: PatchEncoder, side: int, tissue: Rgb) -> None:
    patches = tissue[:1, :side, :side]  # not contiguous
    patches.flags.writeable = False
    assert encoder.encode(patches).shape == (1, encoder.card.dim)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 256, 256, 3), np.float32),
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((1, 256, 256, 4), np.uint8),
        np.zeros((1, 256, 128, 3), np.uint8),
    ],
    ids=["float", "one patch", "rgba", "oblong"],
)
def test_what_are_no_patches_is_refused(encoder: PatchEncoder, wrong: Rgb) -> None:
    with pytest.raises(ValueError, match=r"not uint8 of \(n, side, side, 3\)"):
        encoder.encode(wrong)


@pytest.mark.parametrize("name", sorted(IMPORTED))
def test_what_is_only_imported_says_so(name: str) -> None:
    with pytest.raises(
        WeightsUnavailableError, match=f"{name} is not run here.*fusecpath imp"
    ) as caught:
        create_encoder(name)
    assert encoder_problem(name) == str(caught.value)
    assert encoder_card(name).source_url in str(caught.value)
