"""Hashes of large files, remembered: to read gigabytes again and again would cost minutes.

A file is known by its path, size and time of change. What is remembered is a small JSON object,
``file-hashes.json`` in the user's cache folder, or where ``FUSECPATH_FILE_HASHES`` says. It may be
removed at any time, and a damaged one is passed over.
"""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path

from platformdirs import user_cache_path

from src_core.errors import ProjectError
from src_core.provenance import file_sha256, read_json, write_json
from src_core.types import Json

__all__ = ["known_sha256", "quick_sha256"]

_VARIABLE = "FUSECPATH_FILE_HASHES"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTLED_NS = 2 * 10**9
"""A file that was changed so lately may change again within the same tick of its clock."""

_QUICK_BYTES = 16 * 2**20
"""What is read and hashed within some hundredths of a second."""

_log = logging.getLogger(__name__)


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file in hexadecimal digits, read only if it has changed.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    place = path.resolve()
    state = _state(place)
    kept = _kept()
    remembered = _remembered(kept, place, state)
    if remembered is not None:
        return remembered
    now = time.time_ns()
    sha256 = file_sha256(place)
    if _state(place) == state and now - int(str(state["mtime_ns"])) > _SETTLED_NS:
        _keep({**kept, str(place): {**state, "sha256": sha256}})
    return sha256


def quick_sha256(path: Path) -> str | None:
    """Return what `known_sha256` does if that takes no time to speak of, else None.

    That is for a file that is remembered or small; a window may ask at every turn.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    place = path.resolve()
    state = _state(place)
    if int(str(state["size"])) <= _QUICK_BYTES:
        return known_sha256(place)
    return _remembered(_kept(), place, state)


def _remembered(kept: dict[str, Json], place: Path, state: dict[str, Json]) -> str | None:
    entry = kept.get(str(place))
    if isinstance(entry, dict) and {**entry, "sha256": None} == {**state, "sha256": None}:
        return str(entry["sha256"])
    return None


def _state(place: Path) -> dict[str, Json]:
    found = place.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def _list() -> Path:
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else user_cache_path("fusecpath", False) / "file-hashes.json"


def _kept() -> dict[str, Json]:
    """Return what is remembered of each file; nothing of what is not as it was written."""
    if not _list().is_file():
        return {}
    try:
        values = read_json(_list())
    except ProjectError as error:
        _log.warning("The remembered hashes are passed over: %s", error)
        return {}
    return {
        place: entry
        for place, entry in values.items()
        if isinstance(entry, dict) and _SHA256.fullmatch(str(entry.get("sha256")))
    }


def _keep(kept: dict[str, Json]) -> None:
    there = {place: entry for place, entry in kept.items() if Path(place).exists()}
    try:
        write_json(_list(), there)
    except ProjectError as error:  # a folder that may not be written to costs time, no more
        _log.warning("A hash is not remembered: %s", error)
