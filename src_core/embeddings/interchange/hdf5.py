"""HDF5 files from strangers: nothing outside of them is followed, nothing in them fills memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.errors import ExchangeError

__all__ = [
    "ROWS",
    "Dataset",
    "attributes",
    "blocks",
    "number",
    "opened",
    "rows",
    "shape_2d",
    "table",
]

_MAX_BYTES = 64 * 2**30
"""Of one array: 6 million patches of 2560 float32."""
_MAX_CHUNK = 256 * 2**20
_MAX_RATIO = 200
"""Real embeddings hardly compress; zeros do, a thousandfold."""
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""Deflate, shuffle, checksum, szip, nbit, scale-offset, LZF: no plugin is loaded for a file."""
_MAX_ATTRIBUTE = 64 * 1024
ROWS = 4096
"""Of a table, read at once."""

Dataset = Any
"""An `h5py.Dataset`; h5py has no types of its own."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises
    ------
    ExchangeError
        If it is none, or is damaged in what is read of it.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except ExchangeError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise ExchangeError(
            f"{path} cannot be read as HDF5 ({_line(error)}); copy or export it again."
        ) from error


def table(file: Any, name: str, *, path: Path) -> Dataset | None:
    """Return the dataset called `name` at the top of a file, checked, or None if there is none.

    Raises
    ------
    ExchangeError
        If it is a link to elsewhere, has no plain numbers, or claims to be larger than it is.
    """
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ExchangeError(
            f"{path}: {name} is a link to somewhere else, which is not followed; "
            "copy its data into the file."
        )
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ExchangeError(f"{path}: {name} is no array; export it again.")
    problem = _problem(dataset)
    if problem:
        raise ExchangeError(f"{path}: {name} {problem}; export it again.")
    return dataset


def rows(dataset: Dataset, start: int, stop: int) -> NDArray[Any]:
    """Return rows `start` to `stop` of an (N, D) dataset, or of a (1, N, D) one."""
    found = dataset[0, start:stop] if dataset.ndim == 3 else dataset[start:stop]
    return np.asarray(found)


def blocks(dataset: Dataset, n_rows: int) -> Iterator[NDArray[Any]]:
    """Yield a dataset's rows a few thousand at a time, however small its chunks are."""
    for start in range(0, n_rows, ROWS):
        yield rows(dataset, start, min(start + ROWS, n_rows))


def shape_2d(dataset: Dataset) -> tuple[int, int] | None:
    """Return the (N, D) of a dataset that is (N, D) or (1, N, D), else None."""
    shape = dataset.shape
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    return (int(shape[0]), int(shape[1])) if len(shape) == 2 else None


def attributes(owner: Any) -> dict[str, Any]:
    """Return what is said of a file or dataset: numbers, texts and lists of numbers.

    What is something else, or long, is left out; None is what TRIDENT writes as ``'None'``.
    """
    found: dict[str, Any] = {}
    for name in list(owner.attrs)[:200]:
        described = owner.attrs.get_id(name)
        if described.dtype.hasobject and not _is_text(described.dtype):
            continue
        if math.prod(described.shape or ()) > 64 or described.get_storage_size() > _MAX_ATTRIBUTE:
            continue
        found[name] = _plain(owner.attrs[name])
    return found


def number(values: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of the named values that is a number as slides have them, above 0."""
    for name in names:
        value = values.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, int | float) and 1e-6 < value < 1e9:  # not for NaN
            return float(value)
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return None if value == "None" else value[:1000]
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.reshape(-1).tolist()]
    return value.item() if isinstance(value, np.generic) else value


def _is_text(dtype: np.dtype[Any]) -> bool:
    import h5py

    return h5py.check_string_dtype(dtype) is not None


def _problem(dataset: Dataset) -> str:
    """Return what is wrong with a dataset before a byte of it is read."""
    if dataset.external or dataset.is_virtual:
        return "lies in other files, which are not opened"
    if dataset.dtype.kind not in "fiu" or dataset.shape is None or not 1 <= dataset.ndim <= 3:
        return f"is {dataset.dtype} of shape {dataset.shape}, no plain table of numbers"
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if size > _MAX_BYTES:
        return f"claims {size / 2**30:.0f} GB"
    if size > 2**20 and size > _MAX_RATIO * dataset.id.get_storage_size():
        return f"claims {size / 2**20:.0f} MB and stores hardly any of it"
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if dataset.chunks and chunk > _MAX_CHUNK:
        return f"comes in chunks of {chunk / 2**20:.0f} MB"
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())}
    return "" if filters <= _FILTERS else "is compressed in a way that only a plugin can read"


def _line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0][:300] if text else type(error).__name__
