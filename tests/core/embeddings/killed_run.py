"""A run of embedding in a process of its own, to be killed: ``python killed_run.py STORE``.

It embeds a synthetic slide slowly by two encoders; with ``fast`` as second argument at once.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from src_core.embeddings import EmbeddingStore, embed_patches, writer
from src_core.patches import GridConfig, PatchGrid, build_lattice
from src_core.slides.base import SlideProperties, Stain
from src_core.types import Float32, Int64, Rgb


@dataclass
class ToyEncoder:
    """Each patch's mean colour and a corner pixel, in `dim` numbers; logs how many it embeds."""

    name: str
    dim: int = 8
    seconds: float = 0.0
    log: Path | None = None
    calls: int = 0
    embedded: int = 0
    batch_size: int = 1

    @property
    def card(self) -> Any:
        recipe = {"encoder": self.name, "dim": self.dim}
        return SimpleNamespace(name=self.name, dim=self.dim, recipe=lambda: dict(recipe))

    def encode(self, patches: Rgb) -> Float32:
        time.sleep(self.seconds * len(patches))
        self.calls += 1
        self.embedded += len(patches)
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.writelines(f"{key}\n" for key in keys_of(patches))
        flat = patches[:, :3, :3].reshape(len(patches), -1).astype(np.float32)
        embeddings: Float32 = flat[:, : self.dim] / np.float32(7) + np.float32(len(self.name))
        return embeddings


def keys_of(patches: Rgb) -> Int64:
    """Return the cell number that each synthetic patch has in its pixels."""
    pixel = patches[:, 8, 8].astype(np.int64)
    return pixel[:, 0] * 256 + pixel[:, 1]


class NumberedSlide:
    """Every 16 x 16 square of level 0 is filled with its own number."""

    columns, rows = 130, 70
    properties = SlideProperties(
        path=Path("numbered.svs"),
        vendor="memory",
        level_dimensions=((2080, 1120),),
        downsamples=(1.0,),
        mpp=0.5,
        mpp_source="user",
        objective_power=None,
        bounds_xywh=(0, 0, 2080, 1120),
        background_rgb=(255, 255, 255),
    )

    def stain(self) -> Stain:
        """Pass for stained: the numbers matter."""
        return "brightfield"

    def read_region(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        x = (np.arange(size[0]) + xy[0]) // 16
        y = (np.arange(size[1]) + xy[1]) // 16
        number = y[:, None] * self.columns + x
        noise = (np.arange(size[0]) + xy[0]) % 16 + (np.arange(size[1])[:, None] + xy[1]) % 7
        return np.stack([number // 256, number % 256, noise], axis=-1).astype(np.uint8)


def numbered_grid(skip: int = 0) -> PatchGrid:
    """Return the grid of all squares but the first `skip`."""
    lattice = build_lattice(NumberedSlide.properties, GridConfig(patch_px=16))
    number = np.arange(skip, NumberedSlide.columns * NumberedSlide.rows)
    columns = NumberedSlide.columns
    cells = np.stack([number % columns, number // columns], axis=1).astype(np.int32)
    return PatchGrid(lattice, cells, "all")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    slow = sys.argv[2:] != ["fast"]
    writer._PART_ROWS = 256
    a = ToyEncoder("a", seconds=0.0005 * slow, log=folder / "a.log")
    b = ToyEncoder("timm:b/c", dim=5, log=folder / "b.log")
    reader: Any = NumberedSlide()
    embed_patches(reader, numbered_grid(), [a, b], EmbeddingStore(folder / "store"))
