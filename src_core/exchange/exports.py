"""Give a project's patches, embeddings and predictions to other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from src_core import RESEARCH_USE
from src_core.clustering.legend import Legend
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import ConfigError, ProjectError
from src_core.exchange.embedded import Written, in_a_name, tracked, whole_encoders
from src_core.exchange.patch_table import PatchTable, encoder_licences
from src_core.geojson import Polygon, write_polygons
from src_core.inference.palette import cluster_colors
from src_core.patient_outcomes import PatientOutcome
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.project import SlideFolder
from src_core.provenance import write_atomically, written_whole
from src_core.tissue.outlines import trace_outlines
from src_core.types import Json

__all__ = ["export_anndata", "export_csv", "export_geojson", "export_tissue"]

_TILES = 5000
"""Between two reports: about half a second."""


def export_geojson(
    table: PatchTable, path: Path, *, report: Report = ignore, stop: Stop = never
) -> int:
    """Write a slide's patches as QuPath tiles with their measurements; return how many.

    A tile's class is what a reviewer called it, or else its cluster, by the name that people gave
    that. The numbers are those of the clusters as they were found.

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

    notes: dict[str, Json] = {"use": RESEARCH_USE, "licences": dict(table.licences)}
    return write_polygons(path, tiles(), notes=notes)


def export_csv(
    slide_id: str,
    table: PatchTable,
    path: Path,
    *,
    patient: PatientOutcome | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> None:
    """Write what is known of a slide's patches as a table, a line each, in the grid's order.

    A cell is empty where nothing is known: no cluster, no mark, a patch that no bag held.

    Parameters
    ----------
    slide_id : str
        For the first column: tables of several slides may be put together.
    table : PatchTable
        Of the slide.
    path : Path
        ``.csv``, in UTF-8.
    patient : PatientOutcome, optional
        What the model says of the slide's patient: it stands in every line.
    report, stop : callable, optional
        Progress in patches; see :mod:`src_core.progress`.
    """
    columns, clusterings = table.measurements(), table.clusterings()
    called, of_patient = table.cluster_names(), _of_patient(patient)
    tracker = Tracker(report, stop, stage="Writing a table", total=len(table.grid), unit="patches")
    head = ["slide", "col", "row", "x", "y", "side", "mark", *clusterings, *called, *columns]
    head += of_patient
    last = [_harmless(one) if isinstance(one, str) else one for one in of_patient.values()]
    side = table.grid.lattice.patch_l0

    def write(stream: IO[bytes]) -> None:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(head)
        both = zip(table.grid.cells.tolist(), table.grid.coords_xy.tolist(), strict=True)
        for row, (cell, corner) in enumerate(both):
            clusters = [labels[row] if labels[row] >= 0 else "" for labels in clusterings.values()]
            numbers = [_cell(values[row]) for values in columns.values()]
            mark = _harmless(table.marks[row])
            names = [_harmless(words[row]) for words in called.values()]
            known = [slide_id, *cell, *corner, side, mark, *clusters, *names, *numbers]
            writer.writerow([*known, *last])
            if (row + 1) % _TILES == 0 or row + 1 == len(table.grid):
                tracker.advance(row + 1 - tracker.done, detail=path.name)
        text.flush()
        text.detach()  # who opened the stream closes it

    write_atomically(path, write)


def _of_patient(one: PatientOutcome | None) -> dict[str, str | float]:
    """Return what is the same for all patches, the patient's, by the name of its column."""
    if one is None:
        return {}
    kind = "probability" if one.call else "value"
    said = {f"patient {kind} {name}": value for name, value in one.values.items()}
    return {"patient": one.patient, "predicted slides of patient": len(one.slides), **said}


def _cell(value: Any) -> str | int:
    """Return a number in the fewest digits that give it back, a flag as 1 or 0, NaN as nothing."""
    if isinstance(value, np.bool_):
        return int(value)
    return "" if np.isnan(value) else str(value)


def _harmless(text: str) -> str:
    """Return what a reviewer typed so that no spreadsheet takes it for a formula and runs it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


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
    labels, columns = table.clusters, table.measurements()
    legend = table.legends.get("cluster")
    if legend is None:
        legend = Legend(n_clusters=0 if labels is None else int(labels.max(initial=-1)) + 1)
    rgb = legend.rgb(cluster_colors(legend.n_clusters))
    colors, names = np.rint(rgb * 255).astype(int).tolist(), legend.all_names()
    for row, corner in enumerate(table.grid.coords_xy):
        cluster = -1 if labels is None else int(labels[row])
        numbers = {name: float(values[row]) for name, values in columns.items()}
        for name, own in table.clusterings().items():
            if own[row] >= 0:
                numbers[name] = float(own[row])
        named = table.marks[row] or (names[cluster] if cluster >= 0 else "")
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

    ``X`` is the embeddings; ``obs`` the slide, cell and corner of each patch and what its
    `PatchTable` says; ``obsm["spatial"]`` its middle; corners and middles are level-0 px.

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
                "use": RESEARCH_USE,
                "licences": _told({**encoder_licences([encoder]), **table.licences}),
            },
        )
        path = folder / f"{slide.slide_id}-{in_a_name(encoder)}.h5ad"
        with written_whole(path) as temporary:
            data.write_h5ad(temporary)
        written.append(path)
        tracker.advance(1, detail=path.name)
    return Written(written, tuple(notes))


def _told(licences: Mapping[str, str]) -> str:
    """Return licences as one text: a name with a slash could be no key in HDF5."""
    return ", ".join(f"{name} {licence}" for name, licence in licences.items())


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
        **table.flags,
        **table.numbers,
    }
    for name, labels in table.clusterings().items():
        columns[name] = pd.Categorical([str(label) for label in labels])
    for name, words in table.cluster_names().items():
        columns[name] = pd.Categorical(words)
    if any(table.marks):
        columns["mark"] = pd.Categorical(table.marks)
    index = [f"{slide.slide_id}-{column}-{row}" for column, row in cells.tolist()]
    return pd.DataFrame(columns, index=index)
