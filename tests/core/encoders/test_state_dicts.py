"""A stranger's file of weights runs nothing, takes no memory, and is refused in one sentence."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from src_core.encoders import encoder_card, list_encoders
from src_core.encoders.state_dicts import _LEGACY_MAGIC, check_weights_file, read_state_dict
from src_core.encoders.weights import package_file
from src_core.errors import WeightsUnavailableError

CARD = encoder_card("lite0")
STATE = {"weight": torch.arange(3.0), "half": torch.ones(2, 2, dtype=torch.bfloat16)}


def saved(value: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def rezipped(
    content: bytes, *, method: int = zipfile.ZIP_STORED, change: Callable[[bytes], bytes] = bytes
) -> bytes:
    """The same archive, its description changed or its parts packed."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(stream, "w", method) as new,
    ):
        for part in old.infolist():
            data = old.read(part)
            new.writestr(
                part.filename, change(data) if part.filename.endswith("data.pkl") else data
            )
    return stream.getvalue()


def encrypted(content: bytes) -> bytes:
    """The same archive, each part marked as encrypted where it stands and in the list of parts."""
    changed = bytearray(content)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(mark)
        while at >= 0:
            changed[at + place] |= 1
            at = changed.find(mark, at + 1)
    return bytes(changed)


def header(text: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


class Evil:
    """Would touch a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_comes_back_as_it_was_saved(tmp_path: Path, *, legacy: bool) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(saved(STATE, legacy=legacy))
    found = read_state_dict(CARD, path)
    assert list(found) == list(STATE)
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_parameters_and_an_ordered_dict_are_tensors_too(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    path = tmp_path / "w.bin"
    path.write_bytes(saved(dict(network.named_parameters())))
    assert set(read_state_dict(CARD, path)) == {"weight", "bias"}
    path.write_bytes(saved(network.state_dict()))
    assert torch.equal(read_state_dict(CARD, path)["weight"], network.weight)


@pytest.mark.parametrize("name", [n for n in list_encoders("patch") if encoder_card(n).package])
def test_the_weights_that_come_with_the_program_pass(name: str) -> None:
    try:
        path = package_file(encoder_card(name))
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    check_weights_file(path, what=name)


def hostile(tmp_path: Path) -> dict[str, bytes]:
    huge = saved({"a": torch.arange(4.0)})
    wide = {"a": torch.zeros(1).expand(1_000_000)}
    packed = saved({"a": torch.zeros(100_000)})
    return {
        "empty.pth": b"",
        "empty.safetensors": b"",
        "text.pth": b"not found",
        "page.safetensors": b"<html>404</html>",
        "torn.safetensors": save(STATE)[:20],
        "cut.safetensors": save(STATE)[:-4],
        "torn.pth": b"PK\x03\x04" + b"0" * 64,
        "cut.pth": huge[:-40],
        "cut-legacy.pth": saved(STATE, legacy=True)[:-4],
        "evil.pth": pickle.dumps(Evil(tmp_path / "touched"), protocol=2),
        "evil-zip.pth": saved({"a": Evil(tmp_path / "touched")}),
        "evil-legacy.pth": saved({"a": Evil(tmp_path / "touched")}, legacy=True),
        "list.pth": saved([torch.zeros(1)]),
        "nested.pth": saved({"model": {"a": {"b": torch.zeros(1)}}}),
        "module.pth": saved(torch.nn.Linear(2, 2)),
        "long.safetensors": header(b"{}", length=2**40),
        "large-header.safetensors": header(b"{" + b" " * 2**20, length=2**25),
        "absurd.safetensors": header(
            b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
        ),
        "overlap.safetensors": header(
            b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}' + bytes(4)
        ),
        "encrypted.pth": encrypted(huge),
        "bomb.pth": rezipped(packed, method=zipfile.ZIP_DEFLATED),
        "numel.pth": rezipped(
            huge, change=lambda data: data.replace(b"cpuq\x06K\x04t", b"cpuq\x06J\0\0\0\x7ft")
        ),
        "numel-long.pth": rezipped(
            huge,
            change=lambda data: data.replace(b"cpuq\x06K\x04t", b"cpuq\x06\x8a\x06\0\0\0\0\0\x10t"),
        ),
        "wide.pth": saved(wide),
        "bytearray.pth": rezipped(
            huge, change=lambda data: b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R."
        ),
        "text-legacy.pth": _LEGACY_MAGIC + b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.",
        "memo.pth": rezipped(huge, change=lambda data: b"\x80\x02}r\xff\xff\xff\x7f."),
    }


@pytest.mark.parametrize("name", list(hostile(Path())))
def test_a_damaged_or_hostile_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(hostile(tmp_path)[name])
    with pytest.raises(
        WeightsUnavailableError, match="cannot be read as weights of lite0"
    ) as caught:
        read_state_dict(CARD, path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "touched").exists()


def test_no_memory_is_taken_for_what_a_file_only_claims(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content in hostile(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsUnavailableError):
            read_state_dict(CARD, tmp_path / name)
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 2e8


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match="is not a file"):
        check_weights_file(tmp_path, what="lite0")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        with pytest.raises(WeightsUnavailableError, match="is not a file"):
            check_weights_file(tmp_path / "pipe.pth", what="lite0")
    with pytest.raises(WeightsUnavailableError, match="is not there"):
        check_weights_file(tmp_path / "none.pth", what="lite0")
