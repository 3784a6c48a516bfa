"""What reviewers have said that a model may learn from: marked patches and corrected labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.cohorts import corrected_labels, load_cohort, names_in
from src_core.errors import ProjectError
from src_core.model_origins import require_patches
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.pipeline import Failure, each_slide, stored_views
from src_core.progress import Stop
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import check_recipe
from src_core.review.meanings import ARTEFACT, UNMARKED, kinds_of, meanings
from src_core.review.raster import label_numbers
from src_core.training.config import TrainConfig
from src_core.training.marked import MarkedSlide, require_teachable
from src_core.types import Int64, Json

__all__ = ["Reviewed", "gather_review"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What a model goes on learning from."""

    train: Cohort
    """The slides it had learned from, without artefacts, by their corrected labels."""
    check: Cohort | None
    """Slides it never learned from, neither by their label nor by a mark."""
    marked: tuple[MarkedSlide, ...]
    counts: dict[str, dict[str, int]]
    """Of each marked slide the patches by label, in the reviewers' words."""
    reviewed: tuple[str, ...]
    """Slides that have been learned from by marks, now or by an earlier fine-tuning."""
    latest: str
    """The slide that was marked last; "" without any."""
    failures: list[Failure]
    """What was not learned from, and why."""

    def recipe(self) -> dict[str, Json]:
        """Return what stands for all of it: other marks or labels are another recipe."""
        bags: dict[str, Json] = {
            one.slide_id: [self.train.classes[one.target], _digest(one.labels.astype(np.int64))]
            for one in self.train.slides
        }
        marks: dict[str, Json] = {one.slide_id: _digest(one.kinds) for one in self.marked}
        return {"bags": bags, "marks": marks}


def gather_review(
    project: Project,
    meta: CheckpointMeta,
    asked: Mapping[str, Any],
    *,
    slides: Sequence[str],
    stop: Stop,
) -> Reviewed:
    """Gather what reviewers have said since, or before, a model was trained.

    Parameters
    ----------
    project : Project
    meta : CheckpointMeta
        Of the model.
    asked : mapping
        ``config.json`` of its run.
    slides : sequence of str
        Whose marks to learn from; those of all slides if none is named.
    stop : callable
        See :mod:`src_core.progress`.

    Raises
    ------
    CheckpointError
        If the model cannot learn from marks.
    ProjectError
        If there is no such slide, a mark is of no class that the model knows, or nothing, or no
        slide of a class, is left to learn from.
    """
    require_teachable(meta)
    gathering = _Gathering(project, meta, asked)
    chosen = [_known(project, name) for name in slides] or list(project.slides())
    gathering.understand(chosen)
    gathering.failures += each_slide(chosen, gathering.take, stop=stop)
    return gathering.finish(named=bool(slides))


