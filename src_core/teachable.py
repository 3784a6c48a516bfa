"""Which slides of a project a model may learn from, and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src_core.cohorts import names_in
from src_core.embeddings.store import EmbeddingView
from src_core.errors import ProjectError
from src_core.model_origins import require_patches
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.patches.grid import PatchGrid
from src_core.pipeline import stored_clusters, stored_views
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import check_recipe
from src_core.types import Labels

__all__ = ["Teachable", "held_back_with_kin"]


@dataclass(frozen=True, slots=True)
class Teachable:
    """What a model can read of slides, or a sentence that says why it may not."""

    project: Project
    meta: CheckpointMeta
    """Of the model."""
    asked: Mapping[str, Any]
    """``config.json`` of its run."""

    @property
    def config(self) -> ProjectConfig:
        """What the project was set to when the model was trained."""
        return ProjectConfig.from_dict(self.asked.get("project", {}))

    def grid(self, slide: SlideFolder, what: str) -> PatchGrid:
        """Return the patches of a slide, if what was said of it may be learned from.

        Parameters
        ----------
        slide : SlideFolder
        what : str
            Begins the sentence that says it may not, e.g. ``"The marks of slide 'a' are"``.

        Raises
        ------
        ProjectError
            If the slide, or another one of its patient, is held back.
        GridMismatchError
            If its patches are of another magnification than those that the model knows.
        """
        if slide.slide_id in held_back_with_kin(self.project, self.asked):
            raise ProjectError(
                f"{what} not learned from: it is held back for the final score, which would no "
                "longer be one; mark slides that are not."
            )
        grid = slide.load_grid()
        sizes = self.meta.preparation.get("patches")
        others = "those that the model learned from"
        require_patches(sizes, grid.lattice, slide_id=slide.slide_id, others=others)
        return grid

    def views(self, slide: SlideFolder, grid: PatchGrid) -> tuple[EmbeddingView, ...]:
        """Return what was embedded of a slide, if by the weights that the model knows."""
        views = stored_views(slide, grid, [source.name for source in self.meta.encoders])
        for view, source in zip(views, self.meta.encoders, strict=True):
            what = f"The embeddings of slide {slide.slide_id} by {source.name}"
            check_recipe(dict(view.recipe), source.recipe or dict(view.recipe), what=what)
        return views

    def glance(self, slide: SlideFolder) -> PatchGrid:
        """Return the patches of a slide with a new label, as far as small files let it be used."""
        grid = self.grid(slide, f"The corrected label of slide {slide.slide_id!r} is")
        if not (slide.grid(grid.grid_id) / "clusters").is_dir():
            raise ProjectError(f"Slide {slide.slide_id!r} is not clustered; run Cluster first.")
        return grid

    def require_ready(self, slide: SlideFolder) -> None:
        """Raise what keeps a slide with a label from being learned from."""
        self.clusters(slide, self.glance(slide))

    def clusters(self, slide: SlideFolder, grid: PatchGrid) -> Labels:
        """Return the clusters of a slide, without the patches that people have excluded."""
        views = self.views(slide, grid)
        clusters = stored_clusters(slide, grid, views, self.config.clustering)
        return slide.selection.edits(grid).applied(clusters, slide_id=slide.slide_id)


def held_back_with_kin(project: Project, asked: Mapping[str, Any]) -> set[str]:
    """Return the slides that a run holds back, and all others of their patients.

    Parameters
    ----------
    project : Project
    asked : mapping
        ``config.json`` of the run.
    """
    held = set(names_in(asked.get("held_back")))
    rows = project.labels().rows
    patients = {row.patient_id for row in rows if row.slide_id in held}
    return held | {row.slide_id for row in rows if row.patient_id in patients}
