"""A slide, or a part of it, with one map over it, as a picture of an asked size for print."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src_core.patches.lattice import Lattice
from src_core.provenance import write_atomically
from src_core.types import Rgb

__all__ = ["PRINT_DPI", "Overlay", "Region", "save_print"]

Region: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in level-0 pixels of the whole slide."""

PRINT_DPI = 300
"""Pixels an inch: what journals ask of pictures."""

_POINTS = {"title": 8.0, "text": 6.5, "foot": 5.5}
_LINE_INCHES = {name: points * 1.45 / 72 for name, points in _POINTS.items()}
_COLUMN_INCHES = 1.1
_MARGIN_INCHES = 0.08
_BAR_INCHES = 0.42


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What lies on the slide, one pixel or more a side for each lattice cell, and what it means."""

    raster: NDArray[Any]
    """(rows, cols) numbers with a colour bar, NaN transparent; or (rows, cols, 4) colours."""
    title: str
    bar: str = ""
    """What the colour bar says, with its unit; only of numbers."""
    colormap: str = "viridis"
    limits: tuple[float, float] = (0.0, 1.0)
    legend: Sequence[tuple[str, Sequence[float]]] = ()
    """Names and colours, where the raster is colours."""
    opacity: float = 0.6


def save_print(
    path: Path,
    picture: Rgb,
    region: Region,
    overlay: Overlay,
    lattice: Lattice,
    *,
    mpp: float | None,
    title: str,
    foot: Sequence[str],
) -> None:
    """Write a picture with its overlay, scale bar and legend at `PRINT_DPI`.

    Parameters
    ----------
    path : Path
        Its ending names the format: png, tiff, pdf or another that matplotlib writes.
    picture : ndarray of uint8, shape (height, width, 3)
        The region; the file is as wide as it, pixel for pixel.
    region : tuple of float
        What part of the slide the picture is.
    overlay : Overlay
    lattice : Lattice
        Whose cells its raster has.
    mpp : float or None
        Micrometres per level-0 pixel; without there is no scale bar.
    title : str
    foot : sequence of str
        Sentences below, such as the use and the licences.
    """
    # The object interface: pyplot keeps figures in global state and picks a window toolkit.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = (side / PRINT_DPI for side in picture.shape[:2])
    columns = max(1, int((width - _MARGIN_INCHES) / _column_inches(overlay.legend)))
    rows = -(-len(overlay.legend) // columns)
    legend = rows * _LINE_INCHES["text"] if overlay.legend else _BAR_INCHES
    titles, feet = _lines([title], "title", width), _lines(foot, "foot", width)
    above = len(titles) * _LINE_INCHES["title"] + _MARGIN_INCHES
    below = len(feet) * _LINE_INCHES["foot"]
    # The parts of a figure are told in shares of it; whole pixels keep the picture sharp.
    total = _whole(above + height + legend + below + 3 * _MARGIN_INCHES)
    bottom = _whole(legend + below + 2 * _MARGIN_INCHES)
    figure = Figure(figsize=(width, total), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, bottom / total, 1, height / total))
    _draw_picture(axes, picture, region, overlay, lattice)
    if mpp is not None:
        _draw_scale(axes, region, mpp, width)
    _write(figure, titles, "title", top=total - _MARGIN_INCHES / 2, total=total, width=width)
    _write(figure, feet, "foot", top=below + _MARGIN_INCHES / 2, total=total, width=width)
    low = below + _MARGIN_INCHES
    if overlay.legend:
        _draw_legend(figure, overlay.legend, columns, top=low + legend, size=(width, total))
    else:
        _draw_bar(figure, axes.images[-1], overlay.bar, top=low + legend, size=(width, total))
    form = path.suffix.lstrip(".") or "png"
    write_atomically(path, lambda stream: figure.savefig(stream, format=form, dpi=PRINT_DPI))


def _column_inches(entries: Sequence[tuple[str, Sequence[float]]]) -> float:
    """Return how wide a column of the legend is for its longest name."""
    longest = max((len(name) for name, _ in entries), default=0)
    return max(_COLUMN_INCHES, (0.55 * longest + 2) * _POINTS["text"] / 72)


def _whole(inches: float) -> float:
    return round(inches * PRINT_DPI) / PRINT_DPI


def _draw_picture(
    axes: Any, picture: Rgb, region: Region, overlay: Overlay, lattice: Lattice
) -> None:
    x, y, width, height = region
    axes.set_axis_off()
    axes.imshow(
        picture, extent=(x, x + width, y + height, y), interpolation="nearest", aspect="auto"
    )
    rows, columns = lattice.shape_hw
    # A raster's pixel is a stride wide, and lies around the middle of its patch.
    left, top = (side + (lattice.patch_l0 - lattice.stride_l0) / 2 for side in lattice.origin_xy)
    right, bottom = left + columns * lattice.stride_l0, top + rows * lattice.stride_l0
    axes.imshow(
        overlay.raster,
        extent=(left, right, bottom, top),
        cmap=overlay.colormap,
        vmin=overlay.limits[0],
        vmax=overlay.limits[1],
        alpha=overlay.opacity,
        interpolation="nearest",
        aspect="auto",
    )
    axes.set_xlim(x, x + width)
    axes.set_ylim(y + height, y)


def _draw_scale(axes: Any, region: Region, mpp: float, width_inches: float) -> None:
    """Draw a bar of a round number of micrometres, at most a quarter of the picture wide."""
    from matplotlib.patheffects import withStroke

    x, y, width, height = region
    wanted = width * mpp / 4
    unit = 10.0 ** np.floor(np.log10(wanted))
    length = unit * max(step for step in (1, 2, 5) if step * unit <= wanted)
    inch = width / width_inches
    left, low = x + 0.12 * inch, y + height - 0.12 * inch
    halo = [withStroke(linewidth=4, foreground="white")]
    axes.plot(
        [left, left + length / mpp], [low, low], "k", lw=2, path_effects=halo, solid_capstyle="butt"
    )
    text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    size = _POINTS["title"]
    axes.text(left, low - 0.04 * inch, text, fontsize=size, va="bottom", path_effects=halo)


def _draw_legend(
    figure: Any,
    entries: Sequence[tuple[str, Sequence[float]]],
    columns: int,
    *,
    top: float,
    size: tuple[float, float],
) -> None:
    """Draw a coloured square and a name for each entry, row by row."""
    from matplotlib.patches import Rectangle

    (width, total), line = size, _LINE_INCHES["text"]
    step, side = (width - _MARGIN_INCHES) / columns, _POINTS["text"] / 72
    for number, (name, colour) in enumerate(entries):
        row, column = divmod(number, columns)
        x, y = _MARGIN_INCHES + column * step, top - (row + 0.5) * line
        square = ((x / width), (y - side / 2) / total)
        figure.add_artist(
            Rectangle(
                square, side / width, side / total, facecolor=tuple(colour), edgecolor="0.3", lw=0.3
            )
        )
        most = int((step - 2 * side) * 72 / (0.55 * _POINTS["text"]))
        shown = name if len(name) <= most else f"{name[: most - 1]}…"
        figure.text(
            (x + 1.5 * side) / width, y / total, _plain(shown), fontsize=_POINTS["text"],
            va="center",
        )  # fmt: skip


def _draw_bar(
    figure: Any, image: Any, label: str, *, top: float, size: tuple[float, float]
) -> None:
    """Draw a colour bar over most of the width, opaque: what it shows is a scale."""
    from matplotlib.cm import ScalarMappable

    width, total = size
    place = (0.06, (top - 0.1) / total, 0.88, 0.1 / total)
    bar_axes = figure.add_axes(place)
    scale = ScalarMappable(norm=image.norm, cmap=image.cmap)
    bar = figure.colorbar(scale, cax=bar_axes, orientation="horizontal")
    bar.outline.set_linewidth(0.3)
    bar_axes.tick_params(labelsize=_POINTS["foot"], length=1.5, width=0.3, pad=1)
    lines = textwrap.shorten(label, int(width * 72 / (0.52 * _POINTS["text"])), placeholder=" …")
    bar.set_label(_plain(lines), fontsize=_POINTS["text"], labelpad=1)


def _lines(sentences: Sequence[str], style: str, width: float) -> list[str]:
    """Break sentences into lines that fit the width."""
    most = max(20, int((width - 2 * _MARGIN_INCHES) * 72 / (0.52 * _POINTS[style])))
    return [line for one in sentences if one for line in textwrap.wrap(one, most)]


def _write(
    figure: Any, lines: Sequence[str], style: str, *, top: float, total: float, width: float
) -> None:
    for number, line in enumerate(lines):
        y = (top - number * _LINE_INCHES[style]) / total
        colour = "black" if style == "title" else "0.3"
        figure.text(
            _MARGIN_INCHES / width, y, _plain(line), fontsize=_POINTS[style], va="top", color=colour
        )


def _plain(text: str) -> str:
    """Keep names as they are: matplotlib would read dollars as mathematics."""
    return text.replace("$", r"\$")
