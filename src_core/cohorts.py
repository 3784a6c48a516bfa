"""A project's labelled slides, gathered for learning and divided by patient."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.bags.learnable import LabelSet
from src_core.bags.targets import Labelled, Target, read_targets
from src_core.embeddings.extract import load_slide_embedding
from src_core.errors import ProjectError
from src_core.hearing import Heard
from src_core.locking import locked
from src_core.model_origins import require_patches, sizes_of_patches
from src_core.pipeline import Failure, each, stored_clusters, stored_views
from src_core.progress import never
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import read_json, write_json
from src_core.review.raster import label_numbers

if TYPE_CHECKING:
    from src_core.bags.edits import SelectionEdits
    from src_core.bags.label_table import LabelTable
    from src_core.patches.grid import PatchGrid
    from src_core.patches.lattice import Lattice
    from src_core.types import Float32, Labels

__all__ = [
    "cohort_slide",
    "corrected_labels",
    "load_cohort",
    "names_in",
    "require_trainable",
    "split_cohort",
]

_HELD_BACK = 0.3
"""Share of each stratum's patients (of a class, with an event) that is kept for the final score."""


def load_cohort(
    project: Project,
    target: Target | str,
    *,
    config: ProjectConfig | None = None,
    classes: Sequence[str] | None = None,
    only: Collection[str] | None = None,
    heard: Heard | None = None,
) -> tuple[Cohort, list[Failure]]:
    """Gather the labelled slides of a project: views, clusters, teachers, edited selections.

    Parameters
    ----------
    project : Project
    target : Target or str
        Columns of the labels table and what they mean; a name alone is that of classes.
    config : ProjectConfig, optional
        Encoders, teachers and clustering; the project's of today by default.
    classes : sequence of str, optional
        Those that a model knows; the column's by default.
    only : collection of str, optional
        Names of the slides to gather; all that have a label by default.
    heard : Heard, optional
        How much of what reviewers have marked and corrected; all of it by default.

    Returns
    -------
    cohort : Cohort
    failures : list of Failure
        Labelled slides that are not ready, and why.

    Raises
    ------
    ProjectError
        If there are no labels, no labelled slide is ready, or one file is a slide of two patients.
    GridMismatchError
        If their patches are of several magnifications, or embedded differently.
    """
    config = config or project.config
    table = corrected_labels(project, heard=heard)
    target = Target((target,)) if isinstance(target, str) else target
    names = tuple(classes or target.outputs(table))
    marked_as = names if target.task == "classification" else ()
    wanted = [
        one
        for one in read_targets(table, target, classes=names)
        if only is None or one.row.slide_id in only
    ]
    slides, failures = _ready(project, wanted, config, marked_as, heard)
    cohort = Cohort(
        slides=slides,
        classes=names,
        target_name=target.name,
        task=target.task,
        per=target.level,
        columns=target.columns,
    )
    return cohort, failures


def _ready(
    project: Project,
    wanted: Sequence[Labelled],
    config: ProjectConfig,
    marked_as: Sequence[str],
    heard: Heard | None,
) -> tuple[tuple[CohortSlide, ...], list[Failure]]:
    slides: list[CohortSlide] = []
    lattices: dict[str, Lattice] = {}

    def take(one: Labelled) -> None:
        slide = project.slide(one.row.slide_id)
        grid = slide.load_grid()
        described = cohort_slide(slide, grid, config, one, slide.selection.edits(grid))
        truth = _marked(slide, grid, marked_as, heard)
        slides.append(replace(described, truth=truth, truth_source="reviewers' marks"))
        lattices[slide.slide_id] = grid.lattice

    failures = each(wanted, take, name=lambda one: one.row.slide_id, stop=never)
    if failures and not slides:
        raise ProjectError(f"No labelled slide is ready; the first: {failures[0].message}")
    _check_copies(project, slides)
    _require_one_scale(lattices)
    return tuple(slides), failures


def _check_copies(project: Project, slides: Sequence[CohortSlide]) -> None:
    """Refuse one file under two names and patients: no split would keep it on one side."""
    first: dict[str, CohortSlide] = {}
    for slide in slides:
        twin = first.setdefault(project.slide(slide.slide_id).record.fingerprint, slide)
        if twin.patient_id != slide.patient_id:
            raise ProjectError(
                f"Slides {twin.slide_id} and {slide.slide_id} are the same file, but the labels "
                f"table gives them the patients {twin.patient_id} and {slide.patient_id}: it would "
                "be trained on and tested on; take one of them out of the table."
            )


def corrected_labels(
    project: Project,
    *,
    until: str | None = None,
    heard: Heard | None = None,
    table: LabelTable | None = None,
) -> LabelTable:
    """Return the labels table with what reviewers have corrected of it; see `SlideFolder`.

    Parameters
    ----------
    project : Project
    until : str, optional
        UTC, ISO 8601 with milliseconds: what had been corrected by then, as the clocks say.
    heard : Heard, optional
        How many of the corrections, instead; all of them by default.
    table : LabelTable, optional
        The project's, where it has been read already.

    Raises
    ------
    ProjectError
        If the project has no table, or a file is damaged.
    """
    table = project.labels() if table is None else table
    rows = []
    for row in table.rows:
        slide = project.slide(row.slide_id)
        if heard is None:
            said = slide.corrections.current(until=until)
        else:
            said = heard.corrections_of(slide)
        known = {target: label for target, label in said.items() if target in table.targets}
        rows.append(replace(row, labels={**row.labels, **known}) if known else row)
    return replace(table, rows=tuple(rows))


