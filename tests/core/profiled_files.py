"""Slides with an ICC profile by which colours change so that it is plain to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ImageCms

__all__ = ["profile_bytes", "swapped", "write_profiled"]


def profile_bytes(kind: Any = "sRGB") -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


def swapped() -> bytes:
    """A profile whose red is sRGB's blue: what is converted by it is plain to see."""
    data = bytearray(profile_bytes())
    count = int.from_bytes(data[128:132], "big")
    rows = {bytes(data[at : at + 4]): at + 4 for at in range(132, 132 + 12 * count, 12)}
    red, blue = rows[b"rXYZ"], rows[b"bXYZ"]
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    return bytes(data)


def write_profiled(path: Path) -> Path:
    """Write a tiled TIFF with that profile, red at the left and white at the right."""
    pixels = np.full((512, 768, 3), 240, np.uint8)
    pixels[:, :384] = (200, 30, 60)
    profile = swapped()
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            pixels,
            tile=(256, 256),
            photometric="rgb",
            description="Aperio Image Library v12|AppMag = 20|MPP = 0.5",
            extratags=[(34675, 7, len(profile), profile, True)],
        )
    return path
