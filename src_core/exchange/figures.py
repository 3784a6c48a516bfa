"""Draw a slide of a project, or a part of it, with one of its maps, for print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from src_core import RESEARCH_USE
from src_core.clustering.legend import Legend
from src_core.clustering.result import load_agreement, load_clusters
from src_core.errors import ConfigError, ProjectError
from src_core.exchange.patch_table import encoder_licences
from src_core.inference.maps import (
    centred_reach,
    percentiles,
    robust_limits,
    signed_percentiles,
    smoothed,
)
from src_core.inference.palette import cluster_colors
from src_core.inference.prediction import Prediction
from src_core.inference.print_figure import PRINT_DPI, Overlay, Region, save_print
from src_core.patches.grid import PatchGrid
from src_core.project import Project, SlideFolder
from src_core.slides.base import SlideProperties, SlideReader
from src_core.slides.scaled import finer_scale, read_scaled
from src_core.types import BoolArray, Labels, Rgb, Task

__all__ = ["FigureMap", "Wanted", "draw_figure"]

FigureMap: TypeAlias = Literal["clusters", "agreement", "attention", "contribution", "prediction"]

_MOST_PIXELS = 2**27
_MOST_NAMED = 120
"""Clusters in a legend; more would be taller than a page."""

_PER_CENT = 100.0
_PARTS: dict[Task, str] = {
    "classification": "part of the logit",
    "regression": "in the unit of the labels",
    "survival": "part of the log-hazard",
}
_RED: dict[Task, str] = {
    "classification": "red speaks for it",
    "regression": "red raises it",
    "survival": "red means an earlier event",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a figure is to show, and how large."""

    what: FigureMap
    width_mm: float
    view: Region | None = None
    """The part of the slide; the whole of it if none."""
    run_id: str | None = None
    """Whose map; the newest run's if none."""
    output: str | None = None
    """The class, or other output, of the map; the predicted one if none."""
    is_joint: bool = False
    """The clusters that the slide has in common with others."""
    by_rank: bool = False
    """Attention and contributions as percentiles within the slide, as the window may show them."""
    is_smooth: bool = False
    """Between the patches too, as the window may show it; clusters have nothing between them."""


def draw_figure(project: Project, slide: SlideFolder, wanted: Wanted, path: Path) -> None:
    """Save a slide with one of its maps, a scale bar and a legend, at 300 dots an inch.

    Parameters
    ----------
    project : Project
    slide : SlideFolder
        With what is to be shown of it.
    wanted : Wanted
    path : Path
        Its ending names the format: png, tiff or pdf.

    Raises
    ------
    ConfigError
        If the picture would be too large, there is no such output, or no such format.
    ProjectError
        If the slide lacks what is to be shown, or the view misses it.
    SlideReadError
        If the slide cannot be read.
    """
    if path.suffix.lower() not in (".png", ".tif", ".tiff", ".pdf"):
        raise ConfigError(f"{path.name} names no format; let it end with .png, .tiff or .pdf.")
    grid = slide.load_grid()
    reader = slide.open()
    try:
        properties = reader.properties
        region = _region(properties, wanted.view)
        overlay, licences = _overlay(project, slide, grid, wanted, region)
        if wanted.is_smooth and not overlay.legend:
            title = f"{overlay.title}, smoothed between patches"
            overlay = replace(overlay, raster=smoothed(overlay.raster), title=title)
        picture = _picture(reader, region, wanted.width_mm)
    finally:
        reader.close()
    named = ", ".join(f"{name} {licence}" for name, licence in licences.items())
    title = f"{slide.slide_id} – {overlay.title}"
    if properties.mpp is None:
        title += " (the scale of the slide is unknown)"
    foot = (RESEARCH_USE, f"Encoders: {named}." if named else "")
    save_print(
        path, picture, region, overlay, grid.lattice, mpp=properties.mpp, title=title, foot=foot
    )


def _overlay(
    project: Project, slide: SlideFolder, grid: PatchGrid, wanted: Wanted, region: Region
) -> tuple[Overlay, dict[str, str]]:
    """Return what lies on the slide, and the licences of the models that made it."""
    if wanted.what in ("clusters", "agreement"):
        folder = slide.shown_clusters(joint=wanted.is_joint)
        labels, meta = load_clusters(folder)
        licences = encoder_licences(meta["recipe"].get("views") or ())
        if wanted.what == "clusters":
            of_all = " of all slides" if folder.name == slide.record.joint_id else ""
            legend = slide.legend(folder).current()
            return _clusters(grid, labels, region, legend, of_all), licences
        known = load_agreement(folder)
        if not known.shape[1]:
            raise ProjectError(f"Slide {slide.slide_id!r} has no agreement; run Cluster again.")
        title = "agreement of the encoders"
        bar = "share of like patches in the same cluster, mean over the encoders (0 to 1)"
        values = known.mean(axis=1, dtype=np.float32)
        raster = grid.raster(values, fill=np.nan)
        return Overlay(raster=raster, title=title, bar=bar, colormap="cividis"), licences
    run_id = wanted.run_id or project.latest_run()
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        raise ProjectError(f"Slide {slide.slide_id!r} has no prediction by {run_id}; run Predict.")
    prediction = Prediction.load(folder)
    prediction.require_grid(grid.grid_id, len(grid))
    return _map(grid, prediction, wanted, run_id), dict(prediction.licences)


