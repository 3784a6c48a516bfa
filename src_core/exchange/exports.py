"""Give a project's patches, embeddings and predictions to other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.clustering.result import load_clusters
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import ConfigError, ProjectError
from src_core.exchange.embedded import Written, in_a_name, tracked, whole_encoders
from src_core.geojson import Polygon, write_polygons
from src_core.inference.palette import cluster_colors
from src_core.inference.prediction import Prediction
from src_core.patches.grid import PatchGrid
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.project import Project, SlideFolder
from src_core.provenance import written_whole
from src_core.review.raster import label_numbers
from src_core.tissue.outlines import trace_outlines
from src_core.types import Labels

__all__ = [
    "PatchTable",
    "export_anndata",
    "export_geojson",
    "export_tissue",
    "patch_table",
]

_TILES = 5000
"""Between two reports: about half a second."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchTable:
    """What a project says of each patch of a slide; row i is cell i of the grid."""

    grid: PatchGrid
    clusters: Labels | None
    """Shape (N,); None if the slide is not clustered."""
    numbers: Mapping[str, NDArray[Any]]
    """Named columns, float32 of shape (N,): attention, and for each class its probability and its
    part of the logit, or of another output its part of the value. NaN where the model did not
    look."""
    classes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    """A reviewer's label for each patch, empty where there is none."""


def patch_table(project: Project, slide: SlideFolder, *, run_id: str | None) -> PatchTable:
    """Collect what a project says of a slide's patches.

    Parameters
    ----------
    project : Project
    slide : SlideFolder
        It has patches; all else may be missing.
    run_id : str, optional
        The run whose prediction is meant; one that the slide lacks is left out.

    Raises
    ------
    ProjectError
        If the slide has no patches, or a file is damaged.
    """
    grid = slide.load_grid()
    labels = None
    if slide.record.clusters_id is not None:
        labels = load_clusters(slide.current_clusters())[0]
    prediction = None if run_id is None else _prediction(project, slide, grid, run_id)
    return PatchTable(
        grid,
        labels,
        {} if prediction is None else _numbers(prediction),
        () if prediction is None else prediction.classes,
        _marks(slide, grid),
    )


def _prediction(
    project: Project, slide: SlideFolder, grid: PatchGrid, run_id: str
) -> Prediction | None:
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        return None
    prediction = Prediction.load(folder)
    prediction.require_grid(grid.grid_id, len(grid))
    return prediction


def _numbers(prediction: Prediction) -> dict[str, NDArray[Any]]:
    columns = {"attention": prediction.attention}
    for place, known in enumerate(prediction.classes):
        name = known.replace("/", "_")  # it would part the name of a column in HDF5
        if prediction.has_classes:
            columns[f"probability {name}"] = prediction.patch_probabilities[:, place]
        columns[f"contribution {name}"] = prediction.contributions[:, place]
    return columns


def _marks(slide: SlideFolder, grid: PatchGrid) -> tuple[str, ...]:
    """Return the label in force at the middle of each patch."""
    marks = slide.marks.current()
    if not marks:
        return ("",) * len(grid)
    names = list(dict.fromkeys(mark.label for mark in marks))
    words = np.array(["", *names], dtype=object)
    return tuple(words[label_numbers(grid, marks, names)].tolist())


def export_geojson(
    table: PatchTable, path: Path, *, report: Report = ignore, stop: Stop = never
) -> int:
    """Write a slide's patches as QuPath tiles with their measurements; return how many.

    A tile's class is what a reviewer called it, or else its cluster.

    Parameters
    ----------
    table : PatchTable
        Of the slide.
    path : Path
        ``.geojson``, or ``.geojson.gz``.
    report, stop : callable, optional
        Progress in tiles; see :mod:`src_core.progress`.
    """
    tracker = Tracker(report, stop, stage="Writing tiles", total=len(table.grid), unit="patches")

    def tiles() -> Iterator[Polygon]:
        for number, tile in enumerate(_tiles(table), start=1):
            yield tile
            if number % _TILES == 0 or number == len(table.grid):
                tracker.advance(number - tracker.done, detail=path.name)

    return write_polygons(path, tiles())


