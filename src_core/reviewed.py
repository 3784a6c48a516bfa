"""What reviewers have said that a model may learn from: marked patches and corrected labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.bags.digests import cohort_digests, view_digests
from src_core.cohorts import corrected_labels, load_cohort, names_in
from src_core.embeddings.store import EmbeddingView
from src_core.errors import ProjectError
from src_core.model_origins import require_patches
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.patches.grid import PatchGrid
from src_core.pipeline import Failure, each_slide, stored_clusters, stored_views
from src_core.progress import Stop, never
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import check_recipe
from src_core.review.acts import Mark
from src_core.review.meanings import ARTEFACT, UNMARKED, kinds_of, meanings
from src_core.review.raster import label_numbers
from src_core.training.config import TrainConfig
from src_core.training.marked import MarkedSlide, require_teachable
from src_core.types import Int64, Json

__all__ = ["Gathering", "Reviewed", "gather_review", "held_back_with_kin"]


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
    """Slides that have been learned from by marks, or by a label that a reviewer gave, now or by an
    earlier fine-tuning."""
    latest: str
    """The slide that was marked last; "" without any."""
    learned: tuple[str, ...]
    """All slides of which the model knows a label then, those of the inner split among them."""
    inner: tuple[str, ...]
    """Those of the inner split."""
    until: str
    """The moment of which all this is: what was said later has no part in it."""
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

    def digests(self, *, stop: Stop) -> dict[str, dict[str, Json]]:
        """Return what stands for its slides; see `src_core.bags.digests.slide_digests`.

        Those that are learned from come first, in their order; of a slide that teaches by its
        marks alone there are only the embeddings.
        """
        check = () if self.check is None else self.check.slides
        digests = cohort_digests([*self.train.slides, *check], stop=stop)
        for one in self.marked:
            if one.slide_id not in digests:
                digests[one.slide_id] = {"embeddings": view_digests(one.views)}
        return digests


def gather_review(
    project: Project,
    meta: CheckpointMeta,
    asked: Mapping[str, Any],
    *,
    slides: Sequence[str] = (),
    then: Mapping[str, Any] | None = None,
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
    then : mapping, optional
        ``config.json`` of a run that was fine-tuned from that model: gathered is what had been
        said when it was, of the slides that it learned from. Whether those are as they were is
        for the caller to see.
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
    if then is None:
        chosen = [_known(project, name) for name in slides] or list(project.slides())
        gathering = Gathering(project, meta, asked, until=_moment(project, chosen))
    else:
        chosen = [_known(project, name) for name in then["marks"]]
        known = names_in(then["trained_on"])
        gathering = Gathering(project, meta, asked, until=then["reviewed_until"], joinable=known)
    gathering.understand(chosen)
    gathering.failures += each_slide(chosen, gathering.take, stop=stop)
    return gathering.finish(named=bool(slides))


@dataclass(slots=True)
class Gathering:
    """Collects the marks of one slide after the other."""

    project: Project
    meta: CheckpointMeta
    asked: Mapping[str, Any]
    until: str | None = None
    """What was said later is not heard; all of it is if None."""
    joinable: Collection[str] | None = None
    """Slides that may join those that were learned from; all if None."""
    meaning: dict[str, int] = field(default_factory=dict)
    marked: list[MarkedSlide] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    digests: dict[str, Json] = field(default_factory=dict)
    latest: tuple[str, str] = ("", "")
    failures: list[Failure] = field(default_factory=list)

    def understand(self, slides: Sequence[SlideFolder]) -> None:
        """Find out what the labels mean, or refuse one that means nothing."""
        used = {mark.label: None for slide in slides for mark in self.marks_of(slide)}
        table = corrected_labels(self.project, until=self.until)
        others = {
            label
            for row in table.rows
            for target, label in row.labels.items()
            if target != self.meta.target_name
        }
        self.meaning = meanings(used, self.meta.classes, others=others - {""})

    def marks_of(self, slide: SlideFolder) -> tuple[Mark, ...]:
        """Return the marks of a slide that are heard."""
        return slide.marks.current(until=self.until)

    def _correction(self, name: str) -> str | None:
        """Return the label that a reviewer gave a slide, "" for none; None if nobody did."""
        said = self.project.slide(name).corrections.current(until=self.until)
        return said.get(self.meta.target_name)

    def take(self, slide: SlideFolder) -> None:
        """Take the marks of a slide, if it has any, and open what was embedded of it."""
        marks = self.marks_of(slide)
        if not marks:
            return
        grid, kinds = self._read(slide, marks)
        views = self._views(slide, grid)
        if self._count(slide, grid, marks, kinds):
            self.marked.append(MarkedSlide(slide_id=slide.slide_id, views=views, kinds=kinds))
            self.latest = max(self.latest, (max(mark.time for mark in marks), slide.slide_id))

    def look(self, slide: SlideFolder) -> None:
        """Count what is said of the patches of a marked slide, and open nothing."""
        marks = self.marks_of(slide)
        grid, kinds = self._read(slide, marks)
        self._count(slide, grid, marks, kinds)

    def corrected(self) -> list[str]:
        """Return the slides that were learned from and have another label now."""
        names = names_in(self.asked.get("trained_on"))
        return [name for name in names if self._correction(name) is not None]

    def join(self, check: Callable[[SlideFolder], object]) -> list[str]:
        """Return the slides that were not learned from and are to be, for a reviewer gave a label.

        What `check` raises of the others are failures.
        """
        learned = set(names_in(self.asked.get("trained_on")))
        given = [
            self.project.slide(row.slide_id)
            for row in self.project.labels().rows
            if row.slide_id not in learned
            and (self.joinable is None or row.slide_id in self.joinable)
            and self._correction(row.slide_id)
        ]
        failures = each_slide(given, check, stop=never)
        self.failures += failures
        left = {failure.slide_id for failure in failures}
        return [slide.slide_id for slide in given if slide.slide_id not in left]

    def glance(self, slide: SlideFolder) -> PatchGrid:
        """Return the patches of a slide with a new label, as far as small files let it be used."""
        grid = self._grid(slide, f"The corrected label of slide {slide.slide_id!r} is")
        if not (slide.grid(grid.grid_id) / "clusters").is_dir():
            raise ProjectError(f"Slide {slide.slide_id!r} is not clustered; run Cluster first.")
        return grid

    def nothing(self, *, named: bool) -> ProjectError:
        """Return the error that says why there is nothing to learn from."""
        return ProjectError(
            self.failures[0].message
            if self.failures
            else f"No patch of {'these slides' if named else 'any slide'} is marked with a "
            f"class of {self.meta.target_name}; mark some in Review first."
        )

    def is_known(self) -> bool:
        """Tell whether the model has learned from all of this, as far as small files tell."""
        known = self.asked.get("review")
        if not isinstance(known, dict) or known.get("marks") != self.digests:
            return False
        labels = {row.slide_id: row.labels for row in corrected_labels(self.project).rows}
        target = self.meta.target_name
        return all(
            labels.get(name, {}).get(target, "") in {"", label}
            # What edits of its selection make of a slide's bags, its clusters alone can tell.
            and not self.project.slide(name).selection.marks.path.is_file()
            for name, (label, _) in known.get("bags", {}).items()
        )

    def finish(self, *, named: bool) -> Reviewed:
        """Gather the slides that were learned from, and divide them as they were divided."""
        names, joining = names_in(self.asked.get("trained_on")), self.join(self._require_ready)
        if not self.marked and not joining and not self.corrected():
            raise self.nothing(named=named)
        cohort, failures = load_cohort(
            self.project,
            self.meta.target,
            config=self._config,
            classes=self.meta.classes,
            only={*names, *joining},
            until=self.until,
        )
        inner = self._inner(cohort, set(joining))
        marked = [one.slide_id for one in self.marked]
        reviewed = {*names_in(self.asked.get("reviewed")), *marked, *joining}
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
            learned=(*names, *joining),
            inner=tuple(sorted(inner)),
            until=self.until or "",
            failures=self.failures + failures,
        )

    @property
    def _config(self) -> ProjectConfig:
        """What the project was set to when the model was trained."""
        return ProjectConfig.from_dict(self.asked.get("project", {}))

    def _read(self, slide: SlideFolder, marks: Sequence[Mark]) -> tuple[PatchGrid, Int64]:
        grid = self._grid(slide, f"The marks of slide {slide.slide_id!r} are")
        return grid, kinds_of(grid, marks, self.meaning)

    def _grid(self, slide: SlideFolder, what: str) -> PatchGrid:
        """Return the patches of a slide, if what was said of it may be learned from."""
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

    def _views(self, slide: SlideFolder, grid: PatchGrid) -> tuple[EmbeddingView, ...]:
        """Return what was embedded of a slide, if by the weights that the model knows."""
        views = stored_views(slide, grid, [source.name for source in self.meta.encoders])
        for view, source in zip(views, self.meta.encoders, strict=True):
            what = f"The embeddings of slide {slide.slide_id} by {source.name}"
            check_recipe(dict(view.recipe), source.recipe or dict(view.recipe), what=what)
        return views

    def _require_ready(self, slide: SlideFolder) -> None:
        """Raise what keeps a slide with a label from being learned from."""
        grid = self.glance(slide)
        views = self._views(slide, grid)
        clusters = stored_clusters(slide, grid, views, self._config.clustering)
        slide.selection.edits(grid).applied(clusters, slide_id=slide.slide_id)

    def _count(
        self, slide: SlideFolder, grid: PatchGrid, marks: Sequence[Mark], kinds: Int64
    ) -> bool:
        """Count the judged patches of a slide, and tell whether there are any."""
        names = list(self.meaning)  # several may mean one thing
        numbers = label_numbers(grid, marks, names)[kinds != UNMARKED]
        told = Counter(names[number - 1] for number in numbers.tolist())
        if told:
            self.counts[slide.slide_id] = dict(sorted(told.items()))
            self.digests[slide.slide_id] = _digest(kinds)
        return bool(told)

    def _require_all_classes(self, train: Sequence[CohortSlide]) -> None:
        lacking = set(range(len(self.meta.classes))) - {slide.target for slide in train}
        if lacking:
            raise ProjectError(
                f"Of the slides that the model had learned from none is left of class "
                f"{self.meta.classes[min(lacking)]!r}, which it would forget: correct fewer "
                "labels or mark fewer artefacts, or train anew."
            )

    def _inner(self, cohort: Cohort, joining: Collection[str]) -> set[str]:
        """Return the slides that decided when to stop; an older run has not stored them."""
        if "inner" in self.asked:
            return set(names_in(self.asked["inner"]))
        from src_core.training.course import inner_split

        rows = [row for row, one in enumerate(cohort.slides) if one.slide_id not in joining]
        trained = cohort.subset(rows)
        inner = inner_split(trained, TrainConfig.from_dict(self.meta.train_config))[1]
        return set() if inner is None else {slide.slide_id for slide in inner.slides}


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


def _moment(project: Project, marked: Sequence[SlideFolder]) -> str:
    """Return a moment by which all has been said that is on disk now.

    That is now, or later where another machine's clock that marks came from is fast.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    corrections = [one.time for slide in project.slides() for one in slide.corrections.history()]
    return max([now, *(slide.marks.last_time() for slide in marked), *corrections])


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