def _clusters(
    grid: PatchGrid, found: Labels, region: Region, legend: Legend, of_all: str
) -> Overlay:
    """Return the clusters; the legend names those that the region shows, the largest first."""
    labels, has = legend.shown(found), found >= 0
    count = len(np.unique(legend.leaders[: int(found.max(initial=-1)) + 1]))
    colours = legend.rgb(cluster_colors(legend.n_clusters))
    sizes = np.bincount(labels[has], minlength=legend.n_clusters)
    rgba = np.zeros((len(labels), 4), np.float32)
    rgba[has, :3], rgba[has, 3] = colours[labels[has]], 1.0
    # Merged ones are larger than their numbers say.
    seen = sorted(np.unique(labels[has & _inside(grid, region)]).tolist(), key=lambda n: -sizes[n])
    entries: list[tuple[str, Sequence[float]]] = [
        (f"{legend.name(number)} ({sizes[number] / len(labels):.1%})", colours[number].tolist())
        for number in seen[:_MOST_NAMED]
    ]
    if len(seen) > _MOST_NAMED:
        entries.append((f"and {len(seen) - _MOST_NAMED} smaller ones", (1.0, 1.0, 1.0)))
    title = f"{count} clusters{of_all} (share of the slide's patches)"
    raster = grid.raster(rgba, fill=0)
    return Overlay(raster=raster, title=title, legend=entries, opacity=0.5)


def _inside(grid: PatchGrid, region: Region) -> BoolArray:
    """Tell which patches a region shows a part of, shape (N,)."""
    x, y, width, height = region
    middles = grid.coords_xy + grid.lattice.patch_l0 / 2
    half = grid.lattice.stride_l0 / 2
    low, high = np.array([x, y]), np.array([x + width, y + height])
    beyond = (middles + half <= low) | (middles - half >= high)  # (N, 2)
    inside: BoolArray = np.asarray(~beyond.any(axis=1))
    return inside


def _map(grid: PatchGrid, prediction: Prediction, wanted: Wanted, run_id: str) -> Overlay:
    column = prediction.shown_output
    if wanted.output is not None:
        if wanted.output not in prediction.classes:
            known = ", ".join(prediction.classes)
            raise ConfigError(f"{run_id} has no output {wanted.output!r}; it has {known}.")
        column = prediction.classes.index(wanted.output)
    name = prediction.classes[column]
    if wanted.what == "attention":
        return _attention(grid, prediction, run_id, by_rank=wanted.by_rank)
    if wanted.what == "contribution":
        return _contribution(grid, prediction, column, run_id, by_rank=wanted.by_rank)
    if not prediction.has_classes:
        raise ProjectError(f"{run_id} knows no classes, so patches have no probabilities; show "
                           "the contribution instead.")  # fmt: skip
    return Overlay(
        raster=grid.raster(prediction.patch_probabilities[:, column], fill=np.nan),
        title=f"fused prediction map of {name} by {run_id}",
        bar=f"probability of {name}, by patch (0 to 1)",
    )


def _attention(grid: PatchGrid, prediction: Prediction, run_id: str, *, by_rank: bool) -> Overlay:
    values = prediction.attention
    low, high = robust_limits(values)
    limits, bar = (min(low, 0.0), high), "attention: share of the bag, 1 = average"
    if by_rank:
        values, limits = percentiles(values) * _PER_CENT, (0.0, _PER_CENT)
        bar = "attention: percentile within the slide"
    return Overlay(
        raster=grid.raster(values, fill=np.nan),
        title=f"attention of {run_id}",
        bar=bar,
        colormap="inferno",
        limits=limits,
    )


def _contribution(
    grid: PatchGrid, prediction: Prediction, column: int, run_id: str, *, by_rank: bool
) -> Overlay:
    name, task = prediction.classes[column], prediction.task
    values = prediction.map_contributions[:, column]
    reach, what = centred_reach(values), _PARTS[task]
    if by_rank:
        values, reach = signed_percentiles(values) * _PER_CENT, _PER_CENT
        what = "percentile of its size"
    return Overlay(
        raster=grid.raster(values, fill=np.nan),
        title=f"contribution to {name} by {run_id}",
        bar=f"contribution to {name}: {what}, {_RED[task]}",
        colormap="coolwarm",
        limits=(-reach, reach),
    )


def _region(properties: SlideProperties, view: Region | None) -> Region:
    """Return the part of a view that is slide, or all that was scanned."""
    if view is None:
        x, y, width, height = properties.bounds_xywh
        return float(x), float(y), float(width), float(height)
    left, top = max(0.0, view[0]), max(0.0, view[1])
    right = min(float(properties.dimensions[0]), view[0] + view[2])
    bottom = min(float(properties.dimensions[1]), view[1] + view[3])
    if right - left < 1 or bottom - top < 1:
        raise ProjectError(f"The view shows nothing of {properties.path.name}; move to the slide.")
    return left, top, right - left, bottom - top


def _picture(reader: SlideReader, region: Region, width_mm: float) -> Rgb:
    """Return the region in the pixels that the figure has for it."""
    x, y, width, height = region
    columns = max(1, round(width_mm / 25.4 * PRINT_DPI))
    rows = max(1, round(columns * height / width))
    if columns * rows > _MOST_PIXELS:
        raise ConfigError(
            f"A figure of {width_mm:g} mm would be {rows / PRINT_DPI * 25.4:.0f} mm high, which "
            "is too large; give a smaller width, or show a part of the slide."
        )
    scale = finer_scale(reader.properties, width / columns)
    size = (max(1, round(width / scale.downsample)), max(1, round(height / scale.downsample)))
    pixels = read_scaled(reader, (round(x), round(y)), scale, size)
    picture = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.LANCZOS)
    return np.asarray(picture)
