"""Give what people have measured on a slide to QuPath and to tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from src_core.exchange.embedded import Written
from src_core.geojson import Line, Polygon, write_polygons
from src_core.project import SlideFolder
from src_core.provenance import write_bytes
from src_core.review.measurements import Measurement

__all__ = ["export_measurements"]

_COLUMNS = ["slide", "name", "kind", "x", "y", "mpp"]
_SIZES = ["length_um", "perimeter_um", "area_um2", "length_px", "perimeter_px", "area_px2"]
_COLOR = (0, 58, 140)
"""As the window draws them on a bright slide."""


def export_measurements(slide: SlideFolder, folder: Path) -> Written:
    """Write the distances and areas of a slide, for QuPath and as a table.

    Parameters
    ----------
    slide : SlideFolder
        One without measurements gets no files, and a note.
    folder : Path
        Gets ``<slide>-measurements.geojson``, annotations with their sizes as measurements, and
        ``<slide>-measurements.csv``, a line each with the middle of each in level-0 px. Sizes are
        in um and px; those in um are missing where the slide does not say its scale.

    Raises
    ------
    ProjectError
        If the measurements are damaged, or the files cannot be written.
    """
    found = slide.measurements.current()
    if not found:
        return Written([], ("nothing has been measured on it",))
    mpp = slide.record.mpp
    named = list(zip(_names(found), found, strict=True))
    outlines = folder / f"{slide.slide_id}-measurements.geojson"
    write_polygons(outlines, (_annotation(name, one, mpp) for name, one in named))
    table = folder / f"{slide.slide_id}-measurements.csv"
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_SIZES])
    for name, one in named:
        x, y = one.outline.mean(axis=0).round(1).tolist()
        sizes = {**_sizes(one, None), **({} if mpp is None else _sizes(one, mpp))}
        about = [slide.slide_id, name, one.kind, x, y, "" if mpp is None else mpp]
        writer.writerow([*about, *(_digits(sizes.get(column)) for column in _SIZES)])
    write_bytes(table, text.getvalue().encode())
    notes = () if mpp is not None else ("its scale is unknown, so sizes are in pixels only",)
    return Written([outlines, table], notes)


def _names(found: Sequence[Measurement]) -> list[str]:
    counts = {True: 0, False: 0}
    names = []
    for one in found:
        counts[one.is_area] += 1
        names.append(f"{'Area' if one.is_area else 'Distance'} {counts[one.is_area]}")
    return names


def _sizes(one: Measurement, mpp: float | None) -> dict[str, float | None]:
    size = one.size(mpp)
    if not one.is_area:
        return {f"length_{size.unit}": size.length}
    return {f"perimeter_{size.unit}": size.length, f"area_{size.unit}2": size.area}


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _annotation(name: str, one: Measurement, mpp: float | None) -> Polygon | Line:
    size = one.size(mpp)
    unit = "px" if mpp is None else "µm"
    # Not QuPath's own names, which it gives to columns that it computes itself.
    if not one.is_area:
        told = {f"Measured length {unit}": size.length}
        return Line(points=one.outline, name=name, color=_COLOR, measurements=told)
    told = {f"Measured perimeter {unit}": size.length}
    if size.area is not None:
        told[f"Measured area {unit}^2"] = size.area
    return Polygon(exterior=one.outline, name=name, color=_COLOR, measurements=told)
