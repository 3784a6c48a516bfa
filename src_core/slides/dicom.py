"""Which DICOM files are one slide."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["is_dicom", "series_of"]

_SERIES_UID: Final = re.compile(rb"\x20\x00\x0e\x00UI..([0-9.]{1,64})", re.DOTALL)
"""Tag (0020,000E), in the only encoding that whole-slide images are written in."""

_DICOM_HEADER_BYTES: Final = 64 * 1024


def is_dicom(file: Path) -> bool:
    """Tell whether a file says that it is one of DICOM."""
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def series_of(file: Path) -> str:
    """Return the SeriesInstanceUID of a DICOM file, the same for all files of a slide.

    Empty where the beginning of the file names none.
    """
    with file.open("rb") as stream:
        found = _SERIES_UID.search(stream.read(_DICOM_HEADER_BYTES))
    return found[1].decode() if found else ""