@dataclass(slots=True)
class _Gathering:
    """Collects the marks of one slide after the other."""

    project: Project
    meta: CheckpointMeta
    asked: Mapping[str, Any]
    meaning: dict[str, int] = field(default_factory=dict)
    marked: list[MarkedSlide] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    latest: tuple[str, str] = ("", "")
    failures: list[Failure] = field(default_factory=list)

    def understand(self, slides: Sequence[SlideFolder]) -> None:
        """Find out what the labels mean, or refuse one that means nothing."""
        used = {mark.label: None for slide in slides for mark in slide.marks.current()}
        table = corrected_labels(self.project)
        others = {
            label
            for row in table.rows
            for target, label in row.labels.items()
            if target != self.meta.target_name
        }
        self.meaning = meanings(used, self.meta.classes, others=others - {""})

    def take(self, slide: SlideFolder) -> None:
        """Take the marks of a slide, if it has any."""
        marks = slide.marks.current()
        if not marks:
            return
        if slide.slide_id in self._held_back():
            raise ProjectError(
                f"The marks of slide {slide.slide_id!r} are not learned from: it is held back for "
                "the final score, which would no longer be one; mark slides that are not."
            )
        grid = slide.load_grid()
        sizes = self.meta.preparation.get("patches")
        others = "those that the model learned from"
        require_patches(sizes, grid.lattice, slide_id=slide.slide_id, others=others)
        kinds = kinds_of(grid, marks, self.meaning)
        views = stored_views(slide, grid, [source.name for source in self.meta.encoders])
        for view, source in zip(views, self.meta.encoders, strict=True):
            what = f"The embeddings of slide {slide.slide_id} by {source.name}"
            check_recipe(dict(view.recipe), source.recipe or dict(view.recipe), what=what)
        if (kinds == UNMARKED).all():
            return
        self.marked.append(MarkedSlide(slide_id=slide.slide_id, views=views, kinds=kinds))
        names = list(self.meaning)  # several may mean one thing
        numbers = label_numbers(grid, marks, names)[kinds != UNMARKED]
        told = Counter(names[number - 1] for number in numbers.tolist())
        self.counts[slide.slide_id] = dict(sorted(told.items()))
        self.latest = max(self.latest, (max(mark.time for mark in marks), slide.slide_id))

    def finish(self, *, named: bool) -> Reviewed:
        """Gather the slides that were learned from, and divide them as they were divided."""
        target = self.meta.target_name
        names = names_in(self.asked.get("trained_on"))
        corrected = [
            name for name in names if target in self.project.slide(name).corrections.current()
        ]
        if not self.marked and not corrected:
            raise ProjectError(
                self.failures[0].message
                if self.failures
                else f"No patch of {'these slides' if named else 'any slide'} is marked with a "
                f"class of {target}; mark some in Review first."
            )
        config = ProjectConfig.from_dict(self.asked.get("project", {}))
        cohort, failures = load_cohort(
            self.project,
            self.meta.target,
            config=config,
            classes=self.meta.classes,
            only=set(names),
        )
        inner = self._inner(cohort)
        reviewed = {*names_in(self.asked.get("reviewed")), *(x.slide_id for x in self.marked)}
        # By the table: a marked slide without a label is in no cohort, but its patient may be.
        owners = self.project.patients()
        patients = {owners.get(name) for name in reviewed}
        by_id = {one.slide_id: one.kinds for one in self.marked}
        train = [
            _without_artefacts(slide, by_id.get(slide.slide_id))
            for slide in cohort.slides
            if slide.slide_id not in inner
        ]
        check = [
            row
            for row, slide in enumerate(cohort.slides)
            if slide.slide_id in inner and slide.patient_id not in patients
        ]
        train = [slide for slide in train if (slide.labels >= 0).any()]
        self._require_all_classes(train)
        return Reviewed(
            train=replace(cohort, slides=tuple(train)),
            check=cohort.subset(check) if check else None,
            marked=tuple(self.marked),
            counts=self.counts,
            reviewed=tuple(sorted(reviewed)),
            latest=self.latest[1],
            failures=self.failures + failures,
        )

    def _require_all_classes(self, train: Sequence[CohortSlide]) -> None:
        lacking = set(range(len(self.meta.classes))) - {slide.target for slide in train}
        if lacking:
            raise ProjectError(
                f"Of the slides that the model had learned from none is left of class "
                f"{self.meta.classes[min(lacking)]!r}, which it would forget: correct fewer "
                "labels or mark fewer artefacts, or train anew."
            )

    def _held_back(self) -> set[str]:
        """Return the slides that are held back, and all others of their patients."""
        held = set(names_in(self.asked.get("held_back")))
        rows = corrected_labels(self.project).rows
        patients = {row.patient_id for row in rows if row.slide_id in held}
        return held | {row.slide_id for row in rows if row.patient_id in patients}

    def _inner(self, cohort: Cohort) -> set[str]:
        """Return the slides that decided when to stop; an older run has not stored them."""
        if "inner" in self.asked:
            return set(names_in(self.asked["inner"]))
        from src_core.training.course import inner_split

        inner = inner_split(cohort, TrainConfig.from_dict(self.meta.train_config))[1]
        return set() if inner is None else {slide.slide_id for slide in inner.slides}


def _known(project: Project, name: str) -> SlideFolder:
    slide = project.slide(name)
    slide.record  # noqa: B018 - it says if there is no such slide
    return slide


def _without_artefacts(slide: CohortSlide, kinds: Int64 | None) -> CohortSlide:
    if kinds is None or not (kinds == ARTEFACT).any():
        return slide
    return replace(slide, labels=np.where(kinds == ARTEFACT, np.int32(-1), slide.labels))


def _digest(values: Int64) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
