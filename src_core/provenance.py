"""Artifacts on disk: a payload, a JSON sidecar with its recipe, written whole or not at all.

A recipe is everything that decides the payload's bytes. Its hash names the artifact's folder,
so another recipe is another artifact. Files are written under a temporary name beside their
final one and then renamed: a reader never sees half a file, on any system.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from src_core.config import Config
from src_core.errors import (
    ConfigError,
    FusecpathError,
    ProjectError,
    SlideReadError,
    StaleArtifactError,
    StorageFullError,
)

__all__ = [
    "MAX_JSON_BYTES",
    "MAX_SCORES_BYTES",
    "ConfigT",
    "check_recipe",
    "file_fingerprint",
    "file_sha256",
    "folders_with",
    "read_array",
    "read_config",
    "read_json",
    "recipe_id",
    "remove_file",
    "stat_sign",
    "write_array",
    "write_artifact",
    "write_atomically",
    "write_bytes",
    "write_json",
    "written_whole",
]

ConfigT = TypeVar("ConfigT", bound=Config)

MAX_JSON_BYTES = 8 * 2**20
"""A larger sidecar is refused: it did not come from this program."""

MAX_SCORES_BYTES = 128 * 2**20
"""Of ``held_back.json``, which grows with what is predicted: a thousand values of a thousand
slides and of their patients are 80 MB."""

_MAX_DEPTH = 50
"""Lists within lists; deeper ones would overflow the stack of whoever compares or stores them."""

_NPY_HEADER = re.compile(
    rb"\{'descr': '[<>|][bfiu](\d)', 'fortran_order': (?:True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n"
)

_FINGERPRINT_CHUNK = 256 * 1024

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""The disk is full, a file may not grow any more, the user's quota is used up."""


