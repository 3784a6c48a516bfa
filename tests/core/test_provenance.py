"""Artifacts are whole or absent, known by their recipe, and distrusted when read."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core import provenance
from src_core.errors import ProjectError, SlideReadError, StaleArtifactError, StorageFullError
from src_core.provenance import (
    check_recipe,
    file_fingerprint,
    read_array,
    read_json,
    recipe_id,
    write_array,
    write_atomically,
    write_json,
    written_whole,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def test_the_name_of_a_recipe_is_fixed_for_good() -> None:
    # A change of this value orphans every artifact that was ever stored.
    assert recipe_id({"patch_px": 256, "mpp": 0.5}) == recipe_id({"mpp": 0.5, "patch_px": 256})
    assert recipe_id({"patch_px": 256, "mpp": 0.5}) == "3127dceb2bbcdca0"


@given(st.dictionaries(st.text(), JSON, max_size=4), st.text(), JSON)
def test_another_recipe_has_another_name(recipe: dict, key: str, value: object) -> None:
    changed = {**recipe, key: value}
    same_text = json.dumps(changed, sort_keys=True) == json.dumps(recipe, sort_keys=True)
    assert (recipe_id(changed) == recipe_id(recipe)) == same_text


def test_a_recipe_that_json_cannot_hold_is_a_bug() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        recipe_id({"mpp": float("nan")})


def test_the_first_key_that_differs_is_named_with_both_values() -> None:
    check_recipe({"a": 1, "b": [1]}, {"b": [1], "a": 1}, what="The embeddings")
    with pytest.raises(
        StaleArtifactError, match=r"^The embeddings were made with mpp = 0.5, not 1"
    ):
        check_recipe({"mpp": 0.5, "z": 1}, {"mpp": 1.0, "z": 2}, what="The embeddings")
    with pytest.raises(StaleArtifactError, match="stain = None, not 'he'"):
        check_recipe({}, {"stain": "he"}, what="x")


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_json_reads_back(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    path = tmp_path_factory.mktemp("json") / "a" / "meta.json"
    write_json(path, values)
    assert read_json(path) == values
    assert [file.name for file in path.parent.iterdir()] == ["meta.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": 1e999}', "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
        (b"[1]", "does not hold named values"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "does not hold named values"),
    ],
)
def test_damaged_json_is_one_sentence_that_names_the_file(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=words) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def npy(descr: str, shape: str) -> bytes:
    """Return a file whose header claims this, with 64 bytes behind it."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(64)


