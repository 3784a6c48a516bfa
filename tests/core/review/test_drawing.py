"""A raster that follows the file is the one that all of the file would give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.patches.lattice import Lattice
from src_core.review.drawing import MarkDrawing
from src_core.review.marks import MarkStore
from src_core.review.raster import marks_raster, squares_of

LATTICE = Lattice((3.0, 7.0), 10.0, 14.0, (6, 8), 10, 0.5, 0.5)
COARSE = Lattice((0.0, 0.0), 23.0, 23.0, (3, 4), 10, 0.5, 0.5)
FINE = Lattice((0.0, 0.0), 4.0, 4.0, (18, 20), 10, 0.5, 0.5)
WHO = ("Ada", "Bob")


def act_at_random(store: MarkStore, rng: np.random.Generator, labels: list[str]) -> None:
    reviewer, kind = str(rng.choice(WHO)), rng.integers(8)
    if kind == 0:
        store.undo(reviewer=reviewer)
    elif kind == 1:
        store.redo(reviewer=reviewer)
    elif kind == 2:
        store.rename(*map(str, rng.choice(labels, 2, replace=False)), reviewer=reviewer)
    else:
        lattice = (LATTICE, LATTICE, LATTICE, COARSE, FINE)[rng.integers(5)]
        rows, cols = np.argwhere(rng.random(lattice.shape_hw) < rng.choice([0.05, 0.5])).T
        if len(rows):
            label = None if rng.integers(4) == 0 else str(rng.choice(labels))
            store.add(squares_of(lattice, rows, cols), label=label, reviewer=reviewer)


@pytest.mark.parametrize("reviewer", [None, "Ada"])
def test_what_is_kept_is_what_the_file_says(tmp_path: Path, reviewer: str | None) -> None:
    rng, labels = np.random.default_rng(0), ["a", "b", "c"]
    store, other = (MarkStore(tmp_path / "marks.jsonl") for _ in range(2))
    drawing = MarkDrawing(store, LATTICE, reviewer=reviewer)
    seen = set()
    for _ in range(60):
        for _ in range(rng.integers(1, 3)):  # what another window says counts as well
            act_at_random(store if rng.integers(2) else other, rng, labels)
        raster = drawing.follow(labels)
        marks = store.current(reviewer=reviewer)
        assert np.array_equal(raster, marks_raster(LATTICE, marks, labels))
        seen |= {*np.unique(raster).tolist()}
    assert seen == {0, 1, 2, 3}
    assert labels == ["a", "b", "c"]


def test_a_new_label_joins_the_names(tmp_path: Path) -> None:
    store, names = MarkStore(tmp_path / "marks.jsonl"), ["a"]
    drawing = MarkDrawing(store, LATTICE)
    store.add(squares_of(LATTICE, [1, 2], [1, 2]), label="z", reviewer="Ada")
    assert drawing.follow(names)[1, 1] == 2
    assert names == ["a", "z"]
    store.undo(reviewer="Ada")
    assert not drawing.follow(names).any(), "nothing is left of what was said first"


def test_another_file_is_drawn_anew(tmp_path: Path) -> None:
    store, names = MarkStore(tmp_path / "marks.jsonl"), ["a"]
    drawing = MarkDrawing(store, LATTICE)
    for row in range(3):
        store.add(squares_of(LATTICE, [row], [0]), label="a", reviewer="Ada")
    drawing.follow(names)
    stranger = MarkStore(tmp_path / "other.jsonl")
    stranger.add(squares_of(LATTICE, [5], [5]), label="a", reviewer="Bob")
    stranger.path.replace(store.path)
    assert np.argwhere(drawing.follow(names)).tolist() == [[5, 5]]
    store.path.unlink()
    assert not drawing.follow(names).any()
