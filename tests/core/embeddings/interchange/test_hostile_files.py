"""Files of people who mean no good."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from src_core.embeddings.interchange.files import read_file
from src_core.embeddings.interchange.records import PatchFile
from src_core.errors import ExchangeError
from tests.core.embeddings.interchange.written import COORDS, FEATURES, rewritten, tridents, write


class _Runs:
    def __reduce__(self) -> Any:
        return (Path("/nowhere").touch, ())


def linked(file: h5py.File, kind: str, folder: Path) -> None:
    """Features that are elsewhere."""
    other = write(folder / "other.h5", coords=COORDS, features=FEATURES)
    if kind == "external link":
        file["features"] = h5py.ExternalLink(str(other), "features")
    elif kind == "soft link":
        file["hidden"] = FEATURES
        file["features"] = h5py.SoftLink("/hidden")
    elif kind == "external storage":
        (folder / "secret").write_bytes(b"\0" * 240)
        raw = [(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("features", (12, 5), "f4", external=raw)
    else:
        layout = h5py.VirtualLayout((12, 5), "f4")
        layout[:] = h5py.VirtualSource(str(other), "features", (12, 5))
        file.create_virtual_dataset("features", layout)


def large(file: h5py.File, kind: str, folder: Path) -> None:
    """Features that would fill the memory."""
    if kind == "bomb":
        zeros = np.zeros((12_000, 1024), "f4")
        file.create_dataset("features", data=zeros, compression="gzip", chunks=(1000, 1024))
        return
    rows = 10**6 if kind == "empty promise" else 10**10
    chunks = (100_000, 1024) if kind == "huge chunks" else (64, 1024)
    rows = 50 if kind == "huge chunks" else rows
    file.create_dataset("features", (rows, 1024), "f4", chunks=chunks, maxshape=(None, 1024))


WRONG: dict[str, dict[str, Any]] = {
    "texts": {"coords": COORDS, "features": np.array([b"a"] * 12, dtype=object)},
    "too few corners": {"coords": COORDS[:-1], "features": FEATURES},
    "no corners": {"features": FEATURES},
    "five columns": {"coords": np.zeros((12, 5)), "features": FEATURES},
    "nan corners": {"coords": np.where(COORDS == 512, np.nan, COORDS), "features": FEATURES},
    "no patches": {"coords": COORDS[:0], "features": FEATURES[:0]},
    "whole numbers": {"coords": COORDS, "features": FEATURES.astype(int)},
}
LINKED = ("external link", "soft link", "external storage", "virtual")
LARGE = ("empty promise", "terabytes", "huge chunks", "bomb")


def hostile(kind: str, folder: Path) -> Path:
    path = folder / "h5_files" / "a.h5"
    if kind in WRONG:
        return write(path, **WRONG[kind])
    if kind in (*LINKED, *LARGE, "group"):
        write(path, coords=COORDS)
        with h5py.File(path, "r+") as file:
            if kind == "group":
                file.create_group("features")
            else:
                (linked if kind in LINKED else large)(file, kind, folder)
        return path
    if kind == "cut off":
        write(path, coords=COORDS, features=FEATURES)
        path.write_bytes(path.read_bytes()[:-200])
        return path
    if kind in ("text", "picture"):
        path = folder / ("a.h5" if kind == "text" else "a.png")
        path.write_bytes(b"text")
        return path
    path = folder / "pt_files" / "a.pt"
    path.parent.mkdir()
    torch.save({"features": torch.zeros(12, 5)}, path)
    if kind == "wide tensor":
        torch.save(torch.zeros(1).expand(12, 60_000), path)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Runs()))
    if kind != "lonely tensor":
        write(folder / "h5_files" / "a.h5", coords=COORDS, features=FEATURES)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("external link", "link to somewhere else"),
        ("soft link", "link to somewhere else"),
        ("external storage", "in other files"),
        ("virtual", "in other files"),
        ("empty promise", "stores hardly any"),
        ("terabytes", "claims 38147 GB"),
        ("huge chunks", "in chunks of 391 MB"),
        ("bomb", "stores hardly any"),
        ("texts", "no plain table"),
        ("group", "no array"),
        ("too few corners", "12 embeddings and 11 corners"),
        ("no corners", "no coords"),
        ("five columns", "not .patches, 2."),
        ("nan corners", "no finite numbers"),
        ("no patches", "holds no patches"),
        ("whole numbers", "not numbers of"),
        ("cut off", "cannot be read"),
        ("text", "cannot be read as HDF5"),
        ("picture", "none of .h5"),
        ("pickle", "no tensor alone"),
        ("dictionary", "no tensor of numbers"),
        ("lonely tensor", "no corners of patches"),
        ("wide tensor", "claims more numbers than it holds"),
    ],
)
def test_a_strangers_file_is_refused_in_a_sentence(
    tmp_path: Path, kind: str, sentence: str
) -> None:
    with pytest.raises(ExchangeError, match=sentence):
        read_file(hostile(kind, tmp_path))


@pytest.mark.parametrize(
    "about",
    [
        {"patch_size": 1e-300, "patch_size_level0": 1e300, "overlap": 5},
        {"patch_size": 256, "patch_level": 0, "level_dim": ["a", "b"]},
        {"patch_size": 256, "patch_level": 0, "level_dim": [np.nan, 1.0]},
        {"patch_size": "256", "patch_level": "0", "name": 7, "wsi_name": [1, 2]},
    ],
)
def test_what_a_stranger_says_is_left_out_if_it_is_nonsense(tmp_path: Path, about: Any) -> None:
    said = {"coords": about, "features": {"encoder": 5}}
    found = read_file(write(tmp_path / "a.h5", said, coords=COORDS, features=FEATURES))
    assert isinstance(found, PatchFile)
    assert (found.slide, found.encoder, found.level0_size) == ("a", None, None)


class _OfArrays:
    """Calls what only an array's pickle may name."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.called = call, arguments

    def __reduce__(self) -> Any:
        return self.called


