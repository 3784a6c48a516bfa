"""Distances and areas that people measure on a slide, kept beside it as they are drawn.

What is stored are shapes in level-0 pixels and no sizes: a slide whose micrometres per pixel are
corrected later has other sizes at once, and the shapes stay where they are.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.provenance import MAX_JSON_BYTES, read_json, write_json
from src_core.types import Float64

__all__ = [
    "MOST",
    "MOST_DRAWN",
    "Kind",
    "Measurement",
    "MeasurementStore",
    "Size",
    "crosses_itself",
    "is_tangled",
]

Kind: TypeAlias = Literal["line", "path", "polygon", "rectangle", "ellipse"]

MOST: Final = 200
"""Of a slide: a window that shows more of them no longer follows the pointer."""
MOST_DRAWN: Final = 20_000
"""Points of all that is drawn on a slide: more would take a window long."""

_FORMAT = 1
_MOST_POINTS = 5000
_SIMPLER = (1e-5, 1e-4, 1e-3)
"""Shares of a line's extent by which it is simplified, the first that does."""
_FARTHEST_PX = 1e7
_MOST_STORED = MAX_JSON_BYTES // 64
"""Points that a file holds, 64 bytes each at most: versions before had no other limit."""
_ELLIPSE_CORNERS = 360
_POINTS: dict[Kind, tuple[int, int]] = {
    "line": (2, 2),
    "path": (2, _MOST_POINTS),
    "polygon": (3, _MOST_POINTS),
    "rectangle": (4, 4),
    "ellipse": (4, 4),
}
_TANGLED = 50
"""Crossings from which on a tangle takes a window long to draw."""
_ROWS = 256
"""Sides of an outline that are compared with all others at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large something is."""

    length: float
    """Of a line, or around an area; `unit`."""
    area: float | None
    """`unit` squared; None of a line, and of an outline that crosses itself."""
    unit: Literal["um", "px"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """One distance or area.

    Raises
    ------
    ValueError
        If it is none: too few or too many points, or such as no slide has.
    """

    kind: Kind
    points: Float64
    """Shape (n, 2): x, y in level-0 px. Of a rectangle or an ellipse the corners of its box."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"{str(self.kind)[:50]!r} is nothing that is measured")
        few, many = _POINTS[self.kind]
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError("points are pairs of numbers")
        if not few <= len(self.points) <= many:
            raise ValueError(f"a {self.kind} has {few} to {many} points, not {len(self.points)}")
        if not (np.abs(self.points) <= _FARTHEST_PX).all():  # not for NaN either
            raise ValueError("a point lies outside of any slide")
        if not self.id or len(self.id) > 40 or not self.id.isalnum() or not self.id.isascii():
            raise ValueError("its name is none that was given here")

    @classmethod
    def drawn(cls, kind: Kind, points: Float64) -> Measurement:
        """Return what was drawn by hand; a line of more points than are stored gets simpler.

        By as little as it takes, and by a thousandth of its extent at most.

        Parameters
        ----------
        kind, points : Kind, ndarray
            As of the measurement.

        Raises
        ------
        ValueError
            If it is none.
        """
        if kind in ("path", "polygon") and len(points) > _MOST_POINTS:
            from skimage.measure import approximate_polygon  # a window need not wait for it

            extent = float(np.ptp(points, axis=0).max())
            for share in _SIMPLER:
                simpler = approximate_polygon(points, extent * share)
                if len(simpler) <= _MOST_POINTS:
                    return cls(kind=kind, points=simpler)
        return cls(kind=kind, points=points)

    @property
    def is_area(self) -> bool:
        """Whether it encloses something."""
        return self.kind not in ("line", "path")

    @property
    def outline(self) -> Float64:
        """The line, or the corners around the area, shape (m, 2), level-0 px."""
        if self.kind != "ellipse":
            return self.points
        first, second = (self.points[1] - self.points[0]) / 2, (self.points[3] - self.points[0]) / 2
        angle = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
        middle = self.points.mean(axis=0)
        outline: Float64 = middle + np.cos(angle) * first + np.sin(angle) * second
        return outline

    def size(self, mpp: float | None) -> Size:
        """Return how large it is.

        Parameters
        ----------
        mpp : float or None
            Micrometres per level-0 pixel; with None the size is in level-0 pixels.
        """
        outline, one = self.outline, 1.0 if mpp is None else mpp
        area = None
        if self.is_area:
            area = None if crosses_itself(outline) else _area(outline) * one**2
            outline = np.concatenate([outline, outline[:1]])
        steps = np.diff(outline, axis=0)
        length = float(np.hypot(steps[:, 0], steps[:, 1]).sum()) * one
        return Size(length=length, area=area, unit="px" if mpp is None else "um")


class MeasurementStore:
    """The measurements of one slide.

    Parameters
    ----------
    path : Path
        The file, usually ``review/measurements.json`` of a slide; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self) -> tuple[Measurement, ...]:
        """Return what is stored, in the order in which it was drawn.

        Raises
        ------
        ProjectError
            If the file is damaged, or a newer version's.
        """
        if not self.path.is_file():
            return ()
        values = read_json(self.path)
        rows = values.get("measurements")
        if values.get("format") != _FORMAT or not isinstance(rows, list) or len(rows) > MOST:
            raise ProjectError(
                f"{self.path} holds no measurements that this version can read; restore or "
                "remove it."
            )
        try:
            found = {one.id: one for one in map(_from_dict, rows)}
            if _n_points(found.values()) > _MOST_STORED:
                raise ValueError(f"its outlines have more than {_MOST_STORED:,} points")
        except ValueError as error:
            raise ProjectError(f"{self.path} is damaged: {error}; restore or remove it.") from error
        return tuple(found.values())

    def change(self, put: Iterable[Measurement] = (), drop: Iterable[str] = ()) -> None:
        """Store measurements, new ones and others of a known name, and take some away.

        What another window has stored meanwhile stays. On disk when this returns.

        Parameters
        ----------
        put : iterable of Measurement
        drop : iterable of str
            Names of measurements; unknown ones are none.

        Raises
        ------
        ProjectError
            If the file is damaged or full, or cannot be written.
        """
        with locked(self.path.parent):
            before = self.current()
            held = {one.id: one for one in before} | {one.id: one for one in put}
            for name in drop:
                held.pop(name, None)
            if len(held) > MOST:
                raise ProjectError(
                    f"A slide holds {MOST} measurements, and {self.path} is full; "
                    "delete some, or export them first."
                )
            # A file of before may hold more: what takes some away is not refused.
            if _n_points(held.values()) > max(MOST_DRAWN, _n_points(before)):
                raise ProjectError(
                    f"The outlines on a slide have at most {MOST_DRAWN:,} points, and those of "
                    f"{self.path} would have more; draw with fewer corners, or delete some."
                )
            rows = [_to_dict(one) for one in held.values()]
            write_json(self.path, {"format": _FORMAT, "measurements": rows})


