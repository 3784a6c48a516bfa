"""Where the artifacts of one slide lie, and what a project remembers of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from src_core.clustering.legend_store import LegendStore, clusters_digest
from src_core.clustering.result import load_clusters
from src_core.config import Config, Help, Range
from src_core.errors import FusecpathError, ProjectError, SlideReadError
from src_core.locking import locked
from src_core.names import checked_name, is_safe_name, quoted_name
from src_core.patches.grid import PatchGrid
from src_core.provenance import read_config, write_json
from src_core.review.corrections import CorrectionStore
from src_core.review.marks import MarkStore
from src_core.review.measurements import MeasurementStore
from src_core.review.selection import SelectionStore
from src_core.slides import SlideReader, open_slide
from src_core.slides.identity import slide_fingerprint
from src_core.tissue.mask import TissueMask

__all__ = ["SlideFolder", "SlideRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRecord(Config):
    """What a project remembers of one slide (``slide.json``)."""

    slide_id: str
    path: str
    """Absolute, or relative to the project."""
    fingerprint: str
    slide_mpp: Annotated[float | None, Range(0.05, 5), Help("Micrometres per pixel, if given")] = (
        None
    )
    mpp: Annotated[float | None, Range(0.05, 5)] = None
    mpp_source: str = "unknown"
    tissue_id: str | None = None
    """The mask in use."""
    roi_id: str | None = None
    """The region of interest in use; the whole slide if none."""
    grid_id: str | None = None
    """The patch grid in use."""
    grid_recipe: str | None = None
    """Stands for everything that decided mask and grid; another one asks for both again."""
    candidates_id: str | None = None
    """That grid with the patches that their flaws exclude."""
    clusters_id: str | None = None
    """The clusters in use, of that grid."""
    joint_id: str | None = None
    """Those that the slide has in common with others, of that grid."""


@dataclass(frozen=True, slots=True)
class SlideFolder:
    """Where the artifacts of one slide lie."""

    project: Path
    slide_id: str

    @property
    def root(self) -> Path:
        """``slides/<slide_id>``."""
        return self.project / "slides" / checked_name(self.slide_id, what="slide")

    @property
    def pyramid(self) -> Path:
        """Coarse levels that the file lacks."""
        return self.root / "pyramid"

    def tissue(self, tissue_id: str) -> Path:
        """Folder of one tissue mask."""
        return self.root / "tissue" / checked_name(tissue_id, what="tissue mask")

    def roi(self, roi_id: str) -> Path:
        """File of one region of interest."""
        return self.root / "roi" / f"{checked_name(roi_id, what='region of interest')}.geojson"

    def quality(self, grid_id: str, quality_id: str) -> Path:
        """Folder of the measures of a grid's patches."""
        return self.grid(grid_id) / "quality" / checked_name(quality_id, what="quality")

    def embeddings(self, lattice_id: str) -> Path:
        """Folder of one lattice's `EmbeddingStore`."""
        return self.root / "lattices" / checked_name(lattice_id, what="lattice") / "embeddings"

    def grid(self, grid_id: str) -> Path:
        """Folder of one patch grid."""
        return self.root / "grids" / checked_name(grid_id, what="grid")

    def teacher_grid(self, recipe: str) -> Path:
        """Folder of a grid that was laid for teachers."""
        return self.root / "teacher_grids" / checked_name(recipe, what="grid")

    def clusters(self, grid_id: str, clusters_id: str) -> Path:
        """Folder of one clustering of a grid."""
        return self.grid(grid_id) / "clusters" / checked_name(clusters_id, what="clustering")

    def scatter(self, grid_id: str, scatter_id: str) -> Path:
        """Folder of one scatter of a grid's patches: along axes, or by neighbours."""
        return self.grid(grid_id) / "scatter" / checked_name(scatter_id, what="scatter")

    def sweep(self, grid_id: str, sweep_id: str) -> Path:
        """File of what several numbers of clusters of a grid are worth."""
        return self.grid(grid_id) / "sweeps" / checked_name(sweep_id, what="sweep") / "sweep.json"

    def comparison(self, grid_id: str, comparison_id: str) -> Path:
        """File of what several ways to cluster a grid are worth."""
        folder = checked_name(comparison_id, what="comparison")
        return self.grid(grid_id) / "comparisons" / folder / "comparison.json"

    def slide_embedding(self, encoder: str) -> Path:
        """Folder of the slide's embedding by one slide encoder."""
        return self.root / "slide_embeddings" / quoted_name(encoder, what="an encoder")

    def slide_encoders(self) -> tuple[str, ...]:
        """Return the slide encoders that have embedded the slide, sorted."""
        folders = (self.root / "slide_embeddings").glob("*/meta.json")
        return tuple(sorted(unquote(meta.parent.name) for meta in folders))

    @property
    def marks(self) -> MarkStore:
        """The reviewers' marks."""
        return _marks_at(self.root / "review" / "marks.jsonl")

    @property
    def selection(self) -> SelectionStore:
        """The patches that people have excluded from its bags, or pinned into them."""
        return _selection_at(self.root / "review" / "selection.jsonl")

    @property
    def measurements(self) -> MeasurementStore:
        """The distances and areas that people have measured on it."""
        return MeasurementStore(self.root / "review" / "measurements.json")

    @property
    def corrections(self) -> CorrectionStore:
        """What reviewers say of the slide's labels."""
        return CorrectionStore(self.root / "review" / "labels.json")

    @property
    def first_map(self) -> Path:
        """Folder of the first map of a model that is learning from the slide's marks."""
        return self.root / "review" / "first_map"

    @property
    def record(self) -> SlideRecord:
        """What the project remembers of the slide.

        Raises
        ------
        ProjectError
            If the slide is not in the project, or its record is damaged.
        """
        if not (self.root / "slide.json").is_file():
            raise ProjectError(
                f"Slide {self.slide_id!r} is not in project {self.project}; prepare it first."
            )
        path = self.root / "slide.json"
        record = read_config(path, SlideRecord)
        ids = (record.tissue_id, record.roi_id, record.grid_id, record.candidates_id)
        for name in (*ids, record.clusters_id, record.joint_id, record.fingerprint):
            if name is not None and not is_safe_name(name):
                raise ProjectError(f"{path} is damaged: {name!r} is no artifact of the project.")
        return record

    def remember(self, **changes: Any) -> SlideRecord:
        """Change some fields of the record on disk and return it; other runs' changes stay."""
        with locked(self.project):  # not the slide's own folder, which `forget` moves away
            record = self.record.replace(**changes)
            write_json(self.root / "slide.json", record.to_dict())
        return record

    @property
    def is_there(self) -> bool:
        """Whether the slide's file, or another one, lies where the slide was."""
        try:
            return (self.project / self.record.path).exists()
        except (FusecpathError, OSError):  # opening it says why
            return False

    def open(self) -> SlideReader:
        """Open the slide.

        Raises
        ------
        SlideReadError
            If the slide is not where it was, or another one is there.
        """
        record = self.record
        path = self.project / record.path  # an absolute path replaces the project's
        if not path.exists():
            raise SlideReadError(
                f"Slide {self.slide_id!r} is no longer at {path}; relocate it "
                "or prepare it with its new path (it is known by its content: nothing is lost)."
            )
        if slide_fingerprint(path) != record.fingerprint:
            raise SlideReadError(
                f"{path} is no longer what slide {self.slide_id!r} is: put that back, "
                f"or let prepare forget {self.slide_id} (what was made of the old one is then laid "
                "aside, in the project's folder forgotten)."
            )
        return open_slide(path, slide_mpp=record.slide_mpp)

    def load_tissue(self) -> TissueMask:
        """Load the mask in use."""
        return TissueMask.load(self.tissue(self._current("tissue_id", "Prepare")))

    def load_grid(self) -> PatchGrid:
        """Load the patch grid in use."""
        return PatchGrid.load(self.grid(self._current("grid_id", "Prepare")))

    def current_clusters(self) -> Path:
        """Return the folder of the clusters in use."""
        grid_id = self._current("grid_id", "Prepare")
        return self.clusters(grid_id, self._current("clusters_id", "Cluster"))

    def joint_clusters(self) -> Path:
        """Return the folder of the clusters that the slide has in common with others."""
        grid_id = self._current("grid_id", "Prepare")
        return self.clusters(grid_id, self._current("joint_id", "Cluster the cohort"))

    def shown_clusters(self, *, joint: bool) -> Path:
        """Return the folder of the clusters to look at: those in common, if wanted and there."""
        is_joint = joint and self.record.joint_id is not None
        return self.joint_clusters() if is_joint else self.current_clusters()

    def legend(self, clusters: Path) -> LegendStore:
        """Return what people call the clusters of a clustering of the slide.

        Clusters that slides have in common are called the same on all of them.

        Parameters
        ----------
        clusters : Path
            Its folder.

        Raises
        ------
        ProjectError
            If the clusters are missing or damaged.
        """
        labels, meta = load_clusters(clusters)
        cohort, n_clusters = meta["recipe"].get("cohort"), meta["n_clusters"]
        if cohort is None:
            digest = clusters_digest(labels)
            return LegendStore(clusters / "legend.json", n_clusters=n_clusters, of=digest)
        name = checked_name(str(cohort), what="clustering")
        folder = self.project / "cohort" / "clusters" / name
        return LegendStore(folder / "legend.json", n_clusters=n_clusters, of=name)

    def _current(self, key: str, step: str) -> str:
        value = getattr(self.record, key)
        if value is None:
            raise ProjectError(f"Slide {self.slide_id!r} lacks this step; run {step} first.")
        return str(value)


_STORES = 8
"""Files of a kind that stay read, of at most 64 MiB each: a window asks for one many times a
minute, and of a hundred thousand squares reading takes a second."""


@lru_cache(maxsize=_STORES)
def _marks_at(path: Path) -> MarkStore:
    return MarkStore(path)


@lru_cache(maxsize=_STORES)
def _selection_at(path: Path) -> SelectionStore:
    return SelectionStore(path)
