"""Slide files whose pixels are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

__all__ = ["write_pyramid"]


def write_pyramid(path: Path, pixels: NDArray[np.uint8], *, mpp: float) -> None:
    """Write a tiled TIFF of three levels that OpenSlide opens, with its scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = [pixels]
    for _ in range(2):
        image = Image.fromarray(levels[-1])
        levels.append(np.asarray(image.reduce(4)))
    with tifffile.TiffWriter(path) as writer:
        for number, level in enumerate(levels):
            scale = 1e4 / (mpp * 4**number)
            writer.write(
                level,
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 92},
                subfiletype=1 if number else 0,
                resolution=(scale, scale),
                resolutionunit="CENTIMETER",
            )
