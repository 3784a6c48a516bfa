"""What a file of another program holds, in one form whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from src_core.types import Float32, Float64

__all__ = ["PatchFile", "SlideVector", "Tool"]

Tool: TypeAlias = Literal["trident", "clam", "stamp", "qupath", "array"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchFile:
    """Where another program's patches lie, and their embeddings if it has them."""

    path: Path
    tool: Tool
    slide: str
    """The slide's name, as the file says or by its own name."""
    encoder: str | None
    """As the file calls it."""
    is_encoder_guessed: bool = False
    """The file names none: `encoder` is what its folder is called."""
    coords: Float64
    """Top-left corners, shape (N, 2), columns x, y."""
    unit: Literal["px", "um"] = "px"
    """Of `coords`; a pixel is level 0's."""
    dim: int = 0
    """Numbers of an embedding; 0 if the file has none."""
    stored_as: str = "float32"
    embeddings: Callable[[], Iterator[NDArray[Any]]] | None = None
    """Gives them from the first patch to the last, a block of rows at a time."""
    patch_px: int | None = None
    """Side as the encoder saw it."""
    patch_l0: float | None = None
    patch_um: float | None = None
    patch_level: int | None = None
    """The level that `patch_px` counts in, where nothing says how many level-0 pixels that is."""
    downsample: float | None = None
    overlap_l0: float = 0.0
    level0_mpp: float | None = None
    """What the file takes the slide's scale for, give or take a quarter."""
    level0_size: tuple[int, int] | None = None
    """(width, height) of the slide that the file is of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlideVector:
    """One embedding of a whole slide."""

    path: Path
    tool: Tool
    slide: str
    encoder: str | None
    vector: Float32
    is_encoder_guessed: bool = False
    is_of_patient: bool = False
    """It was made from all slides of a patient."""
    patches: PatchFile | None = None
    """Those that it was made from, without embeddings, where the file says which they were."""
