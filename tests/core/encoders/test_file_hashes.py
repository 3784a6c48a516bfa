"""A hash is computed once for a file that stays as it is, and never kept for one that does not."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from src_core.encoders import file_hashes
from src_core.encoders.file_hashes import known_sha256, quick_sha256
from src_core.provenance import file_sha256


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, with a list of hashes of the test's own."""
    names: list[str] = []

    def count(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setenv("FUSECPATH_FILE_HASHES", str(tmp_path / "cache" / "hashes.json"))
    monkeypatch.setattr(file_hashes, "file_sha256", count)
    return names


def file(path: Path, content: bytes, *, age: float = 60.0) -> Path:
    path.write_bytes(content)
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def test_a_file_is_read_once_until_it_changes(read: list[str], tmp_path: Path) -> None:
    path = file(tmp_path / "a.pth", b"one")
    link = tmp_path / "link.pth"
    link.symlink_to(path)
    first = hashlib.sha256(b"one").hexdigest()
    assert [known_sha256(path), known_sha256(link), known_sha256(path)] == [first] * 3
    assert read == ["a.pth"]
    file(path, b"two", age=30.0)  # as long as before
    assert known_sha256(path) == hashlib.sha256(b"two").hexdigest()
    file(path, b"three", age=30.0)
    assert known_sha256(path) == hashlib.sha256(b"three").hexdigest()
    assert len(read) == 3


def test_a_file_of_this_very_moment_is_not_remembered(read: list[str], tmp_path: Path) -> None:
    path = file(tmp_path / "a.pth", b"one", age=0.0)
    known_sha256(path)
    stamp = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # within one tick of its clock
    assert known_sha256(path) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"PATH": 3}', '{"PATH": {"sha256": "no", "size": 3}}']
)
def test_a_damaged_list_is_passed_over(read: list[str], tmp_path: Path, content: str) -> None:
    path = file(tmp_path / "a.pth", b"one")
    listed = tmp_path / "cache" / "hashes.json"
    listed.parent.mkdir()
    listed.write_text(content.replace("PATH", str(path)))
    assert known_sha256(path) == known_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert read == ["a.pth"]
    assert list(json.loads(listed.read_text())) == [str(path)]


def test_a_list_that_cannot_be_written_costs_time_only(read: list[str], tmp_path: Path) -> None:
    path = file(tmp_path / "a.pth", b"one")
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert known_sha256(path) == known_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert read == ["a.pth", "a.pth"]


def test_what_is_gone_is_forgotten(read: list[str], tmp_path: Path) -> None:
    gone, stays = file(tmp_path / "gone", b"one"), file(tmp_path / "stays", b"two")
    known_sha256(gone)
    gone.unlink()
    known_sha256(stays)
    listed = json.loads((tmp_path / "cache" / "hashes.json").read_text())
    assert list(listed) == [str(stays)]


def test_a_large_file_is_told_quickly_only_if_it_is_remembered(
    read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, hashed = file(tmp_path / "a.pth", b"one"), hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(file_hashes, "_QUICK_BYTES", 2)
    assert quick_sha256(path) is None
    assert read == []
    known_sha256(path)
    assert quick_sha256(path) == hashed
    assert quick_sha256(file(path, b"two", age=30.0)) is None
    assert quick_sha256(file(tmp_path / "small", b"1")) == hashlib.sha256(b"1").hexdigest()
