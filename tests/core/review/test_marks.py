"""The reviewers' marks: what is stored, what undo does, what damage costs."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import ProjectError
from src_core.review import marks
from src_core.review.extent import Extent
from src_core.review.marks import MAX_FILE_BYTES, MAX_LINE_BYTES, MarkStore

A, B, C = (0.0, 0.0, 256.0, 256.0), (256.0, 0.0, 256.0, 256.0), (512.5, 0.25, 256.0, 256.0)


def labels(store: MarkStore) -> dict[tuple[float, ...], str]:
    return {mark.square: mark.label for mark in store.current()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slide" / "review" / "marks.jsonl"


def test_a_new_store_has_no_marks_and_makes_no_file(path: Path) -> None:
    store = MarkStore(path)
    assert store.current() == ()
    assert store.undo(reviewer="ada") is None
    assert store.redo(reviewer="ada") is None
    assert not path.exists()


def test_a_stroke_is_one_line_and_one_undo_step(path: Path) -> None:
    store = MarkStore(path)
    act = store.add([A, B], label="tumour", reviewer="ada", comment="edge")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "id": act.id,
        "act": "mark",
        "time": act.time,
        "reviewer": "ada",
        "label": "tumour",
        "squares": [list(A), list(B)],
        "comment": "edge",
    }
    assert act.time.endswith("+00:00")
    assert labels(store) == {A: "tumour", B: "tumour"}
    assert store.undo(reviewer="ada") == act
    assert labels(store) == {}
    assert store.redo(reviewer="ada") == act
    assert labels(store) == {A: "tumour", B: "tumour"}


def test_the_later_mark_of_a_square_holds_and_undo_shows_the_earlier(path: Path) -> None:
    store = MarkStore(path)
    store.add([A, B], label="tumour", reviewer="ada")
    store.add([A], label="stroma", reviewer="ada")
    assert labels(store) == {B: "tumour", A: "stroma"}
    store.add([B], label=None, reviewer="ada")
    assert labels(store) == {A: "stroma"}
    store.undo(reviewer="ada")
    store.undo(reviewer="ada")
    assert labels(store) == {A: "tumour", B: "tumour"}


def test_a_new_stroke_ends_redo(path: Path) -> None:
    store = MarkStore(path)
    store.add([A], label="tumour", reviewer="ada")
    store.undo(reviewer="ada")
    store.add([B], label="stroma", reviewer="ada")
    assert store.redo(reviewer="ada") is None
    assert labels(store) == {B: "stroma"}


def test_undo_leaves_the_marks_of_others_alone(path: Path) -> None:
    store = MarkStore(path)
    store.add([A], label="tumour", reviewer="ada")
    store.add([B], label="stroma", reviewer="grace")
    store.undo(reviewer="ada")
    assert labels(store) == {B: "stroma"}
    assert store.undo(reviewer="ada") is None
    store.undo(reviewer="grace")
    store.redo(reviewer="ada")
    assert labels(store) == {A: "tumour"}


def test_what_one_reviewer_says_stands_under_what_another_says_later(path: Path) -> None:
    store = MarkStore(path)
    store.add([A, B], label="tumour", reviewer="ada", comment="edge")
    store.add([A], label="stroma", reviewer="grace")
    assert labels(store) == {B: "tumour", A: "stroma"}
    assert [mark.label for mark in store.current(reviewer="ada")] == ["tumour", "tumour"]
    assert [mark.square for mark in store.current(reviewer="grace")] == [A]
    assert store.reviewers() == ("ada", "grace")
    said = [(mark.reviewer, mark.label, mark.comment) for mark in store.said_of(A)]
    assert said == [("ada", "tumour", "edge"), ("grace", "stroma", "")]
    assert store.said_of(C) == ()
    store.add([A], label=None, reviewer="grace")
    assert [mark.reviewer for mark in store.said_of(A)] == ["ada"]
    latest = store.latest(reviewer="ada")
    assert latest is not None
    assert latest.comment == "edge"
    assert store.undo(reviewer="ada") == latest
    assert store.latest(reviewer="ada") is None
    assert store.reviewers() == ("grace",)


def test_who_spoke_last_comes_last_whatever_the_clocks_say(path: Path) -> None:
    store = MarkStore(path)
    store.add([A], label="tumour", reviewer="ada")
    store.add([A], label="stroma", reviewer="grace")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for stamps in (("2026-01-01T00:00:00Z",) * 2, ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")):
        for line, stamp in zip(lines, stamps, strict=True):
            line["time"] = stamp
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
        assert [mark.reviewer for mark in MarkStore(path).said_of(A)] == ["ada", "grace"]


def test_another_name_of_a_label_leaves_who_said_it_and_why(path: Path) -> None:
    store = MarkStore(path)
    assert store.rename("tumour", "lesion", reviewer="ada") is None
    assert not path.exists()
    store.add([A, B], label="tumour", reviewer="ada", comment="edge")
    store.add([A], label="stroma", reviewer="grace")
    store.current(reviewer="ada")  # views that are made already are renamed too
    act = store.rename("tumour", "lesion", reviewer="grace")
    for reread in (store, MarkStore(path)):
        assert labels(reread) == {B: "lesion", A: "stroma"}
        own = [(mark.label, mark.comment) for mark in reread.current(reviewer="ada")]
        assert own == [("lesion", "edge")] * 2
        assert [mark.label for mark in reread.current(reviewer="grace")] == ["stroma"]
        assert [mark.label for mark in reread.said_of(A)] == ["lesion", "stroma"]
        assert reread.reviewers() == ("ada", "grace")
    assert store.undo(reviewer="grace") == act
    assert labels(store) == {A: "stroma", B: "tumour"}
    with pytest.raises(ValueError, match="label must be text"):
        store.rename("tumour", " ", reviewer="ada")


def test_undo_and_redo_go_on_after_a_restart(path: Path) -> None:
    store = MarkStore(path)
    for square, label in ((A, "one"), (B, "two"), (C, "three")):
        store.add([square], label=label, reviewer="ada")
    store.undo(reviewer="ada")
    assert labels(MarkStore(path)) == {A: "one", B: "two"}
    MarkStore(path).undo(reviewer="ada")
    again = MarkStore(path)
    assert labels(again) == {A: "one"}
    again.redo(reviewer="ada")
    again.redo(reviewer="ada")
    assert again.redo(reviewer="ada") is None
    assert labels(MarkStore(path)) == {A: "one", B: "two", C: "three"}
    assert len(path.read_text().splitlines()) == 7  # nothing was rewritten


def in_force(strokes: list[dict]) -> dict[tuple[float, ...], str]:
    expected: dict[int, str | None] = {}
    for stroke in strokes:
        if stroke["in"]:
            expected.update(dict.fromkeys(stroke["cells"], stroke["label"]))
    return {(float(cell), 0.0, 1.0, 1.0): label for cell, label in expected.items() if label}


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("add"),
                st.sampled_from(["ada", "grace"]),
                st.sets(st.integers(0, 4), min_size=1),
                st.sampled_from(["one", "two", None]),
            ),
            st.tuples(st.sampled_from(["undo", "redo"]), st.sampled_from(["ada", "grace"])),
        ),
        max_size=25,
    )
)
def test_any_history_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple]
) -> None:
    path = tmp_path_factory.mktemp("history") / "marks.jsonl"
    live = MarkStore(path)
    strokes: list[dict] = []  # the plainest model: all strokes, and who undid which
    for kind, reviewer, *what in history:
        own = [stroke for stroke in strokes if stroke["by"] == reviewer]
        if kind == "add":
            cells, label = what
            live.add([(cell, 0, 1, 1) for cell in sorted(cells)], label=label, reviewer=reviewer)
            strokes = [s for s in strokes if s["in"] or s["by"] != reviewer]
            strokes.append({"by": reviewer, "cells": cells, "label": label, "in": True})
        elif kind == "undo":
            live.undo(reviewer=reviewer)
            for stroke in [s for s in own if s["in"]][-1:]:
                stroke["in"] = False
        else:
            live.redo(reviewer=reviewer)
            for stroke in [s for s in own if not s["in"]][:1]:
                stroke["in"] = True
        live.current()
    for store in (live, MarkStore(path)):
        assert labels(store) == in_force(strokes)
        for reviewer in ("ada", "grace"):
            said = in_force([stroke for stroke in strokes if stroke["by"] == reviewer])
            alone = store.current(reviewer=reviewer)
            assert {mark.square: mark.label for mark in alone} == said
            for square, label in said.items():
                there = {mark.reviewer: mark.label for mark in store.said_of(square)}
                assert there[reviewer] == label


def test_marks_of_then_are_those_that_were_in_force_after_so_many_acts(path: Path) -> None:
    store = MarkStore(path)
    assert store.extent() is None
    kept: list[tuple[Extent | None, dict[tuple[float, ...], str]]] = []
    acts: list[Callable[[], object]] = [
        lambda: store.add([(0, 0, 8, 8), (8, 0, 8, 8)], label="a", reviewer="ada"),
        lambda: store.add([(0, 0, 8, 8)], label="b", reviewer="bob"),
        lambda: store.undo(reviewer="ada"),
        lambda: store.add([(0, 0, 8, 8)], label=None, reviewer="bob"),
        lambda: store.redo(reviewer="ada"),
        lambda: store.undo(reviewer="bob"),
    ]
    for act in acts:
        act()
        kept.append((store.extent(), labels(store)))
    assert len({str(found) for _, found in kept}) == 5
    stores = [store, MarkStore(path.with_name("edited"))]
    stores[1].path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n\n"))
    for one in stores:
        for number, (extent, found) in enumerate(kept, start=1):
            then = one.current(acts=number)
            assert {mark.square: mark.label for mark in then} == found
            assert one.extent(acts=number) == extent
            assert isinstance(extent, Extent)
            assert extent.acts == number
        assert one.current(acts=0) == ()
        assert one.extent(acts=len(acts) + 1) is None


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


def test_numpy_rows_are_squares(path: Path) -> None:
    MarkStore(path).add(np.array([A, C], dtype=np.float32), label="tumour", reviewer="ada")
    MarkStore(path).add(np.array([B], dtype=np.int64).tolist(), label="fat", reviewer="Åsa")
    assert labels(MarkStore(path)) == {A: "tumour", C: "tumour", B: "fat"}


def test_two_stores_on_one_file_see_each_other(path: Path) -> None:
    one, two = MarkStore(path), MarkStore(path)
    one.add([A], label="tumour", reviewer="ada")
    assert labels(two) == {A: "tumour"}
    two.add([B], label="stroma", reviewer="ada")
    one.undo(reviewer="ada")
    assert labels(one) == labels(two) == {A: "tumour"}
    path.unlink()
    assert one.current() == ()


@pytest.mark.parametrize("extra", [0, 2], ids=["as long", "longer"])
def test_a_file_that_somebody_replaces_is_read_anew(path: Path, tmp_path: Path, extra: int) -> None:
    store, other = MarkStore(path), MarkStore(tmp_path / "other.jsonl")
    store.add([A], label="tumour", reviewer="ada")
    assert [mark.label for mark in store.current()] == ["tumour"]
    other.add([A], label="stroma", reviewer="bob")
    for _ in range(extra):
        other.add([B], label="glass", reviewer="bob")
    other.path.replace(path)
    assert store.current() == MarkStore(path).current() != ()
    path.unlink()
    assert store.current() == ()


def test_threads_may_share_a_store(path: Path) -> None:
    store = MarkStore(path)

    def paint(row: int) -> None:
        for column in range(25):
            store.add([(column, row, 1, 1)], label=f"row {row}", reviewer=f"reviewer {row}")
            store.current()

    threads = [threading.Thread(target=paint, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.current()) == len(MarkStore(path).current()) == 100
