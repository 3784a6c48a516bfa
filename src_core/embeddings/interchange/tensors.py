"""Bare tables of embeddings in torch's files: CLAM's tensor, or the array that TRIDENT saves.

TRIDENT joins its features by numpy and hands the array to ``torch.save``, which pickles it. Such a
pickle says the same words in the same order for every array. So it is compared with them word by
word and never run: nothing that it names is looked up, called or filled, as any unpickler would
do, and what it holds besides is refused.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src_core.embeddings.interchange.hdf5 import ROWS
from src_core.encoders.state_dicts import check_weights_file
from src_core.errors import ExchangeError
from src_core.patches.lattice import MAX_CELLS

if TYPE_CHECKING:
    import torch

__all__ = ["Table", "read_table"]

_LONGEST = 65_536
_MOST_BYTES = 4 * 2**30
"""Of a pickled array: ``torch.save`` counts the length of a text in 32 bits."""
_MOST_STEPS = 200
"""Words and what remembers them; an array's pickle has 70."""

_Word: TypeAlias = tuple[str, Any]

_PUT = frozenset({"BINPUT", "LONG_BINPUT"})
_GET = frozenset({"BINGET", "LONG_BINGET"})
_VALUES = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"})
_CONSTANTS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True}


def _value(value: Any) -> _Word:
    return "value", value


_NEW, _TYPE, _ENCODE = (
    ("GLOBAL", name)
    for name in ("numpy.core.multiarray _reconstruct", "numpy dtype", "_codecs encode")
)
_CALL, _MARK, _FILL = (("REDUCE", None), ("MARK", None), ("BUILD", None))
_ONE, _TWO, _THREE, _ALL = ((name, None) for name in ("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"))
_LATIN = _value("latin1")

_ARRAY: tuple[_Word | str, ...] = (
    *(_NEW, ("GLOBAL", "numpy ndarray"), _value(0), _ONE),
    *(_ENCODE, _value("b"), _LATIN, _TWO, _CALL, _THREE, _CALL),
    *(_MARK, _value(1), "rows", "columns", _TWO),
    *(_TYPE, "kind", _value(False), _value(True), _THREE, _CALL),
    *(_MARK, _value(3), "order", *(_value(None),) * 3, *(_value(-1),) * 2, _value(0), _ALL, _FILL),
    *("by_columns", _ENCODE, "numbers", _LATIN, _TWO, _CALL, _ALL, _FILL, ("STOP", None)),
)
"""What pickle says of an array of two axes (``ndarray.__reduce__``); names are what differs."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Embeddings, one a row; a tensor's stay in the file until they are asked for."""

    dim: int
    stored_as: str
    """``"float16"``, or ``"float32"`` for whatever else."""
    rows: torch.Tensor | NDArray[Any]

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the rows as float32, a few thousand at a time."""
        for start in range(0, len(self.rows), ROWS):
            block = self.rows[start : start + ROWS]
            if isinstance(block, np.ndarray):
                yield block.astype(np.float32)
            else:
                yield block.detach().float().numpy()


def read_table(path: Path) -> Table:
    """Read a file that ``torch.save`` wrote of one tensor, or of one array of numpy.

    No code of the file runs, and it takes no more memory than a few times the file's length.

    Raises
    ------
    ExchangeError
        If it is neither, is damaged, or claims more numbers than it holds.
    """
    array = _array(path)
    if array is not None:
        kind = "float16" if array.dtype.itemsize == 2 else "float32"
        return Table(array.shape[1], kind, array)
    tensor = _tensor(path)
    kind = "float16" if str(tensor.dtype) == "torch.float16" else "float32"
    return Table(tensor.shape[1], kind, tensor)


def _tensor(path: Path) -> torch.Tensor:
    """Map CLAM's tensor, (patches, dimensions)."""
    import torch

    try:
        check_weights_file(path, what="patches")
        tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a stranger's pickle raises
        raise ExchangeError(f"{path} is no tensor alone; nothing else is loaded.") from error
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        raise ExchangeError(f"{path} is no tensor of numbers.")
    if tensor.layout != torch.strided or tensor.nbytes > path.stat().st_size:
        raise ExchangeError(f"{path} claims more numbers than it holds; extract it again.")
    table: torch.Tensor = tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor
    if table.ndim != 2 or not _is_table(len(table), table.shape[1]):
        raise ExchangeError(f"{path} has shape {tuple(tensor.shape)}, not (patches, dimensions).")
    return table


