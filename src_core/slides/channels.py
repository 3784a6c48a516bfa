"""What is not RGB of 8 bits, made visible: grey values, deep values, many channels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from src_core.types import Rgb

__all__ = ["MAX_CHANNELS", "display_shift", "mixed", "rgb_of"]

MAX_CHANNELS: Final = 64

_COLOURS: Final = np.array(
    [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 0, 255), (0, 255, 255), (255, 255, 0)], np.uint16
)
"""Of the channels of a fluorescence picture, over and over: the first is mostly a nuclear dye."""


def display_shift(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return by how many bits each channel of (..., c) is shifted to fill 8 bits, 0 for 8 bits.

    Cameras write 10 or 12 bits into 16, which would be all but black.
    """
    if pixels.dtype == np.uint8:
        return np.zeros(pixels.shape[-1], np.uint8)
    brightest = pixels.reshape(-1, pixels.shape[-1]).max(axis=0, initial=0)
    return np.array([max(0, int(one).bit_length() - 8) for one in brightest], np.uint8)


def rgb_of(pixels: NDArray[Any], shift: NDArray[np.uint8] | None = None) -> Rgb:
    """Turn (h, w, 1 or 3 or 4) of 8 or 16 bits into (h, w, 3) of 8; deep ones by `shift`, or 8."""
    if pixels.dtype == np.uint16:
        pixels = _shifted(pixels, np.array([8], np.uint8) if shift is None else shift)
    rgb: Rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
    return rgb


def mixed(pixels: NDArray[Any], shift: NDArray[np.uint8]) -> Rgb:
    """Add up the channels of (h, w, c), each in a colour of its own, as (h, w, 3)."""
    deep = _shifted(pixels, shift).astype(np.uint16)
    total = np.zeros((*pixels.shape[:2], 3), np.uint32)
    for channel in range(pixels.shape[2]):
        total += deep[..., channel, None] * _COLOURS[channel % len(_COLOURS)] // 255
    return np.minimum(total, 255).astype(np.uint8)


def _shifted(pixels: NDArray[Any], shift: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shifted: NDArray[np.uint8] = np.minimum(pixels >> shift.astype(pixels.dtype), 255).astype(
        np.uint8
    )
    return shifted
