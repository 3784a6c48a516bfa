"""Reading named tensors from files of strangers: no code of theirs runs, no memory is wasted.

safetensors checks its own header against the file. A torch file is a pickle beside raw numbers:
what the pickle names and how large its numbers are is looked at before torch loads anything.
"""

from __future__ import annotations

import pickle
import pickletools
import stat
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from src_core.encoders.cards import EncoderCard
from src_core.errors import WeightsUnavailableError

if TYPE_CHECKING:
    import torch

__all__ = ["check_weights_file", "read_state_dict"]

_MAX_HEADER_BYTES = 16 * 2**20
"""Names and shapes of the largest encoders take less than one."""
_MAX_ENTRIES = 100_000
_ENCRYPTED = 1
"""Bit of a part's flags in a zip archive."""
_MAX_STEPS = 2_000_000
_LEAST_LARGEST = 2**16
"""The pickle of a tiny file counts its format's version and the like."""
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch's files begin that are no zip archives (before torch 1.6)."""
_PLAIN_TENSORS = {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    "torch.storage UntypedStorage",
}


def check_weights_file(path: Path, *, what: str) -> None:
    """Raise unless `path` looks like a file of tensors; nothing is loaded and torch not imported.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        Names the weights in the sentence, e.g. ``"lite0"``.

    Raises
    ------
    WeightsUnavailableError
        If it is missing, no plain file, empty, damaged, or claims more than it can hold.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise WeightsUnavailableError(
                f"{path}, given as the weights of {what}, is not a file; give a .safetensors, "
                ".pth or .bin file."
            )
        with path.open("rb") as stream:
            _check_content(path, stream, status.st_size)
    except WeightsUnavailableError:
        raise
    except FileNotFoundError as error:
        raise WeightsUnavailableError(
            f"{path}, given as the weights of {what}, is not there; correct the path."
        ) from error
    except (OSError, ValueError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        # MemoryError: a text in the pickle claims to be longer than any memory.
        raise _unreadable(path, what) from error


def read_state_dict(card: EncoderCard, path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from a safetensors or torch file without running code from it.

    Where a checkpoint of a training holds them under ``"model"``, beside other things, those are
    taken.

    Raises
    ------
    WeightsUnavailableError
        If the file is damaged, holds anything but named tensors, or claims more than it can hold.
    """
    check_weights_file(path, what=card.name)
    import safetensors
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, card.name) from error
    except (pickle.UnpicklingError, safetensors.SafetensorError) as error:
        raise _unreadable(path, card.name) from error
    if isinstance(values, dict) and isinstance(values.get("model"), dict):
        values = values["model"]
    size = path.stat().st_size
    tensors = isinstance(values, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) and value.nbytes <= size
        for key, value in values.items()
    )
    if not tensors:
        raise _unreadable(path, card.name)
    return dict(values)


def _check_content(path: Path, stream: IO[bytes], size: int) -> None:
    if path.suffix == ".safetensors":
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8) or stream.read(1) != b"{":
            raise ValueError("no header of safetensors")
        return
    if stream.read(len(_LEGACY_MAGIC)) == _LEGACY_MAGIC:
        for _ in ("protocol", "system"):
            _check_pickle(stream, largest=size, plain=True)
        _check_pickle(stream, largest=size)  # the tensors' names and shapes
        _check_pickle(stream, largest=size, plain=True)  # the keys of what follows
        return
    _check_archive(stream, size)


def _check_archive(stream: IO[bytes], size: int) -> None:
    """Raise `ValueError` unless a zip archive is as long as its parts and describes tensors."""
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or len(parts) > _MAX_ENTRIES or sum(part.file_size for part in parts) > size:
            raise ValueError("a packed archive")  # torch packs nothing: this one would unfold
        if any(part.flag_bits & _ENCRYPTED for part in parts):
            raise ValueError("an encrypted archive")
        descriptions = [part for part in parts if part.filename.endswith("/data.pkl")]
        if len(descriptions) != 1 or descriptions[0].file_size > _MAX_HEADER_BYTES:
            raise ValueError("no description of tensors")
        with archive.open(descriptions[0]) as description:
            _check_pickle(description, largest=size)


def _check_pickle(stream: IO[bytes], *, largest: int, plain: bool = False) -> None:
    """Raise `ValueError` if a pickle names more than tensors, or a number that the file belies.

    Its numbers are lengths, strides and places of tensors within the file, so none is larger
    than the file itself.
    """
    for step, (opcode, value, _) in enumerate(pickletools.genops(stream)):
        if step > _MAX_STEPS:
            raise ValueError("it is longer than any network's")
        if opcode.name == "GLOBAL":
            module, _, name = str(value).partition(" ")
            storage = module == "torch" and name.endswith("Storage")
            if plain or not (storage or value in _PLAIN_TENSORS):
                raise ValueError(f"it names {value}")
        elif opcode.name in {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}:
            raise ValueError("it makes objects")
        elif isinstance(value, int) and value > max(largest, _LEAST_LARGEST):
            raise ValueError("it claims more than the file holds")


def _unreadable(path: Path, what: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"{path} cannot be read as weights of {what}: it is empty, damaged, encrypted, or holds "
        "more than tensors; download it again, or save its state dict as safetensors."
    )