def test_a_plain_header_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "cells.npy"
    path.write_bytes(npy("'<i4'", "(8, 2)"))
    assert read_array(path, dtype=np.int32, shape=(None, 2)).shape == (8, 2)
    write_array(path, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert read_array(path, dtype=np.float64, shape=(2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    write_array(path, np.empty((0, 2), np.int32))
    assert len(read_array(path, dtype=np.int32, shape=(None, 2))) == 0


@pytest.mark.parametrize(
    "content",
    [
        npy("'<i4'", "(1000000000000000, 2)"),
        npy("'<i4'", "(4294967296, 4294967296)"),  # 2**64 numbers: none, to a 64-bit product
        npy("'<i4'", "(-8, 2)"),
        npy("'<i4'", "(" * 5000),
        npy("'|O'", "(8, 2)"),
        npy("[('a', '<i4')]", "(8, 2)"),
        npy("__import__('os')", "(8, 2)"),
        b"PK\x03\x04 an archive, which NumPy would open",
        b"\x80\x04 a pickle",
        b"\x93NUMPY\x02\0\xff\xff\xff\x7f{",
        b"",
    ],
)
def test_a_hostile_array_is_one_sentence_that_names_the_file(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "cells.npy"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match="cannot be read as an array") as caught:
        read_array(path, dtype=np.int32, shape=(None, 2))
    assert str(path) in str(caught.value)


def test_missing_and_oversized_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "meta.json"
    with pytest.raises(ProjectError, match="cannot be read"):
        read_json(path)
    write_json(path, {"text": "a" * 1000})
    monkeypatch.setattr(provenance, "MAX_JSON_BYTES", 500)
    with pytest.raises(ProjectError, match="too large"):
        read_json(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")
def test_a_pipe_in_the_place_of_json_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "meta.json")
    for path in (tmp_path / "meta.json", tmp_path):
        with pytest.raises(ProjectError, match=f"{path.name} is no file; remove it"):
            read_json(path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    write_json(path, {"version": 1})

    def half(stream: IO[bytes]) -> None:
        stream.write(b'{"version"')
        raise OSError("disk full")

    with pytest.raises(ProjectError, match="disk full"):
        write_atomically(path, half)
    assert read_json(path) == {"version": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"version": float("inf")})
    assert [file.name for file in tmp_path.iterdir()] == ["meta.json"]


def _rewrite_forever(path: str) -> None:
    number = 0
    while True:
        number += 1
        write_array(Path(path), np.full(200_000, number, dtype=np.int64))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_reader_never_sees_half_an_array_even_after_kill(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npy"
    process = multiprocessing.get_context("spawn").Process(
        target=_rewrite_forever, args=(str(path),)
    )
    process.start()
    while not path.exists():
        assert process.is_alive()
        time.sleep(0.01)
    for _ in range(20):
        array = read_array(path, dtype=np.int64, shape=(200_000,))
        assert array[0] == array[-1]
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    array = read_array(path, dtype=np.int64, shape=(200_000,))
    assert (array == array[0]).all()


def test_arrays_read_back_as_read_only_maps(tmp_path: Path) -> None:
    path = tmp_path / "cells.npy"
    cells = np.arange(12, dtype=np.int32).reshape(6, 2)
    write_array(path, cells)
    array = read_array(path, dtype=np.int32, shape=(None, 2))
    assert isinstance(array, np.memmap)
    assert np.array_equal(array, cells)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    assert read_array(path, dtype=(np.int64, np.int32), shape=(6, None)).dtype == np.int32


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.int64, (6, 2)), (np.int32, (6, 3)), (np.int32, (12,)), (np.int32, (None, None, None))],
)
def test_an_array_that_is_not_what_belongs_there_is_refused(
    tmp_path: Path, dtype: type, shape: tuple[int | None, ...]
) -> None:
    path = tmp_path / "cells.npy"
    write_array(path, np.zeros((6, 2), dtype=np.int32))
    with pytest.raises(ProjectError, match=r"cells\.npy holds int32 of shape \(6, 2\)"):
        read_array(path, dtype=dtype, shape=shape)


def test_damaged_arrays_are_refused_and_run_no_code(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_array(path, np.arange(1000))
    whole = path.read_bytes()
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    damaged = {
        "empty": b"",
        "cut.npy": whole[:-100],
        "header": whole[:20],
        "text": b"hello",
        "pickle": (tmp_path / "objects.npy").read_bytes(),
    }
    for name, content in damaged.items():
        path.write_bytes(content)
        with pytest.raises(ProjectError, match="cannot be read as an array"):
            read_array(path, dtype=np.int64, shape=(None,))
        assert path.exists(), name
    with pytest.raises(ProjectError, match="cannot be read as an array"):
        read_array(tmp_path / "missing.npy", dtype=np.int64, shape=(None,))


def test_a_fingerprint_follows_the_content_not_the_name(tmp_path: Path) -> None:
    size = 1_000_000
    content = bytearray(np.random.default_rng(0).bytes(size))
    one, two = tmp_path / "one.svs", tmp_path / "two.svs"
    one.write_bytes(content)
    two.write_bytes(content)
    assert file_fingerprint(one) == file_fingerprint(two)
    for place in (10, size // 2 + 10, size - 10):
        changed = bytearray(content)
        changed[place] ^= 1
        two.write_bytes(changed)
        assert file_fingerprint(one) != file_fingerprint(two), place
    two.write_bytes(content + b"\0")
    assert file_fingerprint(one) != file_fingerprint(two)
    (tmp_path / "small").write_bytes(b"abc")
    assert len(file_fingerprint(tmp_path / "small")) == 32


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")
def test_a_pipe_has_no_fingerprint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(SlideReadError, match=f"{path.name} is neither"):
            file_fingerprint(path)


def test_who_opens_the_file_itself_leaves_no_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.h5"
    with written_whole(path) as temporary:
        temporary.write_bytes(b"one")
        assert not path.exists()

    def half(error: Exception) -> None:
        with written_whole(path) as temporary:
            temporary.write_bytes(b"two")
            raise error

    for error, kind in (
        (OSError(errno.ENOSPC, "no room"), StorageFullError),
        (OSError("no right"), ProjectError),
        (KeyError("a bug"), KeyError),
    ):
        with pytest.raises(kind):
            half(error)
        assert path.read_bytes() == b"one"
    assert [one.name for one in path.parent.iterdir()] == ["table.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
def test_an_array_for_which_there_is_no_room_is_told_as_a_full_disk(
    tmp_path: Path, project_root: Path
) -> None:
    """By the kernel itself: numpy's own way into a file swallows the reason."""
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np;"
        f"sys.path.insert(0, {str(project_root)!r});"
        "from src_core.provenance import write_array;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000));"
        f"write_array(Path({str(tmp_path)!r}) / 'a.npy', np.zeros(100_000))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StorageFullError: The disk that holds" in done.stderr
    assert list(tmp_path.iterdir()) == []
