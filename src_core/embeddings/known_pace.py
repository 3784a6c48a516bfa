"""How fast this machine has embedded, remembered: by it the window tells how long it will take.

What is remembered is a small JSON object, ``pace.json`` in the user's cache folder, or where
``FUSECPATH_PACE`` says: encoder, device, size of the patches and seconds a patch, no slide and no
path. It changes no result, may be removed at any time, and a damaged one counts as empty.
"""

from __future__ import annotations

import logging
import os
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from src_core.errors import ProjectError
from src_core.provenance import read_json, write_json

__all__ = ["Forecast", "KnownPace", "forecast", "known_paces", "remember_paces"]

_VARIABLE = "FUSECPATH_PACE"
_VERSION = 1
_MAX_BYTES = 256 * 2**10
_MOST_PACES = 200
"""The oldest give way: every encoder on two devices at a few sizes is fewer."""

_MOST_TIMES = 5
"""Of the last runs; their median counts."""

_WORD = re.compile(r"[\w.+:@/-]{1,200}")
_LARGEST_PX = 8192
_SLOWEST = 3600.0
"""Seconds a patch."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPace:
    """What the last runs of an encoder took."""

    encoder: str
    device: str
    """``"cpu"``, ``"cuda"`` or ``"mps"``."""
    patch_px: int
    """Side of the patches as they were read, px."""
    seconds_each: tuple[float, ...]
    """Seconds a patch, reading included; a number for each run, the latest last."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from other paces."""
        return (self.encoder, self.device, self.patch_px)


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long embedding will take on this machine."""

    seconds: float
    """Of the encoders in `known` together."""
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    """Encoders that have not embedded such patches here yet."""


def forecast(todo: Mapping[str, int], *, patch_px: int) -> Forecast:
    """Tell how long embedding takes, by what this machine has shown last.

    Parameters
    ----------
    todo : mapping of str to int
        Encoder -> patches.
    patch_px : int
        Side of the patches, px.
    """
    # Of several devices the one that was used last: nothing else tells which comes next.
    last = {one.encoder: one for one in known_paces() if one.patch_px == patch_px}
    seconds = sum(
        count * statistics.median(last[name].seconds_each)
        for name, count in todo.items()
        if name in last
    )
    known = tuple(name for name in todo if name in last)
    return Forecast(seconds, known, tuple(name for name in todo if name not in last))


def known_paces() -> list[KnownPace]:
    """Return what is remembered, the latest last; nothing of what is not as it was written."""
    path = _file()
    if not path.is_file():
        return []
    try:
        values = read_json(path, at_most=_MAX_BYTES)
    except ProjectError as error:
        _log.info("The remembered pace is passed over: %s", error)
        return []
    stored = values.get("paces")
    if values.get("version") != _VERSION or not isinstance(stored, list):
        return []
    return list(_valid(stored[-_MOST_PACES:]))


def remember_paces(
    seconds_each: Mapping[str, float], *, devices: Mapping[str, str], patch_px: int
) -> None:
    """Add what a run took to what is remembered; where that cannot be stored nothing happens.

    Parameters
    ----------
    seconds_each : mapping of str to float
        Encoder -> seconds a patch.
    devices : mapping of str to str
        Encoder -> where it computed.
    patch_px : int
        Side of the patches, px.
    """
    if not seconds_each:
        return
    kept = {one.key: one for one in known_paces()}
    for name, seconds in seconds_each.items():
        before = kept.pop((name, devices[name], patch_px), None)  # it goes to the end
        times = (*(() if before is None else before.seconds_each), seconds)[-_MOST_TIMES:]
        now = KnownPace(encoder=name, device=devices[name], patch_px=patch_px, seconds_each=times)
        kept[now.key] = now
    entries = [asdict(one) for one in list(kept.values())[-_MOST_PACES:]]
    try:
        write_json(_file(), {"version": _VERSION, "paces": entries})
    except ProjectError as error:  # a folder that may not be written to costs an estimate, no more
        _log.info("The pace is not remembered: %s", error)


def _file() -> Path:
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else user_cache_path("fusecpath", False) / "pace.json"


def _valid(stored: Iterable[Any]) -> Iterator[KnownPace]:
    for one in stored:
        if not isinstance(one, dict):
            continue
        encoder, device, px = (one.get(name) for name in ("encoder", "device", "patch_px"))
        times = one.get("seconds_each")
        is_named = all(
            isinstance(word, str) and _WORD.fullmatch(word) for word in (encoder, device)
        )
        if is_named and _is_size(px) and _are_times(times):
            yield KnownPace(
                encoder=str(encoder),
                device=str(device),
                patch_px=int(px or 0),
                seconds_each=tuple(map(float, times or ())),
            )


def _is_size(px: object) -> bool:
    return type(px) is int and 0 < px <= _LARGEST_PX


def _are_times(times: object) -> bool:
    return (
        isinstance(times, list)
        and 0 < len(times) <= _MOST_TIMES
        and all(type(one) in (int, float) and 0 < one <= _SLOWEST for one in times)
    )