def _is_table(rows: int, columns: int) -> bool:
    return 0 <= rows <= MAX_CELLS and 0 < columns <= _LONGEST


def _array(path: Path) -> NDArray[Any] | None:
    """Return the array of a file, (patches, dimensions), or None if it is of something else."""
    if not path.is_file():  # opening a pipe would wait for ever
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = _description(archive)
            if pickled is None:
                return None
            with archive.open(pickled) as stream:
                if next(_words(stream), None) != _NEW:
                    return None
            with archive.open(pickled) as stream:
                return _from_words(stream)
    except (zipfile.BadZipFile, NotImplementedError):
        return None  # a tensor before torch 1.6, or no file of torch at all
    except (OSError, EOFError, ValueError, KeyError, MemoryError) as error:
        raise ExchangeError(
            f"{path} is not one whole array of numbers, (patches, dimensions), and nothing else is "
            f"loaded ({error}); extract it again."
        ) from error


def _description(archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    """Return the part that describes the rest, which torch never packs; None if it is odd."""
    found = [one for one in archive.infolist() if one.filename.endswith("/data.pkl")]
    if len(found) != 1 or found[0].compress_type != zipfile.ZIP_STORED or found[0].flag_bits & 1:
        return None
    return found[0] if found[0].file_size <= _MOST_BYTES else None


def _words(stream: IO[bytes]) -> Iterator[_Word]:
    """Yield what a pickle says, each word that it remembers and repeats in full."""
    memory: dict[Any, _Word] = {}
    word: _Word = ("", None)
    for opcode, value, _ in islice(pickletools.genops(stream), _MOST_STEPS):
        name = opcode.name
        if name == "PROTO":
            continue
        if name in _PUT:
            memory[value] = word
            continue
        if name in _GET:
            word = memory[value]
        elif name == "GLOBAL":  # numpy 2 has moved what it names
            word = name, str(value).replace("numpy._core.", "numpy.core.")
        elif name in _VALUES:
            word = _value(value)
        elif name in _CONSTANTS:
            word = _value(_CONSTANTS[name])
        else:
            word = name, value
        yield word


def _from_words(stream: IO[bytes]) -> NDArray[Any]:
    """Return the array that a pickle tells; `ValueError` if it tells of anything else."""
    told: dict[str, Any] = {}
    spoken = _words(stream)
    for wanted in _ARRAY:
        word = next(spoken, ("the end", None))
        if isinstance(wanted, str) and word[0] == "value":
            told[wanted] = word[1]
        elif word != wanted:
            raise ValueError(f"it says {word[0]} {str(word[1])[:60]} too")
    rows, columns = told["rows"], told["columns"]
    whole = type(rows) is int and type(columns) is int and _is_table(rows, columns)
    if not whole or told["kind"] not in ("f2", "f4", "f8") or told["order"] not in ("<", ">"):
        raise ValueError(f"it is {told['order']}{told['kind']} of shape {rows}, {columns}")
    if not isinstance(told["numbers"], str):
        raise ValueError("it holds no numbers")
    dtype = np.dtype(f"{told['order']}{told['kind']}")
    raw = told.pop("numbers").encode("latin1")
    if len(raw) != rows * columns * dtype.itemsize:
        raise ValueError(f"it holds {len(raw)} bytes for {rows} x {columns} numbers")
    return np.frombuffer(raw, dtype).reshape(
        (rows, columns), order="F" if told["by_columns"] is True else "C"
    )
