"""What all plots of a report share: size, colours, and how they become bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from src_core.inference.palette import cluster_colors

__all__ = ["MOST_DRAWN", "Plot", "colour", "draw", "short"]

MOST_DRAWN = 8
"""Classes, targets or folds with a line or a panel of their own."""

_LONGEST = 28
_COLOURS = (*(tuple(cluster_colors(7)[i]) for i in (4, 5, 2, 6, 0, 1)), (0.1, 0.1, 0.1))
"""Okabe and Ito's, the strongest on white first, and black for their yellow."""

_STYLES = ("-", "--", "-.", ":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture with what it says to who sees it and to who does not."""

    png: bytes
    width: int
    """On a page, in CSS pixels: text is as large as in all others."""
    caption: str
    alt: str


def draw(
    paint: Callable[[Any], None], *, size: tuple[float, float], caption: str, alt: str
) -> Plot:
    """Return what `paint` draws on a figure of `size` inches; the same bytes each time."""
    # The object interface: pyplot keeps figures in global state and picks a window toolkit.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    paint(figure)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=160, metadata={"Software": None})
    return Plot(png=stream.getvalue(), width=round(100 * size[0]), caption=caption, alt=alt)


def colour(number: int) -> dict[str, Any]:
    """Return colour and line style of a line: told apart without colours, too."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": _STYLES[number % len(_STYLES)],
    }


def short(name: str) -> str:
    """Return a name that fits a legend, as text: matplotlib reads dollars as mathematics."""
    cut = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return "".join(c if c.isprintable() else " " for c in cut).replace("$", r"\$")
