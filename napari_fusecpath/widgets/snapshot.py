"""What is stored about the slide on the canvas, read at one moment; the panels show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_fusecpath.layers.find import about, find_layer
from src_core.bags.edits import SelectionEdits
from src_core.bags.label_table import LabelTable
from src_core.clustering.legend import Legend
from src_core.clustering.result import load_agreement, load_clusters, load_typical
from src_core.embeddings.made import changed_key
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.file_hashes import quick_sha256
from src_core.encoders.registry import encoder_card, list_encoders
from src_core.encoders.weights import known_recipe
from src_core.errors import FusecpathError, GridMismatchError
from src_core.explaining import EXPLANATION_NAME
from src_core.inference.explanation import Explanation
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import CheckpointMeta, checkpoint_meta
from src_core.patches.grid import PatchGrid
from src_core.patient_outcomes import PatientOutcome, stored_outcomes
from src_core.preparing import is_as_set, load_flags
from src_core.project import Project, ProjectConfig, SlideFolder, SlideRecord
from src_core.provenance import stat_sign
from src_core.teacher_imports import IMPORTED, stored_meta

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_fusecpath.state import Workbench
    from src_core.types import Float32, Int64, Labels

__all__ = ["Snapshot", "default_project", "is_current", "take_snapshot"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the panels need to know; what is not there is None or empty."""

    project: Project | None = None
    slide_path: Path | None = None
    slide: SlideFolder | None = None
    """None also for a slide on the canvas that is not in the project."""
    record: SlideRecord | None = None
    mpp: float | None = None
    mpp_source: str = "unknown"
    grid: PatchGrid | None = None
    candidates: PatchGrid | None = None
    """The grid with the patches that their flaws exclude; None if they were not judged."""
    flags: NDArray[np.uint8] | None = None
    """Flaws of the candidates, as bits."""
    is_grid_as_set: bool = True
    """The grid was laid by the project's settings of today, or by another program."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Patch encoder of the project -> patches of the grid that it has not embedded."""
    imported: Mapping[str, str] = field(default_factory=dict)
    """Patch encoder of the project whose embeddings came from elsewhere -> the program."""
    outdated: Mapping[str, str] = field(default_factory=dict)
    """Encoder or teacher of the project whose embeddings are made anew -> what of it changed."""
    stored: frozenset[str] = frozenset()
    """Patch and slide encoders, of the project or not, that the slide has embeddings by."""
    clusters: Labels | None = None
    joint: Labels | None = None
    """The clusters that the slide has in common with others."""
    n_joint: int = 0
    """How many these are; the slide may lack some."""
    legend: Legend | None = None
    """What people call the slide's own clusters; None without, or if it cannot be read."""
    joint_legend: Legend | None = None
    """What they call those that it has in common with others."""
    agreement: Float32 | None = None
    """Shape (N, views): how far each encoder agrees with a patch's cluster; None if not stored."""
    typical: Int64 | None = None
    """Shape (clusters, 12): patches nearest to the middle of each, -1 where there are fewer."""
    is_cluster_recipe_current: bool = False
    """The clusters were made by the project's encoders and settings of today."""
    edits: SelectionEdits | None = None
    """Patches of the grid that people have excluded or pinned; None without a grid."""
    slide_ids: tuple[str, ...] = ()
    """Names of the slides of the project."""
    labels: LabelTable | None = None
    labels_sign: tuple[int, int, int] | None = None
    """By which the file that they were read from is known again."""
    runs: tuple[str, ...] = ()
    run_id: str | None = None
    model: CheckpointMeta | None = None
    """What the checkpoint of `run_id` says of itself."""
    prediction: Prediction | None = None
    """None to a reviewer who is blind to it."""
    hidden: Prediction | None = None
    """What is kept from a blind reviewer; patches to look at next are chosen by it."""
    patient: PatientOutcome | None = None
    """What the model says of the slide's patient, where labels are patients' and some of the
    patient's are predicted as they are now; None to a blind reviewer."""
    explanation: Explanation | None = None
    """What `prediction` becomes without some of the slide."""
    problems: tuple[str, ...] = ()
    """What could not be read, as sentences."""

    @property
    def config(self) -> ProjectConfig:
        """The project's choices, or those that a new one would have."""
        return self.project.config if self.project is not None else ProjectConfig()

    @property
    def is_prediction_of_today(self) -> bool:
        """The prediction was made from the selections as they are edited now."""
        edits_id = "" if self.edits is None else self.edits.edits_id
        return self.prediction is not None and self.prediction.edits_id == edits_id

    @property
    def is_read_by_its_clusters(self) -> bool:
        """The model was trained on clusters by the encoders and settings of the slide's own."""
        if self.model is None or not self.is_cluster_recipe_current:
            return False
        views = [source.name for source in self.model.encoders]
        settings = self.model.preparation.get("clustering")
        return is_current({"views": views, "config": settings}, self.config)

    @property
    def is_embedded(self) -> bool:
        """Every patch is embedded by every encoder of the project."""
        return self.grid is not None and not any(self.missing.values())

    @property
    def untaught(self) -> tuple[str, ...]:
        """Teachers of the project that the slide has no embedding by, as they are today."""
        return tuple(name for name in self.config.teachers if not self.is_taught(name))

    def is_taught(self, teacher: str) -> bool:
        """Tell whether the slide has an embedding by a teacher, as that is today."""
        return teacher in self.stored and teacher not in self.outdated

    def to_embed(self, encoder: str) -> int:
        """Return how many patches the next run embeds by an encoder, of the project or not."""
        every = 0 if self.grid is None else len(self.grid)
        return every if encoder in self.outdated else self.missing.get(encoder, every)

    def cluster_name(self, number: int) -> str:
        """Return what one of the slide's own clusters is called."""
        return f"cluster {number}" if self.legend is None else self.legend.name(number)

    @property
    def slide_name(self) -> str:
        """What the slide on the canvas is called."""
        if self.slide is not None:
            return self.slide.slide_id
        return self.slide_path.stem if self.slide_path is not None else ""


