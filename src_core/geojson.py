"""Outlines on a slide as GeoJSON, the way QuPath writes and reads them.

Coordinates are level-0 pixels of the whole slide, columns x, y. Both directions go feature by
feature: a million cells need no more memory than one. A name that ends in ``.gz`` is compressed.

What may come in: a FeatureCollection, the bare list of features that older versions of QuPath
wrote, one Feature, or a bare geometry; polygons, multi-polygons and collections of them. Points
and lines have no area and are left out, with a note in the log.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from src_core.errors import ExchangeError
from src_core.json_stream import WrongValueError, read_values
from src_core.provenance import write_atomically
from src_core.types import Float64, Json

__all__ = ["Line", "Polygon", "read_polygons", "write_polygons"]

_log = logging.getLogger(__name__)

_LISTS = ("features", "geometries")
_OF_ONE = ("type", "geometry", "properties", "coordinates", "id")
_FARTHEST_PX = 1e7
_LONGEST_TEXT = 1000
_MAX_MEASUREMENTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polygon:
    """One outline with its holes, and what QuPath would know of it."""

    exterior: Float64
    """Corners, shape (n, 2), n at least 3, level-0 px; the first is not repeated. It may cross
    itself, as outlines that people draw do."""
    holes: tuple[Float64, ...] = ()
    """Likewise."""
    name: str = ""
    classification: str = ""
    """Name of its class, ``"Tumor"``; empty for none."""
    color: tuple[int, int, int] | None = None
    """Of the class, or of the object if it has none."""
    object_type: str = "annotation"
    """QuPath's word: annotation, detection, tile or cell."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """Named numbers; one that is not finite is not written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A line that encloses nothing, and what QuPath would know of it; see `Polygon`."""

    points: Float64
    """Shape (n, 2), n at least 2, level-0 px."""
    name: str = ""
    classification: str = ""
    color: tuple[int, int, int] | None = None
    object_type: str = "annotation"
    measurements: Mapping[str, float] = field(default_factory=dict)


def read_polygons(path: Path) -> Iterator[Polygon]:
    """Yield the polygons of a GeoJSON file, one after the other, whatever its length.

    Parameters
    ----------
    path : Path
        ``.geojson``, ``.json``, or either with ``.gz``.

    Yields
    ------
    Polygon
        A multi-polygon comes as several.

    Raises
    ------
    ExchangeError
        Where the file is no GeoJSON, is cut off, has coordinates that no slide has, or one
        feature is too large to hold; what came before was yielded.
    """
    without_area = number = 0
    try:
        for feature in read_values(path, lists=_LISTS, keep=_OF_ONE):
            number += 1
            for polygon in _polygons(feature):
                if polygon is None:
                    without_area += 1
                else:
                    yield polygon
    except WrongValueError as error:
        raise ExchangeError(f"{path}, about feature {number}: {error}; export it again.") from error
    if without_area:
        _log.warning("%s: %d shapes have no area and were left out", path, without_area)


def write_polygons(
    path: Path, polygons: Iterable[Polygon | Line], *, notes: Mapping[str, Json] | None = None
) -> int:
    """Write polygons as a QuPath FeatureCollection, a line each, whole or not at all.

    Parameters
    ----------
    path : Path
        With ``.gz`` at its end it is compressed.
    polygons : iterable of Polygon or Line
        Taken one at a time.
    notes : mapping, optional
        What is said of the whole collection, beside its features; readers pass over it.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    ProjectError
        If the file cannot be written.
    """
    count = 0

    def write(stream: IO[bytes]) -> None:
        nonlocal count
        head = json.dumps({"type": "FeatureCollection", **(notes or {})}, ensure_ascii=False)
        stream.write(head[:-1].encode(errors="replace") + b', "features": [')
        for count, polygon in enumerate(polygons, start=1):
            line = json.dumps(_feature_of(polygon), allow_nan=False, ensure_ascii=False)
            stream.write(b",\n" if count > 1 else b"\n")
            stream.write(line.encode(errors="replace"))
        stream.write(b"\n]}\n")

    def write_compressed(stream: IO[bytes]) -> None:
        # Without time and name in the header, equal polygons are equal bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            write(cast("IO[bytes]", packed))

    write_atomically(path, write_compressed if path.suffix == ".gz" else write)
    return count


def _feature_of(polygon: Polygon | Line) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": polygon.object_type}
    if polygon.name:
        properties["name"] = polygon.name
    color = None if polygon.color is None else list(polygon.color)
    if polygon.classification:
        # QuPath refuses a file in which a class has no colour, but takes its name alone.
        named = {"name": polygon.classification, "color": color}
        properties["classification"] = polygon.classification if color is None else named
    elif color is not None:
        properties["color"] = color
    numbers = polygon.measurements.items()
    # It refuses words for numbers too, and what is not measured is NaN to it.
    finite = {key: value for key, value in numbers if math.isfinite(value)}
    if finite:
        properties["measurements"] = finite
    if isinstance(polygon, Line):
        geometry = {"type": "LineString", "coordinates": _listed(polygon.points)}
    else:
        rings = [_closed(ring) for ring in (polygon.exterior, *polygon.holes)]
        geometry = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(ring: Float64) -> list[list[float]]:
    corners = _listed(ring)
    return [*corners, corners[0]]