def _require_one_scale(lattices: Mapping[str, Lattice]) -> None:
    if not lattices:
        return
    first = next(iter(lattices))
    sizes = sizes_of_patches([lattices[first]])
    for name, lattice in lattices.items():
        require_patches(sizes, lattice, slide_id=name, others=f"slide {first!r}")


def cohort_slide(
    slide: SlideFolder,
    grid: PatchGrid,
    config: ProjectConfig,
    labelled: Labelled,
    edits: SelectionEdits,
) -> CohortSlide:
    """Describe a slide by what is stored of it, as training reads it; no patch's truth is known.

    Parameters
    ----------
    slide : SlideFolder
    grid : PatchGrid
        The slide's.
    config : ProjectConfig
        By whose encoders, clusters and teachers.
    labelled : Labelled
        What its row of the labels table says.
    edits : SelectionEdits
        Of the grid: the patches that are excluded and pinned.

    Raises
    ------
    ProjectError
        If embeddings or clusters are missing or damaged.
    """
    views = stored_views(slide, grid, config.encoders)
    clusters = stored_clusters(slide, grid, views, config.clustering)
    return CohortSlide(
        slide_id=slide.slide_id,
        patient_id=labelled.row.patient_id,
        target=labelled.target,
        values=labelled.values,
        views=views,
        labels=edits.applied(clusters, slide_id=slide.slide_id),
        cells=grid.cells,
        teachers=_stored_teachers(slide, config.teachers),
        edits=edits or None,
    )


def _marked(
    slide: SlideFolder, grid: PatchGrid, classes: Sequence[str], heard: Heard | None
) -> Labels | None:
    """Return the class as which each patch is marked, -1 for none; None if no patch is."""
    marks = slide.marks.current() if heard is None else heard.marks_of(slide)
    marked = label_numbers(grid, marks, classes).astype(np.int32) - 1
    return marked if (marked >= 0).any() else None


def _stored_teachers(slide: SlideFolder, names: Sequence[str]) -> dict[str, Float32]:
    folders = {name: slide.slide_embedding(name) for name in names}
    return {
        name: load_slide_embedding(folder)[0]
        for name, folder in folders.items()
        if (folder / "meta.json").is_file()
    }


def split_cohort(project: Project, cohort: Cohort) -> tuple[Cohort, Cohort]:
    """Divide a cohort into the slides to learn from and those held back for the final score.

    The split is drawn once by patient, stored in ``cohort/splits.json`` and kept; a slide that
    joins later is learned from, unless its patient is held back.
    """
    held = names_in(_stored_splits(project).get(cohort.target_name))
    if not held:
        held = _drawn(project, cohort)
    is_held = [patient in held for patient in cohort.patients]
    rows = range(len(is_held))
    _require_both(project, is_held.count(False), len(is_held))
    return (
        cohort.subset(row for row in rows if not is_held[row]),
        cohort.subset(row for row in rows if is_held[row]),
    )


def require_trainable(
    project: Project, target: Target, outputs: Sequence[str], labelled: Sequence[Labelled]
) -> None:
    """Raise `ProjectError` if training on some slides would end for want of labels or patients.

    What `split_cohort` and training find out later, told from the labels table alone: it holds
    for slides that are not prepared yet, and costs next to nothing.

    Parameters
    ----------
    project : Project
    target : Target
    outputs : sequence of str
        As `Target.outputs` gives them.
    labelled : sequence of Labelled
        The slides, as `read_targets` gives them.
    """
    if not labelled:
        raise ProjectError(f"No slide that has a {target.name} is ready; prepare some.")
    labels = LabelSet(
        name=target.name,
        task=target.task,
        per=target.level,
        outputs=tuple(outputs),
        patients=tuple(one.row.patient_id for one in labelled),
        targets=np.array([one.target for one in labelled], dtype=np.int64),
        values=np.array([one.values for one in labelled], dtype=np.float64),
    )
    held = names_in(_stored_splits(project).get(target.name))
    if held:
        kept = [row for row, patient in enumerate(labels.patients) if patient not in held]
        _require_both(project, len(kept), len(labelled))
    else:
        kept = labels.hold_out(_HELD_BACK, seed=project.config.training.seed)[0].tolist()
    labels.subset(kept).require_learnable()


def _require_both(project: Project, kept: int, every: int) -> None:
    if kept in {0, every}:
        raise ProjectError(
            f"{project.splits_path} leaves no slide to learn from or none to score; remove it."
        )


def _drawn(project: Project, cohort: Cohort) -> list[str]:
    """Draw and store who is held back, unless another run has done so meanwhile."""
    with locked(project.splits_path.parent):
        stored = _stored_splits(project)
        held = names_in(stored.get(cohort.target_name))
        if not held:
            held_back = cohort.hold_out(_HELD_BACK, seed=project.config.training.seed)[1]
            held = sorted(set(held_back.patients))
            write_json(project.splits_path, {**stored, cohort.target_name: held})
    return held


def _stored_splits(project: Project) -> dict[str, Any]:
    return read_json(project.splits_path) if project.splits_path.is_file() else {}


def names_in(value: object) -> list[str]:
    """Return the names in a JSON list; none if it is no list."""
    return [str(name) for name in value] if isinstance(value, list) else []
