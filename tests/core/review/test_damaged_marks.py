"""Damage to a file of marks, and what could not be read back from one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.review import marks
from src_core.review.marks import MAX_FILE_BYTES, MAX_LINE_BYTES, MarkStore
from tests.core.review.painted import A, B, C, labels


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slide" / "review" / "marks.jsonl"


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_costs_that_act_alone(path: Path, kept: int) -> None:
    store = MarkStore(path)
    store.add([A], label="tumour", reviewer="ada")
    whole = path.read_bytes()
    store.add([B], label="stroma", reviewer="ada")
    last = path.read_bytes()[len(whole) :].rstrip(b"\n")
    path.write_bytes(whole + last[:kept])
    after = MarkStore(path)
    assert labels(after) == {A: "tumour"}
    after.add([C], label="stroma", reviewer="ada")
    assert path.read_bytes().startswith(whole + b"{")
    assert labels(MarkStore(path)) == {A: "tumour", C: "stroma"}
    after.add([B], label="fat", reviewer="ada")
    assert len(path.read_bytes().splitlines()) == 3


def test_a_last_line_that_lacks_only_its_end_is_kept(path: Path) -> None:
    MarkStore(path).add([A], label="tumour", reviewer="ada")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    seen = MarkStore(path)
    assert labels(seen) == {A: "tumour"}
    MarkStore(path).add([B], label="stroma", reviewer="ada")
    assert labels(seen) == {A: "tumour", B: "stroma"}
    assert labels(MarkStore(path)) == {A: "tumour", B: "stroma"}


def _paint_forever(path: str) -> None:
    store = MarkStore(Path(path))
    for x in range(10_000):
        store.add([(x, 0, 1, 1)] * 50, label="tumour", reviewer="ada")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_kill_in_the_middle_of_painting_loses_nothing_that_was_stored(path: Path) -> None:
    painter = multiprocessing.get_context("spawn").Process(target=_paint_forever, args=(str(path),))
    painter.start()
    while not path.exists() or path.stat().st_size < 20_000:
        assert painter.is_alive()
    os.kill(painter.pid or 0, signal.SIGKILL)
    painter.join()
    whole_lines = path.read_bytes().count(b"\n")
    store = MarkStore(path)
    assert len(store.current()) == whole_lines > 5
    store.undo(reviewer="ada")
    assert len(MarkStore(path).current()) == whole_lines - 1


def mark_line(**changes: object) -> str:
    values = {"act": "mark", "id": "x", "time": "t", "reviewer": "r", "label": "a", "squares": [A]}
    return json.dumps({**values, **changes})


HOSTILE = {
    "not JSON": "{not json",
    "not an object": "[1, 2]",
    "deep": "[" * 100_000,
    "zeros": "\0" * 20,
    "unknown act": mark_line(act="format"),
    "no reviewer": mark_line(reviewer=None),
    "long label": mark_line(label="a" * 9999),
    "no square": mark_line(squares=[]),
    "not a number": mark_line(squares=[[0, 0, float("nan"), 1]]),
    "no area": mark_line(squares=[[0, 0, 0, 1]]),
    "text for numbers": mark_line(squares=["1234"]),
    "huge integer": mark_line(squares=[[0, 0, 10**400, 1]]),
    "undo of nothing": mark_line(act="undo", of="y"),
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
def test_another_damaged_line_is_named_and_nothing_is_written(path: Path, line: str) -> None:
    MarkStore(path).add([A], label="tumour", reviewer="ada")
    good = path.read_text()
    path.write_text(good + line + "\n" + good)
    before = path.read_bytes()
    store = MarkStore(path)
    for act in (store.current, lambda: store.add([B], label="fat", reviewer="ada")):
        with pytest.raises(ProjectError, match=r"marks\.jsonl, line 2: ") as caught:
            act()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
    assert path.read_bytes() == before


def test_an_act_that_is_there_twice_is_refused(path: Path) -> None:
    MarkStore(path).add([A], label="tumour", reviewer="ada")
    path.write_text(path.read_text() * 2)
    with pytest.raises(ProjectError, match=r"line 2: act .* is there twice"):
        MarkStore(path).current()


def test_a_file_that_is_too_large_is_refused_unread(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ProjectError, match="too large"):
        MarkStore(path).current()


def test_a_line_that_is_too_long_is_refused_unparsed(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"squares": [' + b"[]," * (MAX_LINE_BYTES // 3) + b"[]]}")
    with pytest.raises(ProjectError, match="line 1: this is too long"):
        MarkStore(path).current()


def test_a_stroke_that_would_be_such_a_line_is_not_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MAX_LINE_BYTES", 400)
    store = MarkStore(path)
    with pytest.raises(ProjectError, match="paint it in parts"):
        store.add([(x, 0, 1, 1) for x in range(100)], label="tumour", reviewer="ada")
    store.add([A], label="tumour", reviewer="ada")
    assert [mark.square for mark in MarkStore(path).current()] == [A]


def test_a_path_that_cannot_hold_marks_is_one_sentence(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ProjectError, match="cannot be"):
        MarkStore(path).add([A], label="tumour", reviewer="ada")


@pytest.mark.parametrize(
    ("squares", "label", "reviewer"),
    [
        ([], "tumour", "ada"),
        ([(0, 0, -1, 1)], "tumour", "ada"),
        ([(0, 0, 1)], "tumour", "ada"),
        ([(float("nan"), 0, 1, 1)], "tumour", "ada"),
        ([A], " ", "ada"),
        ([A], "tumour", ""),
        ([A], "tumour \ud800", "ada"),
    ],
)
def test_what_could_not_be_read_back_is_not_stored(
    path: Path, squares: list, label: str, reviewer: str
) -> None:
    with pytest.raises(ValueError, match=r"square|label|reviewer|surrogates"):
        MarkStore(path).add(squares, label=label, reviewer=reviewer)
    assert not path.exists()
