"""What every patch encoder keeps, whichever it is: a new one is tested by being registered."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from src_core.encoders import PatchEncoder, create_encoder, encoder_problem, list_encoders
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.types import Rgb

NAMES = (*list_encoders("patch"), "timm:test_vit@random", "timm:test_efficientnet@random")


@cache
def load(name: str) -> PatchEncoder:
    problem = encoder_problem(name)
    if problem is not None:
        pytest.skip(problem)
    encoder = create_encoder(name, device="cpu")
    assert isinstance(encoder, PatchEncoder)
    if isinstance(encoder, TorchPatchEncoder):
        encoder._chunk = 4  # the few patches here would be padded to more
    return encoder


@pytest.mark.parametrize("name", NAMES)
def test_output_is_what_the_card_says(name: str, tissue: Rgb, blank: Rgb) -> None:
    encoder = load(name)
    embeddings = encoder.encode(np.concatenate([tissue, blank]))
    assert encoder.card.name == name
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (7, encoder.card.dim)
    assert np.isfinite(embeddings).all()
    assert len(np.unique(embeddings, axis=0)) == 7


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_has_the_same_bytes_in_any_batch(name: str, tissue: Rgb) -> None:
    encoder = load(name)
    together = encoder.encode(tissue)
    assert np.array_equal(encoder.encode(tissue), together)
    assert np.array_equal(encoder.encode(tissue[1:2]), together[1:2])
    assert np.array_equal(encoder.encode(tissue[::-1])[::-1], together)


@pytest.mark.parametrize("name", NAMES)
def test_no_patches_give_no_rows(name: str) -> None:
    encoder = load(name)
    rows = encoder.encode(np.empty((0, 256, 256, 3), np.uint8))
    assert rows.shape == (0, encoder.card.dim)
    assert rows.dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [100, 224])
def test_patches_of_any_side_are_taken(name: str, side: int, tissue: Rgb) -> None:
    patches = tissue[:1, :side, :side]  # not contiguous
    patches.flags.writeable = False
    assert load(name).encode(patches).shape == (1, load(name).card.dim)


@pytest.mark.parametrize("name", NAMES)
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
def test_what_are_no_patches_is_refused(name: str, wrong: Rgb) -> None:
    with pytest.raises(ValueError, match=r"not uint8 of \(n, side, side, 3\)"):
        load(name).encode(wrong)