def default_project(slide_path: Path) -> Path:
    """Return the folder that is proposed for a slide without a project."""
    return Path.home() / "FuseCPath" / slide_path.stem


def take_snapshot(viewer: ViewerModel, workbench: Workbench, before: Snapshot) -> Snapshot:
    """Read what is stored; a damaged artifact counts as missing and is named in `problems`.

    Parameters
    ----------
    viewer, workbench : ViewerModel, Workbench
        What is in view, and what is chosen.
    before : Snapshot
        The one that this one follows: a large table that has not changed is not read again.
    """
    problems: list[str] = []

    def read(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except FusecpathError as error:
            problems.append(str(error))
            return None

    values: dict[str, Any] = {"slide_path": workbench.slide_path, **_scale(viewer)}
    root = workbench.project
    project = read(lambda: Project.open(root)) if root is not None else None
    if project is not None:
        runs = project.runs()
        values |= {"project": project, "runs": runs, "slide_ids": read(project.slide_ids) or ()}
        newest = runs[-1] if runs else None
        run_id = values["run_id"] = workbench.run_id if workbench.run_id in runs else newest
        if run_id is not None:
            values["model"] = read(lambda: checkpoint_meta(project.run(run_id) / "checkpoint"))
        values |= read(lambda: _labels(project, before)) or {}
        if workbench.slide_id is not None:
            slide = project.slide(workbench.slide_id)
            record = read(lambda: slide.record)
            if record is not None:
                values |= {"slide": slide, "record": record}
                values |= _scale_of(record)
                values |= _of_slide(project, slide, record, values["run_id"], read)
                values["patient"] = read(lambda: _patient(project, slide, values))
                values |= _clusters_of(
                    project, slide, record, values.get("grid"), workbench.is_joint, read
                )
    if workbench.is_blind:
        values["hidden"] = values.pop("prediction", None)
        values["patient"] = None
        values.pop("explanation", None)
    return Snapshot(**values, problems=tuple(dict.fromkeys(problems)))


def _labels(project: Project, before: Snapshot) -> dict[str, Any]:
    path = project.labels_path
    sign = stat_sign(path)
    if sign is None:
        return {}
    is_known = before.labels is not None and before.labels.source == path
    if is_known and before.labels_sign == sign:
        return {"labels": before.labels, "labels_sign": sign}
    return {"labels": project.labels(), "labels_sign": sign}


def _scale(viewer: ViewerModel) -> dict[str, Any]:
    layer = find_layer(viewer, "slide")
    notes = about(layer) if layer is not None else {}
    return {"mpp": notes.get("mpp"), "mpp_source": notes.get("mpp_source", "unknown")}


def _scale_of(record: SlideRecord) -> dict[str, Any]:
    return {} if record.mpp is None else {"mpp": record.mpp, "mpp_source": record.mpp_source}


def _of_slide(
    project: Project,
    slide: SlideFolder,
    record: SlideRecord,
    run_id: str | None,
    read: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any]:
    grid = read(slide.load_grid) if record.grid_id is not None else None
    if grid is None:
        return {}
    values: dict[str, Any] = {"grid": grid, "missing": _missing(project, slide, grid, read)}
    values["is_grid_as_set"] = read(lambda: is_as_set(project, slide, grid)) is not False
    values["edits"] = read(lambda: slide.selection.edits(grid))
    values["imported"] = _imported(project, slide, grid, read)
    values["outdated"] = dict(_outdated(project, slide, grid, read))
    values["stored"] = frozenset(_stored(slide, grid))
    judged = read(lambda: load_flags(slide, project.config.quality))
    if judged is not None:
        values["candidates"], values["flags"] = judged
    if run_id is not None:
        folder = project.prediction(run_id, slide.slide_id)
        if (folder / "prediction.json").is_file():
            values["prediction"] = read(lambda: _prediction(folder, grid))
        if values.get("prediction") is not None and (folder / EXPLANATION_NAME).is_file():
            values["explanation"] = read(lambda: _explanation(folder, values["prediction"]))
    return values


def _clusters_of(
    project: Project,
    slide: SlideFolder,
    record: SlideRecord,
    grid: PatchGrid | None,
    is_joint: bool,
    read: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if record.grid_id is None:
        return values
    if record.clusters_id is not None:
        found = read(lambda: _own_clusters(slide, grid))
        if found is not None:
            values["clusters"], meta = found
            values["is_cluster_recipe_current"] = is_current(meta.get("recipe"), project.config)
            values["legend"] = read(lambda: slide.legend(slide.current_clusters()).current())
    if record.joint_id is not None:
        found = read(lambda: load_clusters(slide.joint_clusters()))
        if found is not None:
            values["joint"], values["n_joint"] = found[0], found[1]["n_clusters"]
            values["joint_legend"] = read(lambda: slide.legend(slide.joint_clusters()).current())
    if values:
        values |= read(lambda: _likeness(slide.shown_clusters(joint=is_joint))) or {}
    return values


def _own_clusters(slide: SlideFolder, grid: PatchGrid | None) -> tuple[Labels, dict[str, Any]]:
    labels, meta = load_clusters(slide.current_clusters())
    if grid is not None and len(labels) != len(grid):
        raise GridMismatchError(
            f"The clusters of slide {slide.slide_id} are of {len(labels)} patches, the grid has "
            f"{len(grid)}; cluster the slide again."
        )
    return labels, meta


def _likeness(folder: Path) -> dict[str, Any]:
    """Return what the clusters that are shown are like; those of an earlier version do not know."""
    if not (folder / "agreement.npy").is_file():
        return {}
    return {"agreement": load_agreement(folder), "typical": load_typical(folder)}


def _missing(
    project: Project,
    slide: SlideFolder,
    grid: PatchGrid,
    read: Callable[[Callable[[], Any]], Any],
) -> dict[str, int]:
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))

    def count(encoder: str) -> int:
        missing = read(lambda: store.missing(encoder, grid.cells))
        return len(grid) if missing is None else int(missing.sum())

    return {encoder: count(encoder) for encoder in project.config.encoders}