def recipe_id(recipe: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for `recipe`, whatever the order of its keys."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_recipe(found: Mapping[str, Any], wanted: Mapping[str, Any], *, what: str) -> None:
    """Raise `StaleArtifactError` with the first key in which two recipes differ.

    Parameters
    ----------
    found, wanted : mapping
        The recipe that was stored and the one that is asked for.
    what : str
        Names the artifact in the sentence, e.g. ``"The embeddings of slide A by lite0"``.
    """
    for key in sorted({*found, *wanted}):
        if found.get(key) != wanted.get(key):
            raise StaleArtifactError(
                f"{what} were made with {key} = {found.get(key)!r}, not {wanted.get(key)!r}; "
                "run the step that makes them again."
            )


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there becomes `path`, or is removed.

    For writers that open files themselves; :func:`write_atomically` is for those that want a
    stream.

    Yields
    ------
    Path
        In the folder of `path`, which is made.

    Raises
    ------
    StorageFullError
        If the disk is full.
    ProjectError
        If the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except FusecpathError:
        raise  # of the writer, which may read a slide
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(
                f"The disk that holds {path.parent} is full ({error.strerror}); make room there "
                "and run it again: what is stored is kept."
            ) from error
        raise _unwritable(path, error) from error  # on Windows a file that is open keeps its place
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    Raises what `written_whole` does.
    """
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        write(stream)


def remove_file(path: Path) -> None:
    """Remove a file, if there is one, before what it describes is written anew.

    Raises
    ------
    ProjectError
        If the folder cannot be written to.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ProjectError:
    return ProjectError(
        f"{path} cannot be written ({error.strerror or error}); close what reads it, "
        "choose another folder, or ask for the right to write there."
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    write_atomically(path, write)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as indented JSON, whole or not at all."""
    text = json.dumps(values, indent=1, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def read_json(path: Path, *, at_most: int | None = None) -> dict[str, Any]:
    """Read a JSON object of at most so many bytes, by default `MAX_JSON_BYTES`.

    Raises
    ------
    ProjectError
        If it is missing, no file, too large, not JSON or not an object.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise ProjectError(f"{path} is no file; remove it, and make it again or restore it.")
        if found.st_size > (at_most or MAX_JSON_BYTES):
            raise ProjectError(f"{path} is too large to be a file of a project; remove it.")
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except ProjectError:  # it is a ValueError too
        raise
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read ({error.strerror}); make it again or restore it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{path} is not valid JSON; make it again or restore it.") from error
    if not isinstance(values, dict) or _is_deep(values):
        raise ProjectError(f"{path} does not hold named values; make it again or restore it.")
    return values


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value


def _is_deep(value: object, left: int = _MAX_DEPTH) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return left == 0 or any(
        _is_deep(one, left - 1) for one in inner if isinstance(one, dict | list)
    )


def read_config(path: Path, cls: type[ConfigT], *, without: Sequence[str] = ()) -> ConfigT:
    """Read settings that `write_json` stored, leaving out the keys in `without`.

    Raises
    ------
    ProjectError
        If the file is missing, damaged, or its settings are not those of `cls`.
    """
    values = read_json(path)
    try:
        return cls.from_dict({key: value for key, value in values.items() if key not in without})
    except ConfigError as error:
        raise ProjectError(f"{path} is damaged: {error}") from error


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a ``.npy`` file, whole or not at all."""

    def write(stream: IO[bytes]) -> None:
        # Through `write` alone: into a file of the system numpy writes by itself, and says of a
        # full disk only how many numbers it has written.
        np.save(cast("IO[bytes]", SimpleNamespace(write=stream.write)), array, allow_pickle=False)

    write_atomically(path, write)


def write_artifact(folder: Path, name: str, array: NDArray[Any], meta: Mapping[str, Any]) -> None:
    """Write an array, then ``meta.json``: without the latter there is no artifact."""
    write_array(folder / name, array)
    write_json(folder / "meta.json", meta)


def read_array(path: Path, *, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Map a ``.npy`` file into memory, read-only, after checking what it claims to hold.

    Parameters
    ----------
    path : Path
        The file.
    dtype : dtype or tuple of dtype
        What may be in it.
    shape : tuple of int or None
        What its shape must be; None allows any length of that axis.

    Raises
    ------
    ProjectError
        If the file is missing, damaged, or holds another type or shape.
    """
    remedy = "run the step that makes it again"
    try:
        _check_npy(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} cannot be read as an array; {remedy}.") from error
    allowed = dtype if isinstance(dtype, tuple) else (dtype,)
    fits = len(array.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype not in [np.dtype(one) for one in allowed]:
        raise ProjectError(
            f"{path} holds {array.dtype} of shape {array.shape}, not what belongs there; {remedy}."
        )
    return cast("NDArray[Any]", array)


def _check_npy(path: Path) -> None:
    """Raise `ValueError` unless a file is as long as its plain header says.

    NumPy evaluates the header and multiplies its lengths without a thought of overflow, and takes
    an archive for an array.
    """
    with path.open("rb") as stream:
        start = stream.read(10)
        header = stream.read(int.from_bytes(start[8:10], "little"))
    match = _NPY_HEADER.fullmatch(header)
    if start[:8] != b"\x93NUMPY\x01\x00" or match is None:
        raise ValueError("not a plain array")
    lengths = [int(length) for length in match[2].replace(b",", b" ").split()]
    if len(start) + len(header) + math.prod(lengths) * int(match[1]) > path.stat().st_size:
        raise ValueError("shorter than its header says")


def stat_sign(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written, None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def folders_with(folder: Path, name: str) -> tuple[str, ...]:
    """Return the names of the folders in `folder` that hold a file `name`, sorted.

    Of thousands this is asked while a window waits, for which a `Path` each is too slow.
    """
    at = f"{os.sep}{name}"
    try:
        with os.scandir(folder) as entries:
            found = [one.name for one in entries if os.path.isfile(one.path + at)]  # noqa: PTH113
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(found))


def file_fingerprint(path: Path, *, chunk: int = _FINGERPRINT_CHUNK) -> str:
    """Return a hash of a file's size, beginning, middle and end, fast for any size.

    Parameters
    ----------
    path : Path
    chunk : int, optional
        Bytes that are read at each of the three places.

    Raises
    ------
    SlideReadError
        If `path` is no file: a pipe or a device would never end.
    """
    if not path.is_file():
        raise SlideReadError(f"{path} is neither a file nor a folder; give a slide.")
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as stream:
        for start in (0, max(0, size // 2), max(0, size - chunk)):
            stream.seek(start)
            digest.update(stream.read(chunk))
    return digest.hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
