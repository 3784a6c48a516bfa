"""By what a slide is known again: the content of its files, wherever they lie and were copied.

Of a slide of one file that is the file. Other slides are several files: the series of a DICOM file,
the folder beside an MRXS file, the files that a VMS or VMU file names, the folder of an OME-Zarr
picture. Neither times nor the sizes of folders count, for they change when a slide is copied to
another disk; nor do names, for DICOM files are renamed by archives.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from src_core.errors import ProjectError, SlideReadError
from src_core.provenance import file_fingerprint, read_json
from src_core.slides.dicom import is_dicom, series_of

__all__ = ["slide_files", "slide_fingerprint"]

_MOST_FILES: Final = 256
"""That are read; of more, so many are taken evenly from the order of their names."""

_PART_BYTES: Final = 16 * 1024
"""Read at three places of each file of several: all of them together cost little."""

_INDEX_BYTES: Final = 256 * 1024
_NAMES_FILES: Final = frozenset({".vms", ".vmu"})
_ZARR_METADATA: Final = (".zattrs", ".zgroup", "zarr.json")
_ARRAY_METADATA: Final = (".zarray", "zarr.json")


def slide_fingerprint(path: Path) -> str:
    """Return 32 hexadecimal digits that stand for a slide's content, fast for any size.

    Parameters
    ----------
    path : Path
        What `open_slide` opens. A DICOM series is the same slide by its folder and by any of its
        files.

    Raises
    ------
    SlideReadError
        If `path` is neither a file nor a folder, or a file of the slide cannot be read.
    """
    try:
        files = slide_files(path)
        if files == [path]:
            return file_fingerprint(path)
        digest = hashlib.sha256(f"{len(files)} files".encode())
        chosen = files[:: max(1, -(-len(files) // _MOST_FILES))]
        for part in sorted(file_fingerprint(file, chunk=_PART_BYTES) for file in chosen):
            digest.update(part.encode())
    except OSError as error:
        if isinstance(error, SlideReadError):
            raise
        raise SlideReadError(
            f"{error.filename or path} cannot be read ({error.strerror or error}); ask for the "
            "right to, or copy the slide again from its source."
        ) from error
    return digest.hexdigest()[:32]


def slide_files(path: Path) -> list[Path]:
    """Return the files by which a slide is known, in the order of their names.

    They are all of its files but for OME-Zarr, which may have a million: of that, its metadata and
    the chunks of its coarsest level, which show all of the slide.

    Raises
    ------
    OSError
        If a folder or file cannot be read.
    """
    if path.is_dir():
        zarr = any((path / name).is_file() for name in _ZARR_METADATA)
        return _zarr_files(path) if zarr else _dicom_files(path)
    suffix = path.suffix.lower()
    if suffix == ".mrxs" and path.with_suffix("").is_dir():
        return [path, *_files_in(path.with_suffix(""))]
    if suffix in _NAMES_FILES and path.is_file():
        return [path, *_named_files(path)]
    if path.is_file() and is_dicom(path):
        return _series(path.parent, series_of(path)) or [path]
    return [path]


def _files_in(folder: Path) -> list[Path]:
    shown = (one for one in folder.iterdir() if not one.name.startswith("."))
    return sorted(one for one in shown if one.is_file())


def _dicom_files(folder: Path) -> list[Path]:
    """Return the series of the largest file, which is a level of the slide."""
    found = [file for file in _files_in(folder) if is_dicom(file)]
    if not found:
        return []
    return _series(folder, series_of(max(found, key=lambda file: file.stat().st_size)))


def _series(folder: Path, series: str) -> list[Path]:
    if not series:
        return []
    return [file for file in _files_in(folder) if is_dicom(file) and series_of(file) == series]


def _named_files(path: Path) -> list[Path]:
    """Return the files beside an index of ``key=value`` lines that are values in it."""
    with path.open("rb") as stream:
        lines = stream.read(_INDEX_BYTES).decode(errors="replace").splitlines()
    names = {line.partition("=")[2].strip() for line in lines}
    plain = sorted(name for name in names if name and Path(name).name == name)
    beside = {file.name: file for file in _files_in(path.parent)}
    return [beside[name] for name in plain if name in beside and name != path.name]


def _zarr_files(folder: Path) -> list[Path]:
    files = [folder / name for name in _ZARR_METADATA]
    level = _coarsest(folder)
    if level is None:
        return [file for file in files if file.is_file()]
    files += [folder / level / name for name in _ARRAY_METADATA]
    found = [file for file in files if file.is_file()]
    for root, folders, names in os.walk(folder / level):  # of many chunks, none is looked at here
        folders.sort()
        found += [
            Path(root, name)
            for name in sorted(names)
            if not name.startswith(".") and name not in _ARRAY_METADATA
        ]
    return found


def _coarsest(folder: Path) -> str | None:
    """Return the path of the coarsest array in a Zarr folder, None where nothing valid names it."""
    try:
        if (folder / "zarr.json").is_file():
            group = read_json(folder / "zarr.json")["attributes"]["ome"]
        else:
            group = read_json(folder / ".zattrs")
        name = str(group["multiscales"][0]["datasets"][-1]["path"])
    except (ProjectError, KeyError, IndexError, TypeError):
        return None  # opening the slide says what is wrong
    parts = Path(name).parts
    return None if Path(name).is_absolute() or ".." in parts or not parts else name
