"""The way of the data over a project: each stage reads what the one before it has stored.

Every function takes a :class:`~src_core.project.Project`, does what is missing and stores it;
what is there by the same recipe is kept. So each may be called again after it was cancelled or
killed. Long ones take `report` and `stop` (see :mod:`src_core.progress`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from src_core.clustering.result import ClusterConfig, has_clusters, load_clusters, save_clusters
from src_core.clustering.scatter import has_scatter, save_scatter, scatter_recipe
from src_core.devices import DeviceName
from src_core.embedder import Embedder
from src_core.embeddings.pace import Pace
from src_core.embeddings.store import EmbeddingStore, EmbeddingView
from src_core.errors import FusecpathError, ProjectError, SlideTooLargeError, StorageFullError
from src_core.patches.grid import PatchGrid
from src_core.progress import Report, Stop, check, part_of
from src_core.project import Project, SlideFolder
from src_core.provenance import recipe_id

if TYPE_CHECKING:
    from src_core.types import Labels

__all__ = [
    "Embedded",
    "Failure",
    "cluster_slide",
    "clusters_recipe",
    "computed_notes",
    "each",
    "each_slide",
    "embed_slides",
    "made_clusters",
    "made_scatter",
    "stored_clusters",
    "stored_views",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One slide of a cohort that could not be done, and why."""

    slide_id: str
    message: str
    teacher: str | None = None
    """The slide encoder that needs more memory than is free."""
    max_patches: int | None = None
    """For how many patches what is free is enough."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What came of embedding slides."""

    failures: list[Failure]
    """What could not be done; a slide may have several."""
    pace: Pace = field(default_factory=Pace)
    """Of what was embedded now; what was there already does not count."""
    notes: dict[str, str] = field(default_factory=dict)
    """By slide, what was done that nobody asked for."""

    def summary(self) -> dict[str, dict[str, float]]:
        """Return how fast it went, as a verb tells it; empty if nothing was to do."""
        if self.pace.patches == 0:
            return {}
        pace = {
            "patches": self.pace.patches,
            "patches_per_second": round(self.pace.rate, 1),
            "waiting_for_slide": round(self.pace.waiting, 3),
        }
        return {"embedding": pace}


def each(
    items: Iterable[T], work: Callable[[T], object], *, name: Callable[[T], str], stop: Stop
) -> list[Failure]:
    """Do `work` for every item; what the user can mend is collected, a bug is raised.

    A full disk is raised too: it would stop the next item as well, after the same work.
    """
    failures = []
    for item in items:
        check(stop)
        try:
            work(item)
        except StorageFullError:
            raise
        except FusecpathError as error:
            failures.append(Failure(slide_id=name(item), message=str(error)))
    return failures


def each_slide(
    slides: Iterable[SlideFolder], work: Callable[[SlideFolder], object], *, stop: Stop
) -> list[Failure]:
    """Do `work` for every slide of a project; see `each`."""
    return each(slides, work, name=lambda slide: slide.slide_id, stop=stop)


