"""The same as NumPy's own, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from src_core.colours import brightest, darkest, mean_colour


@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(7,), (1, 1), (5, 9)]))
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_they_are_as_along_an_axis(seed: int, shape: tuple[int, ...], kind: type) -> None:
    rgb: NDArray[Any] = (np.random.default_rng(seed).random((*shape, 3)) * 255).astype(kind)
    np.testing.assert_array_equal(brightest(rgb), rgb.max(axis=-1))
    np.testing.assert_array_equal(darkest(rgb), rgb.min(axis=-1))
    assert brightest(rgb).dtype == rgb.dtype
    if kind is np.float32:
        np.testing.assert_array_equal(mean_colour(rgb), rgb.mean(axis=-1))
        assert mean_colour(rgb).dtype == np.float32