def _imported(
    project: Project,
    slide: SlideFolder,
    grid: PatchGrid,
    read: Callable[[Callable[[], Any]], Any],
) -> dict[str, str]:
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    there = [name for name in store.encoders() if name in project.config.encoders]
    recipes = {name: read(partial(store.recipe, name)) or {} for name in there}
    return {name: str(one["imported"]) for name, one in recipes.items() if "imported" in one}


def _outdated(
    project: Project,
    slide: SlideFolder,
    grid: PatchGrid,
    read: Callable[[Callable[[], Any]], Any],
) -> Iterator[tuple[str, str]]:
    """Yield what was embedded by other weights than there are now, where that is quickly told."""
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    there, known = store.encoders(), list_encoders("patch")  # others can only be imported
    recipes: dict[str, Any] = {
        name: read(partial(store.recipe, name))
        for name in project.config.encoders
        if name in there and name in known
    }
    for name in project.config.teachers:
        stored = read(partial(stored_meta, slide.slide_embedding(name))) or {}
        recipes[name] = None if IMPORTED in stored else stored.get("encoder")
    for name, recipe in recipes.items():
        if isinstance(recipe, dict) and IMPORTED not in recipe:
            today = read(partial(known_recipe, encoder_card(name), sha256=quick_sha256)) or {}
            changed = changed_key(recipe, today)
            if changed is not None:
                yield name, changed


def _stored(slide: SlideFolder, grid: PatchGrid) -> Iterator[str]:
    yield from EmbeddingStore(slide.embeddings(grid.lattice_id)).encoders()
    for name in list_encoders("slide"):
        if (slide.slide_embedding(name) / "meta.json").is_file():
            yield name


def _prediction(folder: Path, grid: PatchGrid) -> Prediction:
    prediction = Prediction.load(folder)
    prediction.require_grid(grid.grid_id, len(grid))
    return prediction


def _patient(
    project: Project, slide: SlideFolder, values: Mapping[str, Any]
) -> PatientOutcome | None:
    model, table = values.get("model"), values.get("labels")
    if model is None or values.get("prediction") is None:
        return None
    owners = {} if table is None else {row.slide_id: row.patient_id for row in table.rows}
    run_id, slides = str(values["run_id"]), [slide.slide_id]
    outcomes = stored_outcomes(project, run_id, model, slides, owners=owners)
    return next((one for one in outcomes if one.slides), None)


def _explanation(folder: Path, prediction: Prediction) -> Explanation | None:
    """Return the stored one unless it is of another grid: a new one is asked for by a click."""
    explanation = Explanation.load(folder / EXPLANATION_NAME)
    is_of_it = explanation.grid_id == prediction.grid_id
    return explanation.held_to(prediction) if is_of_it else None


def is_current(recipe: object, config: ProjectConfig) -> bool:
    """Tell whether clusters of this recipe are by the project's encoders and settings."""
    if not isinstance(recipe, dict):
        return False
    same_views = set(recipe.get("views") or ()) == set(config.encoders)
    return same_views and recipe.get("config") == config.clustering.to_dict()