def at_once(count: int) -> Any:
    return lambda pickled: pickled.replace(
        b"K\x0cK\x05\x86", b"M" + count.to_bytes(2, "little") + b"K\x05\x86"
    )


HOSTILE: dict[str, tuple[Any, Any]] = {
    "runs": (_Runs(), None),
    "memory": (_OfArrays(np.ndarray, (10**6, 10**6)), None),
    "state that runs": (np.array([[_Runs()]], dtype=object), None),
    "two arrays": ([FEATURES, FEATURES], None),
    "texts": (np.array([["a", "b"]]), None),
    "whole numbers": (FEATURES.astype(np.int64), None),
    "one axis": (FEATURES[0], None),
    "more rows than numbers": (FEATURES, at_once(60_000)),
    "fewer rows than numbers": (FEATURES, at_once(11)),
    "another call": (FEATURES, lambda one: one.replace(b"_codecs\nencode", b"posix\nsystem")),
    "another class": (FEATURES, lambda one: one.replace(b"numpy\nndarray", b"numpy\nmatrix_")),
    "cut off": (FEATURES, lambda one: one[:-40]),
    "text that is none": (FEATURES, lambda one: one.replace(b"\xc2\x80", b"\xff\xfe")),
    "endless": (FEATURES, lambda one: one[:-1] + b"q\x00" * 10**5 + b"."),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_pickle_that_is_not_one_array_is_refused_and_nothing_of_it_runs(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, change = HOSTILE[kind]
    ran: list[Any] = []
    path = tridents(tmp_path, values)
    if change is not None:
        before = path.read_bytes()
        rewritten(path, change)
        assert path.read_bytes() != before
    monkeypatch.setattr(Path, "touch", lambda *_: ran.append(1))
    with pytest.raises(ExchangeError, match=r"not one whole array|is no tensor") as caught:
        read_file(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert ran == []


def test_no_array_is_made_before_it_is_known_to_be_whole(tmp_path: Path) -> None:
    path = tridents(tmp_path, np.zeros((12, 200_000), np.float32)[:, :60_000].copy())
    rewritten(path, lambda one: one.replace(b"M`\xea", b"J\x00\x00\x00\x7f"))
    tracemalloc.start()
    try:
        with pytest.raises(ExchangeError, match="not one whole array"):
            read_file(path)
        assert tracemalloc.get_traced_memory()[1] < 6 * path.stat().st_size
    finally:
        tracemalloc.stop()
