"""JSON lists of any length, value by value, from files that strangers made.

What is held at once is one value of the list, and that is bounded in size and depth.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from src_core.errors import ExchangeError

__all__ = ["WrongValueError", "read_values"]

_MAX_VALUES = 4_000_000
"""Of one value, as the parser counts: about a million corners."""
_TEXT_LENGTH = 64
"""Letters that take the room of a number: gzip folds a gigabyte of them into one megabyte."""
_MAX_KEYS = 1000
_MAX_DEPTH = 24
"""A multi-polygon within a collection within a feature has half of that."""
_MAX_SILENCE = 16 * 2**20
"""Bytes without a value: nothing but a text or blanks that would fill the memory."""

_Event: TypeAlias = tuple[str, Any]


class WrongValueError(ValueError):
    """Says what is wrong with one value of the list."""


def read_values(
    path: Path, *, lists: tuple[str, ...] = (), keep: tuple[str, ...] = ()
) -> Iterator[Any]:
    """Yield the values of the list that a file holds, plain or gzipped.

    Parameters
    ----------
    path : Path
        Its top is a list, or an object.
    lists : tuple of str
        Keys of the top object whose lists are meant.
    keep : tuple of str
        Keys that are kept of a top object without any of `lists`, which is then the one value.

    Yields
    ------
    Any
        Values as Python knows them.

    Raises
    ------
    WrongValueError
        If a value is too large or too deep to hold.
    ExchangeError
        If the file cannot be read or is not JSON.
    """
    import ijson

    try:
        with _opened(path) as stream:
            guard = _Guard(stream)
            events = _heard(ijson.basic_parse(guard, use_float=True), guard)
            yield from _top_values(events, lists, keep)
    except ijson.JSONError as error:
        # It quotes the place in the file, in bytes or not, over several lines.
        reason = error.args[0] if error.args else ""
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        why = text.splitlines()[0] if text else "cut off"
        raise ExchangeError(f"{path} is not valid JSON ({why}); export it again.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ExchangeError(f"{path} cannot be read ({error}); export it again.") from error


class _Guard:
    """A stream that counts how much was read since the last value."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.silent = 0

    def read(self, size: int = -1) -> bytes:
        """Read on, unless nothing has come of it for long."""
        if self.silent > _MAX_SILENCE:
            raise WrongValueError(f"{_MAX_SILENCE >> 20} MB hold no value")
        data = self._stream.read(size)
        self.silent += len(data)
        return data


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def _heard(events: Iterable[_Event], guard: _Guard) -> Iterator[_Event]:
    for event in events:
        guard.silent = 0
        yield event


def _top_values(
    events: Iterator[_Event], lists: tuple[str, ...], keep: tuple[str, ...]
) -> Iterator[Any]:
    first, _ = next(events)
    if first == "start_array":
        yield from _listed(events)
    elif first == "start_map":
        yield from _of_top_object(events, lists, keep)
    else:
        raise WrongValueError("this is neither a list nor an object")
    for _ in events:  # what follows the end is an error of the parser's
        pass


def _of_top_object(
    events: Iterator[_Event], lists: tuple[str, ...], keep: tuple[str, ...]
) -> Iterator[Any]:
    """Yield the values of the object's lists as they come, or else the object itself."""
    top: dict[str, Any] = {}
    streamed = False
    for keys, (_, key) in enumerate(iter(lambda: next(events), ("end_map", None))):
        if keys > _MAX_KEYS:
            raise WrongValueError("the file's head is too large")
        start = next(events)
        if key in lists and start[0] == "start_array":
            streamed = True
            yield from _listed(events)
            continue
        value = _built(events, start)
        if key in keep:
            top[key] = value
    if not streamed:
        yield top


def _listed(events: Iterator[_Event]) -> Iterator[Any]:
    while (start := next(events))[0] != "end_array":
        yield _built(events, start)


def _built(events: Iterator[_Event], start: _Event) -> Any:
    """Return the value that begins with `start`."""
    kind, value = start
    if not kind.startswith("start"):
        return value
    root: Any = {} if kind == "start_map" else []
    stack, key, keys = [root], "", [""]
    held = 0
    for kind, value in events:
        held += 1 + (len(value) // _TEXT_LENGTH if isinstance(value, str) else 0)
        if held > _MAX_VALUES:
            raise WrongValueError("it holds more than a million corners, or texts as long")
        if kind == "map_key":
            key = value
            continue
        if kind in ("end_array", "end_map"):
            stack.pop()
            key = keys.pop()
            if not stack:
                return root
            continue
        new = {} if kind == "start_map" else [] if kind == "start_array" else value
        inner = stack[-1]
        if isinstance(inner, dict):
            inner[key] = new
        else:
            inner.append(new)
        if kind.startswith("start"):
            if len(stack) >= _MAX_DEPTH:
                raise WrongValueError("it is nested too deeply")
            stack.append(new)
            keys.append(key)
    raise WrongValueError("it is cut off")
