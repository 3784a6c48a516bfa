"""Edits of selections: stored at once, taken back, found again on another grid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import ProjectError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.review.selection import SelectionStore


def grid_of(stride: float, patch: float, shape_hw: tuple[int, int]) -> PatchGrid:
    rows, cols = np.indices(shape_hw).reshape(2, -1)
    cells = np.stack([cols, rows], axis=1).astype(np.int32)
    return PatchGrid(Lattice((13.5, 7.25), stride, patch, shape_hw, 256, 0.5, 0.25), cells, "t")


GRID = grid_of(512.4, 512.4, (6, 8))


@pytest.fixture
def store(tmp_path: Path) -> SelectionStore:
    return SelectionStore(tmp_path / "slide" / "review" / "selection.jsonl")


def found(store: SelectionStore, grid: PatchGrid = GRID) -> tuple[list[int], list[int]]:
    edits = SelectionStore(store.marks.path).edits(grid)  # by whoever reads the file
    return np.flatnonzero(edits.excluded).tolist(), np.flatnonzero(edits.pinned).tolist()


def test_an_act_is_on_disk_at_once_and_undone_by_one_step(store: SelectionStore) -> None:
    assert found(store) == ([], [])
    assert store.undo(reviewer="ada") is None
    assert not store.marks.path.exists()
    store.exclude(GRID, [3, 4, 4], reviewer="ada")
    store.pin(GRID, [20], reviewer="ada")
    assert found(store) == ([3, 4], [20])
    store.pin(GRID, np.array([4, 5]), reviewer="grace")
    assert found(store) == ([3], [4, 5, 20]), "of two acts on a patch the later one holds"
    store.release(GRID, [5, 20], reviewer="ada")
    assert found(store) == ([3], [4])
    store.undo(reviewer="ada")
    store.undo(reviewer="grace")
    assert found(store) == ([3, 4], [20])
    again = SelectionStore(store.marks.path)  # after a restart
    again.undo(reviewer="ada")
    assert found(store) == ([3, 4], [])
    again.redo(reviewer="ada")
    assert found(store) == ([3, 4], [20])
    lines = store.marks.path.read_text().splitlines()
    assert len(lines) == 8, "nothing was rewritten"
    first = json.loads(lines[0])
    assert (first["act"], first["label"], first["reviewer"]) == ("mark", "excluded", "ada")
    assert [[round(x) for x in square] for square in first["squares"]] == [
        [1551, 7, 512, 512],
        [2063, 7, 512, 512],
    ]


@given(
    rows=st.sets(st.integers(0, len(GRID) - 1), min_size=1),
    kept=st.sets(st.integers(0, len(GRID) - 1), min_size=1),
)
def test_edits_follow_their_patches_into_another_grid(
    tmp_path_factory: pytest.TempPathFactory, rows: set[int], kept: set[int]
) -> None:
    store = SelectionStore(tmp_path_factory.mktemp("review") / "selection.jsonl")
    store.exclude(GRID, sorted(rows), reviewer="ada")
    fewer = PatchGrid(GRID.lattice, GRID.cells[sorted(kept)], "painted")
    excluded = [one for one, row in enumerate(sorted(kept)) if row in rows]
    assert found(store, fewer) == (excluded, [])
    assert found(store) == (sorted(rows), [])


def test_edits_hold_on_another_lattice_and_are_released_there(store: SelectionStore) -> None:
    finer = grid_of(256.2, 256.2, (12, 16))
    store.exclude(GRID, [9], reviewer="ada")  # cell (1, 1): cells (2, 2) to (3, 3) of the finer
    inside = [2 * 16 + 2, 2 * 16 + 3, 3 * 16 + 2, 3 * 16 + 3]
    assert found(store, finer) == (inside, [])
    store.release(finer, inside[:1], reviewer="ada")
    store.pin(finer, inside[1:2], reviewer="ada")
    assert found(store, finer) == (inside[2:], inside[1:2])


@pytest.mark.parametrize("rows", [[], [-1], [48], [True, False], [0.5]])
def test_what_are_no_rows_is_refused(store: SelectionStore, rows: list) -> None:
    with pytest.raises(ValueError, match="rows 0 to 47"):
        store.exclude(GRID, rows, reviewer="ada")
    assert not store.marks.path.exists()


def test_edits_of_another_store_on_the_same_file_are_seen(store: SelectionStore) -> None:
    assert store.edits(GRID) is store.edits(GRID), "nothing is computed twice"
    SelectionStore(store.marks.path).exclude(GRID, [1], reviewer="bob")
    assert np.flatnonzero(store.edits(GRID).excluded).tolist() == [1]
    fewer = replace(GRID, cells=GRID.cells[2:])
    assert len(store.edits(fewer).excluded) == len(GRID) - 2


def test_a_line_of_another_kind_is_damage(store: SelectionStore) -> None:
    store.pin(GRID, [0], reviewer="ada")
    path = store.marks.path
    path.write_text(path.read_text().replace('"pinned"', '"tumour"'))
    with pytest.raises(ProjectError, match=r"line 1: label 'tumour' is none of excluded, pinned"):
        SelectionStore(path).edits(GRID)
