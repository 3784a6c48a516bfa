"""Write embeddings the way TRIDENT lays them out, for programs that read its folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from src_core.embeddings.store import EmbeddingView
from src_core.patches.grid import PatchGrid
from src_core.provenance import written_whole

__all__ = ["geometry", "job_name", "write_features", "write_patches"]

_ROWS = 4096


def geometry(grid: PatchGrid, size: tuple[int, int], *, name: str, folder: Path) -> dict[str, Any]:
    """Return the attributes of TRIDENT's ``coords``.

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
    scale = lattice.patch_l0 / lattice.patch_px
    return {
        "patch_size": np.int64(lattice.patch_px),
        "patch_size_level0": np.int64(round(lattice.patch_l0)),
        "level0_magnification": np.int64(_magnification(lattice.slide_mpp)),
        "target_magnification": np.float64(round(10 / lattice.mpp, 3)),
        "overlap": np.int64(max(0, round((lattice.patch_l0 - lattice.stride_l0) / scale))),
        "level0_width": np.int64(size[0]),
        "level0_height": np.int64(size[1]),
        "name": name,
        "savetodir": str(folder),
    }


def job_name(grid: PatchGrid) -> str:
    """Return the folder's name that TRIDENT gives to patches of this scale and size."""
    lattice = grid.lattice
    overlap = max(
        0, round((lattice.patch_l0 - lattice.stride_l0) * lattice.patch_px / lattice.patch_l0)
    )
    return f"{round(10 / lattice.mpp, 1):g}x_{lattice.patch_px}px_{overlap}px_overlap"


def write_patches(path: Path, grid: PatchGrid, about: dict[str, Any]) -> None:
    """Write ``patches/<slide>_patches.h5``, whole or not at all."""
    _write(path, lambda file: _coords(file, grid, about))


def write_features(path: Path, grid: PatchGrid, view: EmbeddingView, about: dict[str, Any]) -> None:
    """Write ``features_<encoder>/<slide>.h5``, whole or not at all.

    The numbers are float32, a row a chunk, as TRIDENT's own.
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
            {"name": about["name"], "savetodir": about["savetodir"], "encoder": view.encoder}
        )
        _coords(file, grid, about)

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
