"""The slides in a folder, by their names; of several DICOM files the headers are read too."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from src_core.errors import ProjectError
from src_core.slides.dicom import series_of

__all__ = ["SLIDE_SUFFIXES", "Found", "find_slides", "told"]

SLIDE_SUFFIXES = frozenset(
    {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".tif", ".tiff"}
)
"""Of files that are one slide each. Plain pictures (PNG, JPEG) are none here: in a folder of slides
they are labels and thumbnails."""

_DICOM = ".dcm"
_ZARR = ".zarr"
_MRXS = ".mrxs"

_COMPANIONS = {".vms": {".jpg", ".opt"}, ".vmu": {".ngr", ".opt"}}
"""Files that belong to a slide beside them; those of MRXS lie in a folder of its name."""

_NO_SUFFIX = "without suffix"
_KINDS_TOLD = 12


@dataclass(slots=True)
class Found:
    """What a folder holds."""

    slides: list[Path] = field(default_factory=list)
    """Files, and folders that are one slide each, in the order of their names."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Suffixes of the files that are no slides to this program, and how many have each."""


def find_slides(folder: Path, *, without: Path | None = None) -> Found:
    """Return the slides in a folder and the folders in it, and what else lies there.

    A folder that is called ``.zarr``, or holds the DICOM files of one series, is one slide; where
    there are several series, each is a slide, named by its largest file. Hidden names, links to
    folders and the folder `without` are passed over in silence.

    Parameters
    ----------
    folder : Path
        A folder of slides, or one slide that is a folder.
    without : Path, optional
        A folder that holds other things, such as a project.

    Raises
    ------
    ProjectError
        If there is no slide, or a folder cannot be read.
    """
    found = Found()
    companions: set[Path] = set()
    for root, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(root)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and here / name != without
        )
        if here.suffix.lower() == _ZARR:
            folders.clear()
            found.slides.append(here)
            continue
        shown = [here / name for name in sorted(files) if not name.startswith(".")]
        dicom = [path for path in shown if path.suffix.lower() == _DICOM]
        slides = [path for path in shown if path.suffix.lower() in SLIDE_SUFFIXES]
        found.slides += [*_series(here, dicom), *slides]
        companions |= {path.with_suffix("") for path in slides if path.suffix.lower() == _MRXS}
        if here not in companions:
            found.passed_over.update(_others(shown))
    if not found.slides:
        suffixes = ", ".join(sorted(SLIDE_SUFFIXES | {_DICOM, _ZARR}))
        others = ", ".join(f"{count} {kind}" for kind, count in told(found.passed_over).items())
        has = f", but {others}" if others else ""
        raise ProjectError(f"{folder} holds no slide ({suffixes}){has}; name another folder.")
    return found


def told(passed_over: Counter[str]) -> dict[str, int]:
    """Return the most frequent suffixes with their counts, and the sum of the others."""
    kinds = dict(passed_over.most_common(_KINDS_TOLD))
    rest = passed_over.total() - sum(kinds.values())
    return {**kinds, "others": rest} if rest else kinds


def _others(files: list[Path]) -> Iterable[str]:
    """Yield the suffixes of the files that are neither a slide nor a part of one."""
    kinds = [path.suffix.lower() for path in files]
    parts = {_DICOM}.union(*(_COMPANIONS[kind] for kind in set(kinds) & set(_COMPANIONS)))
    return (kind or _NO_SUFFIX for kind in kinds if kind not in SLIDE_SUFFIXES | parts)


def _series(folder: Path, files: list[Path]) -> list[Path]:
    """Return one path for each series of DICOM files: the folder, if there is but one."""
    series: dict[str, list[Path]] = {}
    for path in files if len(files) > 1 else ():
        try:
            series.setdefault(series_of(path), []).append(path)
        except OSError as error:
            _refuse(error)
    if len(series) < 2:
        return [folder] if files else []
    # The largest is a level of the slide; OpenSlide finds the others by it, but not by a label.
    return sorted(max(one, key=lambda path: path.stat().st_size) for one in series.values())


def _refuse(error: OSError) -> None:
    raise ProjectError(
        f"{error.filename} cannot be read ({error.strerror}); ask for the right to, or name the "
        "slides one by one."
    ) from error
