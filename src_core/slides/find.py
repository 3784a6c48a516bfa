"""The slides in a folder, by their names alone: nothing is opened."""

from __future__ import annotations

import os
from pathlib import Path

from src_core.errors import ProjectError

__all__ = ["SLIDE_SUFFIXES", "find_slides"]

SLIDE_SUFFIXES = frozenset(
    {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".tif", ".tiff"}
)
"""Of files that are one slide each. Plain pictures (PNG, JPEG) are none here: in a folder of slides
they are labels and thumbnails."""

_DICOM = ".dcm"
_ZARR = ".zarr"


def find_slides(folder: Path, *, without: Path | None = None) -> list[Path]:
    """Return the slides in a folder and the folders in it, in the order of their names.

    A folder that holds DICOM files, or is called ``.zarr``, is one slide. Hidden names, links to
    folders and the folder `without` are passed over.

    Parameters
    ----------
    folder : Path
        A folder of slides, or one slide that is a folder.
    without : Path, optional
        A folder that holds other things, such as a project.

    Returns
    -------
    list of Path
        Files, and folders that are one slide each.

    Raises
    ------
    ProjectError
        If there is no slide, or a folder cannot be read.
    """
    found: list[Path] = []
    for root, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(root)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and here / name != without
        )
        shown = sorted(name for name in files if not name.startswith("."))
        if here.suffix.lower() == _ZARR:
            folders.clear()
            found.append(here)
            continue
        if any(name.lower().endswith(_DICOM) for name in shown):
            found.append(here)
        found += [here / name for name in shown if Path(name).suffix.lower() in SLIDE_SUFFIXES]
    if not found:
        suffixes = ", ".join(sorted(SLIDE_SUFFIXES | {_DICOM, _ZARR}))
        raise ProjectError(f"{folder} holds no slide ({suffixes}); name another folder.")
    return found


def _refuse(error: OSError) -> None:
    raise ProjectError(
        f"{error.filename} cannot be read ({error.strerror}); ask for the right to, or name the "
        "slides one by one."
    ) from error
