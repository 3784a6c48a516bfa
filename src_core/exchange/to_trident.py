"""Give a slide's patches and embeddings to programs that read TRIDENT's folders."""

from __future__ import annotations

from pathlib import Path

from src_core.embeddings.interchange import trident
from src_core.embeddings.store import EmbeddingStore
from src_core.exchange.embedded import Written, in_a_name, tracked, whole_encoders
from src_core.progress import Report, Stop, ignore, never
from src_core.slide_folder import SlideFolder

__all__ = ["export_trident"]


def export_trident(
    slide: SlideFolder, out: Path, *, report: Report = ignore, stop: Stop = never
) -> Written:
    """Write a slide's patches and embeddings the way TRIDENT lays them out.

    Parameters
    ----------
    slide : SlideFolder
    out : Path
        The job folder: it gets ``<scale>/patches`` and ``<scale>/features_<encoder>``.
    report, stop : callable, optional
        Told of, and asked after, each file; see :mod:`src_core.progress`.
    """
    grid = slide.load_grid()
    reader = slide.open()
    try:
        size = reader.properties.dimensions
    finally:
        reader.close()
    job = out / trident.job_name(grid)
    name = slide.slide_id
    path = job / "patches" / f"{name}_patches.h5"
    trident.write_patches(path, grid, trident.geometry(grid, size, name=name, folder=path.parent))
    written = [path]
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    encoders, notes = whole_encoders(store, grid)
    tracker = tracked(len(encoders), report, stop)
    for encoder in encoders:
        path = job / f"features_{in_a_name(encoder)}" / f"{name}.h5"
        about = trident.geometry(grid, size, name=name, folder=path.parent)
        trident.write_features(path, grid, store.view(encoder, grid.cells), about)
        written.append(path)
        tracker.advance(1, detail=path.name)
    return Written(written, (*trident.notes(grid), *notes))
