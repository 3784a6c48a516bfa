"""What every slide encoder keeps, whichever it is: a new one is tested by being registered.

GigaPath's network is the real one with random weights. TITAN and PRISM bring their code with
their weights: in their place stand models that take what those are documented to take, and refuse
what those silently spoil.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src_core.encoders import SlideEncoder, create_encoder, encoder_card, list_encoders
from src_core.encoders.gigapath_slide import GigaPathSlideEncoder
from src_core.encoders.longnet import LongNetSlide
from src_core.encoders.remote_slides import PrismSlideEncoder, TitanSlideEncoder
from src_core.encoders.slide_cards import SLIDE_CARDS, most_patches, predicted_bytes
from src_core.errors import (
    EncoderScaleError,
    GridMismatchError,
    TooFewPatchesError,
    WeightsUnavailableError,
)

IMPORTED = [card.name for card, loader in SLIDE_CARDS.items() if loader is None]
COMPUTED = [card.name for card, loader in SLIDE_CARDS.items() if loader is not None]
NAMES = (*COMPUTED, "mean-texture")
DIMS = {"gigapath-slide": 1536, "titan": 768, "prism": 2560, "mean-texture": 91}
CPU = torch.device("cpu")


class TitanLike(nn.Module):
    """Scatters the patches on a grid of ``patch_size_lv0`` as TITAN does, then mixes them."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(768, 768)

    def encode_slide_from_patch_features(self, features: Tensor, coords: Tensor, side: int) -> Any:
        assert features.dtype == torch.float32, "index_add_ into float32 fails on anything else"
        assert coords.dtype == torch.int64
        assert type(side) is int, "a float would make the grid indices floats"
        grid = (coords[0] - coords[0].min(dim=0).values) // side  # (n, 2)
        width = int(grid[:, 0].max()) + 1
        flat = grid[:, 1] * width + grid[:, 0]
        assert len(flat.unique()) == len(flat), "patches in one cell are summed"
        canvas = torch.zeros(int(grid[:, 1].max() + 1) * width, 768)
        canvas.index_add_(0, flat, features[0])
        places = torch.arange(len(canvas)) / len(canvas)
        return (self.mix(canvas).tanh() * (1 + places[:, None])).sum(dim=0, keepdim=True)


