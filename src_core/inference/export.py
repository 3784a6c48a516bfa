"""The figure of a slide: what it looks like and every map of it, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.inference.maps import magnitude, percentiles, to_raster
from src_core.inference.palette import cluster_colors
from src_core.inference.prediction import RESEARCH_USE, Prediction
from src_core.provenance import write_atomically
from src_core.types import Cells, Float32, Labels, Rgb

__all__ = ["Panel", "prediction_panels", "save_figure"]

_PANEL_INCHES = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture of the figure."""

    title: str
    values: NDArray[Any]
    """(rows, cols) numbers with a colour bar, NaN transparent; or (rows, cols, 3 or 4) colours."""
    bar: str = ""
    """What the colour bar says; numbers without it have no bar."""
    colormap: str = "viridis"
    limits: tuple[float, float] | None = None
    """Values at the ends of the colour bar; by default the smallest and largest."""
    um_per_pixel: float | None = None
    """Size of one of its pixels; None where the slide's scale is unknown."""


def prediction_panels(
    prediction: Prediction,
    *,
    labels: Labels,
    cells: Cells,
    shape_hw: tuple[int, int],
    stride_um: float | None,
    thumbnail: Rgb | None = None,
    shown_class: int | None = None,
) -> tuple[Panel, ...]:
    """Return the panels of a prediction: slide, clusters, attention, contribution, fused map.

    Parameters
    ----------
    prediction : Prediction
    labels, cells : ndarray
        Cluster (N,) and lattice cell (N, 2) of each patch.
    shape_hw : tuple of int
        Rows and columns of the lattice.
    stride_um : float or None, µm
        Distance between neighbouring patches.
    thumbnail : ndarray of uint8, shape (h, w, 3), optional
        The lattice's rectangle of the slide.
    shown_class : int, optional
        Output whose contribution and probability are shown; by default the predicted class, or
        the first where there are no classes, and no probabilities either.
    """
    c = prediction.shown_output if shown_class is None else shown_class
    lay = partial(to_raster, cells=cells, shape_hw=shape_hw)
    clusters = lay(_cluster_rgba(labels))
    panels = [
        Panel(title="Clusters", values=clusters, um_per_pixel=stride_um),
        *_class_panels(prediction, c, lay, stride_um),
    ]
    if prediction.has_classes and len(prediction.classes) > 2:
        size = lay(magnitude(prediction.map_contributions))
        bar = "largest difference between two classes' logits"
        panels.append(
            Panel(title="Weight in the decision", values=size, bar=bar, um_per_pixel=stride_um)
        )
    if thumbnail is not None:
        um = None if stride_um is None else stride_um * shape_hw[1] / thumbnail.shape[1]
        panels.insert(0, Panel(title="Slide", values=thumbnail, um_per_pixel=um))
    return tuple(panels)


def save_figure(
    path: Path, panels: Sequence[Panel], *, title: str = "", licences: Sequence[str] = ()
) -> None:
    """Write panels side by side as a picture.

    Parameters
    ----------
    path : Path
        Its ending names the format: png, pdf, svg, tiff or jpg.
    panels : sequence of Panel
        At least one.
    title : str
        Above all panels, such as the slide's name and its probabilities.
    licences : sequence of str
        Of the models in use; they stand below, after `RESEARCH_USE`.
    """
    # The object interface: pyplot keeps figures in global state and picks a window toolkit.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("a figure needs at least one panel")
    height, width = panels[0].values.shape[:2]
    tall = float(np.clip(_PANEL_INCHES * height / width, 1.5, 8.0))
    figure = Figure(figsize=(_PANEL_INCHES * len(panels), tall + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(2, len(panels), squeeze=False, height_ratios=[tall, 0.12])
    for axes, bar_axes, panel in zip(*rows, panels, strict=True):
        _draw(figure, axes, bar_axes, panel)
    if title:
        figure.suptitle(_plain(title), fontsize=12)
    figure.supxlabel(_plain("  |  ".join((RESEARCH_USE, *licences))), fontsize=8, color="0.3")
    form = path.suffix.lstrip(".") or "png"
    write_atomically(path, lambda stream: figure.savefig(stream, format=form, dpi=150))


def _class_panels(
    prediction: Prediction, c: int, lay: Callable[[Float32], Float32], um: float | None
) -> Iterator[Panel]:
    """Yield attention, and contribution to and probability of class `c`, as `lay` lays them."""
    name, contribution = prediction.classes[c], prediction.map_contributions[:, c]
    reach = float(np.nanmax(np.abs(contribution), initial=0.0)) or 1.0
    yield Panel(
        title="Attention",
        values=lay(percentiles(prediction.attention)),
        bar="attention, rank among the patches (0 to 1)",
        limits=(0.0, 1.0),
        um_per_pixel=um,
    )
    yield Panel(
        title=f"Contribution to {name}",
        values=lay(contribution),
        bar="part of the logit: below 0 against, above 0 for"
        if prediction.has_classes
        else f"part of {name}: below 0 lowers it, above 0 raises it",
        colormap="coolwarm",
        limits=(-reach, reach),
        um_per_pixel=um,
    )
    if not prediction.has_classes:
        return
    yield Panel(
        title=f"Fused prediction: {name}",
        values=lay(prediction.patch_probabilities[:, c]),
        bar=f"probability of {name}, by patch",
        colormap="magma",
        limits=(0.0, 1.0),
        um_per_pixel=um,
    )


def _draw(figure: Any, axes: Any, bar_axes: Any, panel: Panel) -> None:
    axes.set_title(_plain(panel.title), fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("0.92")
    low, high = panel.limits or (None, None)
    image = axes.imshow(
        panel.values, cmap=panel.colormap, vmin=low, vmax=high, interpolation="nearest"
    )
    if panel.bar:
        bar = figure.colorbar(image, cax=bar_axes, orientation="horizontal")
        bar.set_label(_plain(panel.bar), fontsize=8)
        bar.ax.tick_params(labelsize=7)
    else:
        bar_axes.set_axis_off()
    if panel.um_per_pixel:
        _draw_scale(axes, panel.values.shape[:2], panel.um_per_pixel)


def _draw_scale(axes: Any, shape_hw: tuple[int, int], um_per_pixel: float) -> None:
    """Draw a bar of a round number of micrometres, about a fifth of the panel wide."""
    from matplotlib.patheffects import withStroke

    height, width = shape_hw
    wanted = width * um_per_pixel / 5
    unit = 10.0 ** np.floor(np.log10(wanted))
    length = unit * max(step for step in (1, 2, 5) if step * unit <= wanted)
    left, y = 0.04 * width - 0.5, 0.95 * height - 0.5
    halo = [withStroke(linewidth=4, foreground="white")]
    axes.plot([left, left + length / um_per_pixel], [y, y], "k", lw=2, path_effects=halo)
    text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    axes.text(left, y - 0.02 * height, text, fontsize=8, va="bottom", path_effects=halo)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _cluster_rgba(labels: Labels) -> Float32:
    """Return the colour of each patch's cluster, shape (N, 4); no cluster is transparent."""
    colours = np.zeros((len(labels), 4), dtype=np.float32)
    has = labels >= 0
    colours[has, :3] = cluster_colors(int(labels.max(initial=-1)) + 1)[labels[has]]
    colours[has, 3] = 1.0
    return colours


def _plain(text: str) -> str:
    """Keep names as they are: matplotlib would read dollars as mathematics."""
    return text.replace("$", r"\$")
