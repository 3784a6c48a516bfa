"""The marks of a slide as a raster that follows its file: an act changes its own cells only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.patches.lattice import Lattice
from src_core.review.acts import Act, painted
from src_core.review.extent import Extent
from src_core.review.marks import MarkStore
from src_core.review.raster import boxes_of, fill_boxes, marks_raster
from src_core.types import BoolArray, Int64

__all__ = ["MarkDrawing"]


class MarkDrawing:
    """What `marks_raster` draws of the marks in force, kept from act to act.

    Parameters
    ----------
    store : MarkStore
        Of the slide.
    lattice : Lattice
        Whose cells the raster has.
    reviewer : str, optional
        Whose marks alone are drawn.
    """

    def __init__(self, store: MarkStore, lattice: Lattice, *, reviewer: str | None = None) -> None:
        self.reviewer = reviewer
        self._store, self._lattice = store, lattice
        self._extent: Extent | None = None
        self._forget()

    def follow(self, names: list[str]) -> NDArray[np.unsignedinteger[Any]]:
        """Draw what has been said since the last call.

        Parameters
        ----------
        names : list of str
            The labels, in the places of the call before. One that is drawn and not among them
            joins them.

        Returns
        -------
        ndarray of unsigned integers, shape (rows, cols)
            Index of the label + 1, 0 for none; the next call may change it in place.

        Raises
        ------
        ProjectError
            If the file is damaged.
        """
        acts = self._store.acts_since(self._extent)
        if acts is None:  # somebody has put another file there
            self._forget()
            acts = self._store.acts_since(None) or ()
        if acts:
            boxes = self._take(acts)
            known = 0 if self._extent is None else self._extent.acts
            self._extent = self._store.extent(acts=known + len(acts))
            self._draw(boxes, names)
        return self._raster

    def _forget(self) -> None:
        self._extent = None
        self._raster: NDArray[Any] = np.zeros(self._lattice.shape_hw, np.uint16)
        self._strokes: list[Act] = []
        self._numbers: dict[str | None, int] = {}
        """Name of a stroke -> its place among the strokes."""
        self._in_force: BoolArray = np.ones(0, np.bool_)
        """Which strokes are."""
        self._boxes: Int64 = np.empty((0, 4), np.int64)
        """Cells of the squares of all strokes, the oldest first, column after column in memory."""
        self._stroke_of: Int64 = np.empty(0, np.int64)
        """Which stroke each square is of, ascending."""

    def _take(self, acts: tuple[Act, ...]) -> Int64:
        """Remember acts; return the boxes of what they have said or taken back."""
        new = [act for act in acts if act.kind == "mark"]
        before = len(self._strokes)
        self._strokes += new
        self._numbers |= {act.id: before + place for place, act in enumerate(new)}
        self._in_force = np.append(self._in_force, np.ones(len(new), np.bool_))
        boxes = boxes_of(self._lattice, [square for act in new for square in act.squares])
        of = np.repeat(before + np.arange(len(new)), [len(act.squares) for act in new])
        self._boxes = np.concatenate([self._boxes.T, boxes.T], axis=1).T
        self._stroke_of = np.concatenate([self._stroke_of, of])
        changed = [boxes]
        for act in acts:
            if act.kind != "mark":
                number = self._numbers[act.of]
                self._in_force[number] = act.kind == "redo"
                first, end = np.searchsorted(self._stroke_of, [number, number + 1])
                changed.append(self._boxes[first:end])
        return np.concatenate(changed)

    def _draw(self, boxes: Int64, names: list[str]) -> None:
        """Draw anew the cells of boxes, by all that was ever said of them."""
        first, end = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        window = (slice(first[1], end[1]), slice(first[0], end[0]))
        touched = np.zeros(np.maximum(end - first, 0)[::-1], np.bool_)
        fill_boxes(touched, boxes - np.tile(first, 2), np.ones(len(boxes), np.bool_))
        marks = painted(self._strokes_on(touched, first), reviewer=self.reviewer).values()
        known = set(names)
        names += [one for one in dict.fromkeys(mark.label for mark in marks) if one not in known]
        drawn = marks_raster(self._lattice, marks, names)
        if drawn.dtype != self._raster.dtype:
            self._raster = self._raster.astype(drawn.dtype)
        self._raster[window][touched] = drawn[window][touched]

    def _strokes_on(self, touched: BoolArray, first: Int64) -> list[Act]:
        """Return the strokes in force, each with its squares on some cells alone."""
        height, width = touched.shape
        (x, y), (left, top, right, bottom) = first, self._boxes.T
        near = (left < x + width) & (right > x) & (top < y + height) & (bottom > y)
        near = np.flatnonzero(near)
        left, right = ((one[near] - x).clip(0, width) for one in (left, right))
        top, bottom = ((one[near] - y).clip(0, height) for one in (top, bottom))
        sums = np.zeros((height + 1, width + 1), np.int64)
        sums[1:, 1:] = touched.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
        cells = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        hits = near[(cells > 0) & self._in_force[self._stroke_of[near]]]
        of = self._stroke_of[hits]
        places = (hits - np.searchsorted(self._stroke_of, of)).tolist()
        numbers, begins = np.unique(of, return_index=True)
        ends = np.append(begins[1:], len(hits))[: len(begins)]
        found = []
        for number, begin, end in np.stack([numbers, begins, ends], axis=1).tolist():
            act = self._strokes[number]
            if end - begin < len(act.squares):
                act = replace(act, squares=tuple(act.squares[one] for one in places[begin:end]))
            found.append(act)
        return found