def embed_slides(
    project: Project,
    slides: Sequence[SlideFolder],
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Embedded:
    """Embed the patches of slides by all encoders of the project, one read pass a slide.

    Slides that lack nothing are not opened, and encoders that no slide lacks are not loaded. What
    was made by other weights than an encoder has now is made again, and the notes say so by slide.

    Raises
    ------
    FusecpathError
        If none of the encoders that are needed can be had.
    StorageFullError
        If the disk is full.
    """
    embedder = Embedder(project.config, device)
    lacking: dict[str, int] = {}
    sizes: dict[str, int] = {}

    def measure(slide: SlideFolder) -> None:
        lacking.update(dict.fromkeys(embedder.lacking(slide), 0))
        sizes[slide.slide_id] = len(slide.load_grid())

    failures = each_slide(slides, measure, stop=stop)
    embedder.load(lacking, report=report, stop=stop)
    total, before = sum(sizes.values()), 0

    def embed(slide: SlideFolder) -> None:
        nonlocal before
        part = part_of(report, before=before, total=total, name=slide.slide_id)
        before += sizes[slide.slide_id]
        told = embedder.embed_patches(slide, report=part, stop=stop)
        failures.extend(Failure(slide_id=slide.slide_id, message=one) for one in told)
        refused = embedder.teach(slide, report=report, stop=stop)
        failures.extend(_by_teacher(slide, error) for error in refused)

    ready = [slide for slide in slides if slide.slide_id in sizes]
    failed = each_slide(ready, embed, stop=stop)
    return Embedded(failures + failed, embedder.pace, embedder.sentences())


def _by_teacher(slide: SlideFolder, error: FusecpathError) -> Failure:
    """Return what a teacher could not do; of too large a slide with the way to make it smaller."""
    failure = Failure(slide_id=slide.slide_id, message=str(error))
    if isinstance(error, SlideTooLargeError):
        return replace(failure, teacher=error.encoder, max_patches=error.most)
    return failure


def stored_views(
    slide: SlideFolder, grid: PatchGrid, encoders: Sequence[str]
) -> tuple[EmbeddingView, ...]:
    """Return the slide's embeddings by `encoders`, rows in the order of `grid`.

    Raises
    ------
    GridMismatchError
        If some patches are not embedded yet.
    """
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    return tuple(store.view(name, grid.cells) for name in encoders)


def computed_notes(slides: Iterable[SlideFolder], encoders: Iterable[str]) -> dict[str, str]:
    """Say, by encoder, where a cohort was not embedded alike: on other devices or more roughly.

    Slides that cannot be read are passed over: whoever works on them says why.
    """
    stores = []
    for slide in slides:
        with suppress(FusecpathError):
            if slide.record.grid_id is not None:
                stores.append(EmbeddingStore(slide.embeddings(slide.load_grid().lattice_id)))
    notes = {}
    for encoder in encoders:
        ways = Counter(way for store in stores for way in store.computed(encoder))
        told = [f"{way} ({count} slide{'s' * (count > 1)})" for way, count in ways.most_common()]
        if len(told) > 1:
            notes[encoder] = (
                f"The embeddings by {encoder} were computed in more than one way: "
                f"{', '.join(told)}; they are used together, and differ as each of them rounds."
            )
    return notes


def clusters_recipe(
    grid: PatchGrid, views: Sequence[EmbeddingView], config: ClusterConfig
) -> dict[str, Any]:
    """Return what decides the clusters of a slide."""
    return {
        "grid_id": grid.grid_id,
        "views": {view.encoder: recipe_id(view.recipe) for view in views},
        "config": config.to_dict(),
    }


def cluster_slide(
    slide: SlideFolder,
    encoders: Sequence[str],
    config: ClusterConfig,
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Path:
    """Cluster a slide's patches by all views at once, unless that is stored already.

    Their scatter is stored beside the clusters.

    Returns
    -------
    Path
        The folder of the clusters, now the ones in use, unless someone has painted on the
        tissue meanwhile.
    """
    grid = slide.load_grid()
    views = stored_views(slide, grid, encoders)
    folder = made_clusters(slide, grid, views, config, device=device, report=report, stop=stop)
    if slide.record.grid_id == grid.grid_id:
        slide.remember(clusters_id=folder.name)
    made_scatter(slide, grid, views, report=report, stop=stop)
    return folder


def made_clusters(
    slide: SlideFolder,
    grid: PatchGrid,
    views: Sequence[EmbeddingView],
    config: ClusterConfig,
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Path:
    """Return the folder of a slide's clusters by exactly this recipe, made if they are missing."""
    from src_core.clustering.multiview import cluster_views

    recipe = clusters_recipe(grid, views, config)
    folder = slide.clusters(grid.grid_id, recipe_id(recipe))
    if not has_clusters(folder, recipe):
        result = cluster_views(views, config, device=device, report=report, stop=stop)
        save_clusters(folder, result, recipe)
    return folder


def made_scatter(
    slide: SlideFolder,
    grid: PatchGrid,
    views: Sequence[EmbeddingView],
    *,
    report: Report,
    stop: Stop,
) -> Path:
    """Return the folder of the scatter of these patches by these views, made if it is missing."""
    recipe = scatter_recipe(grid.grid_id, {one.encoder: recipe_id(one.recipe) for one in views})
    folder = slide.scatter(grid.grid_id, recipe_id(recipe))
    if not has_scatter(folder, recipe):
        from src_core.clustering.plane import find_scatter

        save_scatter(folder, find_scatter(views, report=report, stop=stop), recipe)
    return folder


def stored_clusters(
    slide: SlideFolder, grid: PatchGrid, views: Sequence[EmbeddingView], config: ClusterConfig
) -> Labels:
    """Return a slide's stored clusters by exactly this recipe.

    Raises
    ------
    ProjectError
        If the slide was not clustered so.
    """
    folder = slide.clusters(grid.grid_id, recipe_id(clusters_recipe(grid, views, config)))
    if not (folder / "meta.json").is_file():
        raise ProjectError(
            f"Slide {slide.slide_id!r} is not clustered with these encoders and settings; "
            "run Cluster first."
        )
    return load_clusters(folder)[0]
