"""Give a slide's patches and embeddings to programs that read TRIDENT's folders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.interchange import trident
from src_core.embeddings.interchange.names import differences, trident_name
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import FusecpathError
from src_core.exchange.embedded import Written, in_a_name, tracked, whole_encoders
from src_core.patches.grid import PatchGrid
from src_core.progress import Report, Stop, ignore, never
from src_core.slide_folder import SlideFolder

__all__ = ["export_trident"]


def export_trident(
    slide: SlideFolder, out: Path, *, report: Report = ignore, stop: Stop = never
) -> Written:
    """Write a slide's patches and embeddings the way TRIDENT lays them out.

    Encoders are called as TRIDENT calls them, where it has them.

    Parameters
    ----------
    slide : SlideFolder
    out : Path
        The job folder: it gets ``<scale>/patches``, ``<scale>/features_<encoder>`` and, by the
        scale of the patches that a slide encoder has read, ``<scale>/slide_features_<encoder>``.
    report, stop : callable, optional
        Told of, and asked after, each file; see :mod:`src_core.progress`.
    """
    grid = slide.load_grid()
    job = _Job(slide, out, grid, _size(slide), list(trident.notes(grid)))
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    encoders, notes = whole_encoders(store, grid)
    job.notes.extend(notes)
    slide_encoders = slide.slide_encoders()
    path = job.path(grid, "patches", f"{slide.slide_id}_patches.h5")
    trident.write_patches(path, grid, job.about(grid, path))
    job.written.append(path)
    tracker = tracked(len(encoders) + len(slide_encoders), report, stop)
    for encoder in encoders:
        job.write_features(encoder, store)
        tracker.advance(1, detail=job.written[-1].name)
    for encoder in slide_encoders:
        job.write_slide_features(encoder)
        tracker.advance(1, detail=job.written[-1].name)
    return Written(job.written, tuple(job.notes))


def _size(slide: SlideFolder) -> tuple[int, int]:
    reader = slide.open()
    try:
        return reader.properties.dimensions
    finally:
        reader.close()


@dataclass(slots=True)
class _Job:
    """TRIDENT's job folder, as far as one slide goes."""

    slide: SlideFolder
    out: Path
    grid: PatchGrid
    """In use."""
    size: tuple[int, int]
    notes: list[str]
    written: list[Path] = field(default_factory=list)

    def path(self, grid: PatchGrid, folder: str, file: str) -> Path:
        return self.out / trident.job_name(grid) / folder / file

    def about(self, grid: PatchGrid, path: Path) -> dict[str, Any]:
        return trident.geometry(grid, self.size, name=self.slide.slide_id, folder=path.parent)

    def write_features(self, encoder: str, store: EmbeddingStore) -> None:
        theirs = trident_name(encoder)
        file = f"{self.slide.slide_id}.h5"
        path = self.path(self.grid, f"features_{in_a_name(theirs)}", file)
        view = store.view(encoder, self.grid.cells)
        about = self.about(self.grid, path)
        trident.write_features(path, self.grid, view, about, encoder=theirs)
        self.notes.extend(differences(encoder, tool="trident"))
        self.written.append(path)

    def write_slide_features(self, encoder: str) -> None:
        try:
            vector, meta = load_slide_embedding(self.slide.slide_embedding(encoder))
        except FusecpathError as error:
            self.notes.append(f"{encoder} is left out: {str(error).removesuffix('.')}")
            return
        grid = self._patches_of(meta)
        theirs = trident_name(encoder)
        folder, file = f"slide_features_{in_a_name(theirs)}", f"{self.slide.slide_id}.h5"
        path = self.path(grid or self.grid, folder, file)
        about = {"name": self.slide.slide_id, "savetodir": str(path.parent)}
        if grid is None:
            self.notes.append(
                f"{encoder} is written without coords, for where its patches lie is not known here"
            )
        else:
            about = self.about(grid, path)
        trident.write_slide_features(path, grid, vector, about, encoder=theirs)
        self.written.append(path)

    def _patches_of(self, meta: dict[str, Any]) -> PatchGrid | None:
        """Return the patches that a slide's embedding was made from, if they are known."""
        grid_id = meta.get("grid_id")
        try:
            return PatchGrid.load(self.slide.grid(grid_id)) if isinstance(grid_id, str) else None
        except FusecpathError:
            return None