def _listed(points: Float64) -> list[list[float]]:
    whole = bool((points == np.rint(points)).all())
    found: list[list[float]] = (points.astype(np.int64) if whole else points).tolist()
    return found


def _polygons(feature: Any) -> Iterator[Polygon | None]:
    """Yield the polygons of a feature or a geometry, None for a shape without area."""
    if not isinstance(feature, dict):
        raise WrongValueError("this is not a feature")
    if feature.get("type") == "Feature" or "geometry" in feature:
        geometry, properties = feature.get("geometry"), feature.get("properties")
    else:
        geometry, properties = feature, None
    about = _about(properties if isinstance(properties, dict) else {}, feature)
    for rings in _areas(geometry):
        corners = [_ring(ring) for ring in rings]
        exterior, holes = (corners[0], corners[1:]) if corners else (None, [])
        if exterior is None:
            yield None
            continue
        inner = tuple(hole for hole in holes if hole is not None)
        yield Polygon(exterior=exterior, holes=inner, **about)


def _areas(geometry: Any) -> Iterator[list[Any]]:
    """Yield the rings of every polygon of a geometry, nothing for a shape without area."""
    if geometry is None:
        yield []
        return
    if not isinstance(geometry, dict):
        raise WrongValueError("its geometry is none")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        for part in _list(geometry.get("geometries")):
            yield from _areas(part)
    elif kind == "Polygon":
        yield _list(coordinates)
    elif kind == "MultiPolygon":
        for part in _list(coordinates):
            yield _list(part)
    elif kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        yield []
    else:
        raise WrongValueError(f"its geometry is {str(kind)[:50]!r}")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise WrongValueError("its coordinates are no lists of numbers")
    return value


def _ring(points: Any) -> Float64 | None:
    """Return a ring's corners, shape (n, 2), or None if it has no area."""
    try:
        corners = np.array([point[:2] for point in _list(points)])
    except (TypeError, ValueError) as error:
        raise WrongValueError("its coordinates are no lists of numbers") from error
    if len(corners) == 0:
        return None
    if corners.ndim != 2 or corners.shape[1] != 2 or corners.dtype.kind not in "if":
        raise WrongValueError("its coordinates are no lists of numbers")
    if not (np.abs(corners) <= _FARTHEST_PX).all():
        raise WrongValueError("it lies beyond any slide; coordinates are level-0 pixels")
    if (corners[0] == corners[-1]).all():
        corners = corners[:-1]
    return corners.astype(np.float64) if len(corners) >= 3 else None


def _about(properties: dict[str, Any], feature: dict[str, Any]) -> dict[str, Any]:
    """Return what a polygon says of itself, in the words of any version of QuPath."""
    named = properties.get("classification")
    known = named if isinstance(named, dict) else {"name": named}
    derived = known.get("names")
    if isinstance(derived, list):
        known = {**known, "name": ": ".join(map(str, derived[:10]))}
    color = _color(known)
    kind = properties.get("objectType") or properties.get("object_type")
    if not isinstance(kind, str):
        old = {"PathDetectionObject": "detection", "PathTileObject": "tile"}
        kind = old.get(str(feature.get("id")), "annotation")
    return {
        "name": _text(properties.get("name")),
        "classification": _text(known.get("name")),
        "color": _color(properties) if color is None else color,
        "object_type": _text(kind),
        "measurements": _measurements(properties.get("measurements")),
    }


def _text(value: Any) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _color(values: dict[str, Any]) -> tuple[int, int, int] | None:
    packed = values.get("colorRGB")
    if isinstance(packed, int):
        return (packed >> 16) & 255, (packed >> 8) & 255, packed & 255
    parts = values.get("color")
    if isinstance(parts, list) and len(parts) >= 3:
        rgb = [part for part in parts[:3] if isinstance(part, int) and 0 <= part <= 255]
        return (rgb[0], rgb[1], rgb[2]) if len(rgb) == 3 else None
    return None


def _measurements(values: Any) -> dict[str, float]:
    """Return named numbers, from an object or from the list of pairs that older versions wrote."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(values, dict):
        pairs = list(values.items())
    elif isinstance(values, list):
        pairs = [(one.get("name"), one.get("value")) for one in values if isinstance(one, dict)]
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    found: dict[str, float] = {}
    for name, value in pairs[:_MAX_MEASUREMENTS]:
        number = words.get(value) if isinstance(value, str) else value
        if isinstance(number, int | float) and not isinstance(number, bool):
            found[_text(name)] = float(number)
    return found