def _n_points(found: Iterable[Measurement]) -> int:
    return sum(len(one.points) for one in found)


def crosses_itself(corners: Float64) -> bool:
    """Tell whether a closed outline, shape (n, 2), crosses itself: what it encloses is undefined.

    Sides that only touch do not cross.
    """
    return any(_crossings(corners))


def is_tangled(corners: Float64) -> bool:
    """Tell whether a closed outline, shape (n, 2), crosses itself too often to be drawn."""
    return any(count > _TANGLED for count in accumulate(_crossings(corners)))


def _crossings(corners: Float64) -> Iterator[int]:
    """Yield how often some sides of a closed outline cross later ones; together all crossings."""
    for first in range(0, len(corners), _ROWS):
        start, end = corners[first:], np.roll(corners, -1, axis=0)[first:]
        rows = np.arange(min(_ROWS, len(start)))[:, None]
        one, two = start[rows], end[rows]  # (r, 1, 2)
        apart = _side(one, two, start) * _side(one, two, end) < 0
        other = _side(start, end, one) * _side(start, end, two) < 0
        yield int(np.triu(apart & other).sum())


def _side(start: Float64, end: Float64, point: Float64) -> Float64:
    """Return on which side of lines points lie: the sign of the cross product."""
    way, to = end - start, point - start
    side: Float64 = way[..., 0] * to[..., 1] - way[..., 1] * to[..., 0]
    return side


def _area(corners: Float64) -> float:
    # About the middle: far from the corner of a large slide the products would lose digits.
    x, y = (corners - corners.mean(axis=0)).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _to_dict(one: Measurement) -> dict[str, Any]:
    return {"id": one.id, "kind": one.kind, "points": np.round(one.points, 2).tolist()}


def _from_dict(values: object) -> Measurement:
    if not isinstance(values, dict) or not isinstance(values.get("points"), list):
        raise ValueError("a measurement has an id, a kind and points")
    if not isinstance(values.get("id"), str) or not isinstance(values.get("kind"), str):
        raise ValueError("a measurement's id and kind are text")
    for point in values["points"]:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            raise ValueError("points are pairs of numbers, none outside of any slide")
    points = np.array(values["points"], np.float64).reshape(-1, 2)
    return Measurement(kind=values["kind"], points=points, id=values["id"])


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _FARTHEST_PX  # said of whole numbers that are no float, too
    )
