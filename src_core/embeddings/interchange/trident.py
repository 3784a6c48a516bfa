"""Write embeddings the way TRIDENT lays them out, for programs that read its folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from src_core.embeddings.store import EmbeddingView
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import EPS_PX, Lattice
from src_core.provenance import written_whole
from src_core.types import Float32

__all__ = [
    "geometry",
    "job_name",
    "notes",
    "write_features",
    "write_patches",
    "write_slide_features",
]

_ROWS = 4096


def geometry(grid: PatchGrid, size: tuple[int, int], *, name: str, folder: Path) -> dict[str, Any]:
    """Return the attributes of TRIDENT's ``coords``.

    They are whole numbers of level-0 pixels, and readers compute with them: TITAN divides corners,
    rounded down, by ``patch_size_level0``, and TRIDENT reads a patch as large as ``patch_size``
    times ``level0_magnification`` by ``target_magnification``, rounded. So the first is no larger
    than the least distance of two patches that do not overlap, and the last gives the first.

    Parameters
    ----------
    grid : PatchGrid
        The patches.
    size : tuple of int
        (width, height) of the slide, level-0 px.
    name : str
        Of the slide.
    folder : Path
        Where the file will be.
    """
    lattice = grid.lattice
    power, side = _magnification(lattice.slide_mpp), _side(lattice)
    return {
        "patch_size": np.int64(lattice.patch_px),
        "patch_size_level0": np.int64(side),
        "level0_magnification": np.int64(power),
        "target_magnification": np.float64(lattice.patch_px * power / side),
        "overlap": np.int64(_overlap(lattice)),
        "level0_width": np.int64(size[0]),
        "level0_height": np.int64(size[1]),
        "name": name,
        "savetodir": str(folder),
    }


def job_name(grid: PatchGrid) -> str:
    """Return the folder's name that TRIDENT gives to patches of this scale and size."""
    lattice = grid.lattice
    return f"{round(10 / lattice.mpp, 1):g}x_{lattice.patch_px}px_{_overlap(lattice)}px_overlap"


def notes(grid: PatchGrid) -> tuple[str, ...]:
    """Say what TRIDENT's attributes cannot tell of a grid's patches."""
    lattice, found = grid.lattice, []
    side = _side(lattice)
    if _overlap(lattice):
        found.append(
            "the patches overlap, and TITAN adds up those that share a cell of its grid; give it "
            "patches that do not overlap"
        )
    elif len(grid) and _leaves_gaps(grid, side):
        found.append(
            "TITAN's grid of these patches has empty columns or rows, for their distance is no "
            "whole number of level-0 pixels"
        )
    if abs(lattice.patch_l0 - side) > EPS_PX:
        found.append(
            "the side of a patch is no whole number of level-0 pixels; TRIDENT's files give it "
            "less than a pixel wrong"
        )
    return tuple(found)


def _overlap(lattice: Lattice) -> int:
    """Return by how much patches overlap, in pixels as they are read."""
    scale = lattice.patch_l0 / lattice.patch_px
    return max(0, round((lattice.patch_l0 - lattice.stride_l0) / scale))


def _side(lattice: Lattice) -> int:
    """Return the side of a patch as a whole number by which no two patches share a cell."""
    side = round(lattice.patch_l0)
    line = np.arange(max(2, *lattice.shape_hw))
    steps = np.diff(lattice.corners(np.stack([line, line], axis=1)), axis=0)  # (n - 1, 2)
    return side if _overlap(lattice) else max(1, min(side, int(steps.min())))


def _leaves_gaps(grid: PatchGrid, side: int) -> bool:
    """Tell whether the cells of a reader that divides corners by `side` are not the grid's."""
    theirs = (grid.coords_xy - grid.coords_xy.min(axis=0)) // side
    return bool((theirs != grid.cells - grid.cells.min(axis=0)).any())


def write_patches(path: Path, grid: PatchGrid, about: dict[str, Any]) -> None:
    """Write ``patches/<slide>_patches.h5``, whole or not at all."""
    _write(path, lambda file: _coords(file, grid, about))


def write_features(
    path: Path, grid: PatchGrid, view: EmbeddingView, about: dict[str, Any], *, encoder: str
) -> None:
    """Write ``features_<encoder>/<slide>.h5``, whole or not at all.

    The numbers are float32, a row a chunk, as TRIDENT's own, and `encoder` is its name of it.
    """

    def write(file: Any) -> None:
        shape = (len(view), view.dim)
        features = file.create_dataset(
            "features", shape, np.float32, chunks=(1, view.dim), maxshape=(None, view.dim)
        )
        for start in range(0, len(view), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(view)))
            features[start : start + len(rows)] = view.rows(rows)
        features.attrs.update(
            {"name": about["name"], "savetodir": about["savetodir"], "encoder": encoder}
        )
        _coords(file, grid, about)

    _write(path, write)


def write_slide_features(
    path: Path, grid: PatchGrid | None, vector: Float32, about: dict[str, Any], *, encoder: str
) -> None:
    """Write ``slide_features_<encoder>/<slide>.h5``, whole or not at all.

    Parameters
    ----------
    path : Path
    grid : PatchGrid, optional
        The patches that the embedding was made from, where they are known.
    vector : ndarray of float32, shape (dim,)
    about : dict
        Their geometry, or the slide's name and the folder alone.
    encoder : str
        TRIDENT's name of the slide encoder. It tells that by the folder alone, which may have
        lost some letters.
    """

    def write(file: Any) -> None:
        features = file.create_dataset("features", data=np.asarray(vector, np.float32))
        features.attrs.update(
            {"name": about["name"], "savetodir": about["savetodir"], "encoder": encoder}
        )
        if grid is not None:
            # Squeezed, as TRIDENT's: of a single patch there are two numbers.
            coords = file.create_dataset("coords", data=np.squeeze(grid.coords_xy))
            coords.attrs.update(about)

    _write(path, write)


def _coords(file: Any, grid: PatchGrid, about: dict[str, Any]) -> None:
    coords = file.create_dataset("coords", data=grid.coords_xy, chunks=(1, 2), maxshape=(None, 2))
    coords.attrs.update(about)


def _write(path: Path, write: Callable[[Any], None]) -> None:
    import h5py

    with written_whole(path) as temporary, h5py.File(temporary, "w") as file:
        write(file)


def _magnification(mpp: float) -> int:
    """Return the objective that TRIDENT would take this scale for."""
    return min((5, 10, 20, 40, 60, 80), key=lambda power: abs(np.log(power * mpp / 10)))