class PrismLike(nn.Module):
    """Attends from one latent to all patches."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(2560, 1), nn.Linear(2560, 1280)
        self.text_decoder = nn.Linear(2, 2)

    def slide_representations(self, features: Tensor) -> dict[str, Tensor]:
        assert features.dtype == torch.float32
        weights = self.score(features).softmax(dim=1)
        return {"image_embedding": (weights * self.value(features)).sum(dim=1)}


@cache
def load(name: str) -> SlideEncoder:
    card = encoder_card(name)
    torch.manual_seed(0)
    if name == "gigapath-slide":
        # Short segments, so that the few patches here fill several.
        model = LongNetSlide(depth=2, segments=(8, 16, 24, 32, 64))
        return GigaPathSlideEncoder(card, model, device=CPU)
    if name == "titan":
        return TitanSlideEncoder(card, TitanLike(), device=CPU)
    if name == "prism":
        return PrismSlideEncoder(card, PrismLike(), device=CPU)
    encoder = create_encoder(name, device="cpu")
    assert isinstance(encoder, SlideEncoder)
    return encoder


def patches(name: str, n: int = 60, side: float = 513.37) -> tuple[np.ndarray, np.ndarray]:
    """Some cells of a lattice whose side is no whole number, their corners rounded."""
    rng = np.random.default_rng(1)
    places = rng.choice(40 * 30, n, replace=False)
    cells = np.stack([places % 40, places // 40], axis=1)
    corners = np.rint((1234, 77) + cells * side).astype(np.int64)
    return rng.normal(size=(n, DIMS[name])).astype(np.float32), corners


def test_every_encoder_that_is_computed_here_is_tested() -> None:
    assert set(DIMS) >= set(COMPUTED)
    assert set(list_encoders("slide")) >= {*COMPUTED, *IMPORTED}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 60])
def test_output_is_what_the_card_says(name: str, n: int) -> None:
    encoder = load(name)
    vector = encoder.encode(*patches(name, n), patch_l0=513.37)
    assert encoder.card.name == name
    assert vector.dtype == np.float32
    assert vector.shape == (encoder.card.dim,)
    assert np.isfinite(vector).all()
    other = encoder.encode(2 * patches(name, n)[0], patches(name, n)[1], patch_l0=513.37)
    assert not np.allclose(vector, other), "the embedding depends on the patches"


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_patches_does_not_matter(name: str) -> None:
    rows, corners = patches(name)
    order = np.random.default_rng(2).permutation(len(rows))
    vector = load(name).encode(rows, corners, patch_l0=513.37)
    again = load(name).encode(rows[order], corners[order], patch_l0=513.37)
    np.testing.assert_allclose(again, vector, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gigapath-slide", "titan"])
def test_the_place_of_a_patch_matters(name: str) -> None:
    rows, corners = patches(name)
    vector = load(name).encode(rows, corners, patch_l0=513.37)
    assert not np.allclose(load(name).encode(rows, corners[::-1], patch_l0=513.37), vector)


@pytest.mark.parametrize("name", NAMES)
def test_no_patches_and_rows_of_another_grid_or_encoder_are_refused(name: str) -> None:
    encoder, (rows, corners) = load(name), patches(name)
    with pytest.raises(TooFewPatchesError, match="tissue mask"):
        encoder.encode(rows[:0], corners[:0], patch_l0=513.37)
    for wrong in ((rows[:-1], corners), (rows[:, 1:], corners), (rows, corners.astype(np.float16))):
        with pytest.raises(GridMismatchError, match="embed the slide with it"):
            encoder.encode(*wrong, patch_l0=513.37)
    rows[3, 5] = np.nan
    with pytest.raises(GridMismatchError, match="not finite"):
        encoder.encode(rows, corners, patch_l0=513.37)


@pytest.mark.parametrize("name", COMPUTED)
def test_coordinates_of_another_lattice_are_refused(name: str) -> None:
    rows, corners = patches(name)
    for side in (400.0, 513.37 * 1.01, 2 * 513.37, 0.0):  # uneven, drifting, two a cell, nonsense
        with pytest.raises(EncoderScaleError, match=name):
            load(name).encode(rows, corners, patch_l0=side)
    with pytest.raises(EncoderScaleError, match="overlap"):
        load(name).encode(rows[:2], corners[[0, 0]], patch_l0=513.37)


def test_a_slide_beyond_gigapaths_places_is_refused() -> None:
    rows, _ = patches("gigapath-slide", 2)
    far = np.array([[0, 0], [0, 1000 * 256]])
    with pytest.raises(EncoderScaleError, match="1000 x 1000"):
        load("gigapath-slide").encode(rows, far, patch_l0=256)
    near = np.array([[0, 0], [999 * 256, 999 * 256]])
    assert np.isfinite(load("gigapath-slide").encode(rows, near, patch_l0=256)).all()


@pytest.mark.parametrize("name", IMPORTED)
def test_what_is_only_imported_is_not_made_here(name: str) -> None:
    with pytest.raises(WeightsUnavailableError, match="import") as caught:
        create_encoder(name)
    assert encoder_card(name).source_url in str(caught.value)


def test_titans_memory_is_predicted_from_its_pairs() -> None:
    titan = encoder_card("titan")
    assert predicted_bytes(titan, 10_000) == pytest.approx(7.2e9 + 0.6e9, rel=0.01)
    assert predicted_bytes(titan, 20_000) > 3.5 * predicted_bytes(titan, 10_000)
    assert predicted_bytes(encoder_card("prism"), 100_000) < 10e9


@pytest.mark.parametrize(("name", "gigabytes"), [("titan", 1.86), ("prism", 4.75)])
def test_the_weights_of_both_networks_are_known_from_their_cards(
    name: str, gigabytes: float
) -> None:
    card = encoder_card(name)
    weights = card.weights_bytes + encoder_card(str(card.patch_encoder)).weights_bytes
    assert weights == pytest.approx(gigabytes * 1e9, rel=0.01)
    assert encoder_card("texture").weights_bytes == 0


@pytest.mark.parametrize("name", ["titan", "prism", "gigapath-slide", "mean-texture"])
@pytest.mark.parametrize("free", [-(10**9), 0, 10**9, 10**11])
def test_for_the_most_patches_there_is_memory_and_for_no_more(name: str, free: int) -> None:
    card = encoder_card(name)
    most = most_patches(card, free)
    assert most >= 0
    assert predicted_bytes(card, most + 1) > free
    assert most == 0 or predicted_bytes(card, most) <= free
