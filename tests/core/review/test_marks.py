"""The reviewers' marks: what is stored, what undo does, who sees what."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.review.extent import Extent
from src_core.review.marks import MarkStore
from tests.core.review.painted import A, B, C, labels


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