def export_tissue(slide: SlideFolder, path: Path) -> int:
    """Write a slide's tissue as QuPath annotations with their holes; return how many.

    Read again by ``prepare --tissue``, with the same scale of the mask, they are the same mask.

    Parameters
    ----------
    slide : SlideFolder
        It has tissue.
    path : Path
        ``.geojson``, or ``.geojson.gz``.
    """
    outlines = trace_outlines(slide.load_tissue())
    return write_polygons(path, (replace(one, classification="Tissue") for one in outlines))


def _tiles(table: PatchTable) -> Iterator[Polygon]:
    side = table.grid.lattice.patch_l0
    square = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float64)
    labels = table.clusters
    n_colors = 0 if labels is None else int(labels.max(initial=-1)) + 1
    colors = np.rint(cluster_colors(n_colors) * 255).astype(int).tolist()
    for row, corner in enumerate(table.grid.coords_xy):
        cluster = -1 if labels is None else int(labels[row])
        numbers = {name: float(values[row]) for name, values in table.numbers.items()}
        if cluster >= 0:
            numbers = {"cluster": float(cluster), **numbers}
        named = table.marks[row] or (f"cluster {cluster}" if cluster >= 0 else "")
        by_cluster = cluster >= 0 and not table.marks[row]
        r, g, b = colors[cluster] if by_cluster else (0, 0, 0)
        yield Polygon(
            exterior=corner + square,
            classification=named,
            color=(r, g, b) if by_cluster else None,
            object_type="tile",
            measurements=numbers,
        )


def export_anndata(
    slide: SlideFolder,
    table: PatchTable,
    folder: Path,
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> Written:
    """Write a slide's embeddings as AnnData, a file an encoder, with what is known of each patch.

    ``X`` is the embeddings; ``obs`` the slide, cell, corner, cluster, attention, probabilities and
    mark; ``obsm["spatial"]`` the middle of each patch; corners and middles are level-0 px.

    Parameters
    ----------
    slide : SlideFolder
    table : PatchTable
        Of the slide.
    folder : Path
        Gets ``<slide>-<encoder>.h5ad``.
    report, stop : callable, optional
        Told of, and asked after, each file; see :mod:`src_core.progress`.

    Raises
    ------
    ConfigError
        If the package anndata is not installed.
    ProjectError
        If the slide is not embedded, or the file cannot be written.
    """
    make = _anndata()
    grid = table.grid
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    whole, notes = whole_encoders(store, grid)
    if not whole:
        raise ProjectError(f"Slide {slide.slide_id!r} has no embeddings of its patches; run Embed.")
    written = []
    tracker = tracked(len(whole), report, stop)
    for encoder in whole:
        view = store.view(encoder, grid.cells)
        data = make(
            X=view.array(),
            obs=_observations(slide, table),
            obsm={"spatial": grid.coords_xy + grid.lattice.patch_l0 / 2},
            uns={
                "encoder": encoder,
                "patch_l0": grid.lattice.patch_l0,
                "slide_mpp": grid.lattice.slide_mpp,
            },
        )
        path = folder / f"{slide.slide_id}-{in_a_name(encoder)}.h5ad"
        with written_whole(path) as temporary:
            data.write_h5ad(temporary)
        written.append(path)
        tracker.advance(1, detail=path.name)
    return Written(written, tuple(notes))


def _anndata() -> Any:
    try:
        from anndata import AnnData
    except ImportError as error:
        raise ConfigError(
            "Tables for AnnData need the package anndata; "
            "run: pip install napari-fusecpath[exchange]."
        ) from error
    return AnnData


def _observations(slide: SlideFolder, table: PatchTable) -> Any:
    import pandas as pd

    cells, corners = table.grid.cells, table.grid.coords_xy
    columns: dict[str, Any] = {
        "slide": pd.Categorical([slide.slide_id] * len(cells)),
        "col": cells[:, 0],
        "row": cells[:, 1],
        "x": corners[:, 0],
        "y": corners[:, 1],
        **table.numbers,
    }
    if table.clusters is not None:
        columns["cluster"] = pd.Categorical([str(label) for label in table.clusters])
    if any(table.marks):
        columns["mark"] = pd.Categorical(table.marks)
    index = [f"{slide.slide_id}-{column}-{row}" for column, row in cells.tolist()]
    return pd.DataFrame(columns, index=index)
