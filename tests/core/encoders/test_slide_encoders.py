"""The mean slide encoder."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from src_core.encoders.base import SlideEncoder
from src_core.encoders.registry import create_encoder
from src_core.errors import GridMismatchError, TooFewPatchesError


def mean_of_texture() -> SlideEncoder:
    return cast(SlideEncoder, create_encoder("mean-texture"))


def embeddings(n: int, dim: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)


def test_mean_of_the_rows_whatever_their_order() -> None:
    encoder = mean_of_texture()
    assert isinstance(encoder, SlideEncoder)
    rows = embeddings(5000, encoder.card.dim)
    coords = np.zeros((5000, 2), np.int64)
    vector = encoder.encode(rows, coords, patch_l0=256)
    assert vector.dtype == np.float32
    assert vector.shape == (encoder.card.dim,)
    np.testing.assert_allclose(vector, rows.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert np.array_equal(encoder.encode(rows[::-1], coords, patch_l0=256), vector)


def test_half_precision_rows_do_not_overflow() -> None:
    encoder = mean_of_texture()
    rows = np.full((3000, encoder.card.dim), 100, np.float16)
    vector = encoder.encode(rows, np.zeros((3000, 2), np.int64), patch_l0=256)  # type: ignore[arg-type]
    assert np.array_equal(vector, np.full(encoder.card.dim, 100, np.float32))


def test_rows_of_another_encoder_or_grid_are_refused() -> None:
    encoder = mean_of_texture()
    dim = encoder.card.dim
    for rows, n in ((embeddings(4, dim + 1), 4), (embeddings(4, dim), 5)):
        with pytest.raises(GridMismatchError, match="texture"):
            encoder.encode(rows, np.zeros((n, 2), np.int64), patch_l0=256)


def test_a_slide_without_patches_has_no_mean() -> None:
    encoder = mean_of_texture()
    with pytest.raises(TooFewPatchesError, match="tissue mask"):
        encoder.encode(embeddings(0, encoder.card.dim), np.zeros((0, 2), np.int64), patch_l0=256)
