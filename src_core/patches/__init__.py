"""Cut a slide into patches, and read them."""

from src_core.patches.grid import GridConfig, Lattice, PatchGrid, build_grid, build_lattice
from src_core.patches.reader import read_patch, read_patches

__all__ = [
    "GridConfig",
    "Lattice",
    "PatchGrid",
    "build_grid",
    "build_lattice",
    "read_patch",
    "read_patches",
]
