"""What reviewers have said that a model may learn from: marked patches and corrected labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.bags.digests import cohort_digests, view_digests
from src_core.cohorts import load_cohort, names_in
from src_core.errors import ProjectError
from src_core.gathering import Gathering, bag_of, digest_of, without_artefacts
from src_core.hearing import Heard
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.pipeline import Failure, each_slide
from src_core.progress import Stop
from src_core.project import Project, SlideFolder
from src_core.training.config import TrainConfig
from src_core.training.marked import MarkedSlide, require_teachable
from src_core.types import Json

__all__ = ["Again", "Reviewed", "gather_review"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What a fine-tuned run has noted, by which its review is gathered again."""

    heard: Heard
    marked: Sequence[str]
    """The slides whose marks it learned from."""
    learned: Collection[str]
    """The slides of which it knows a label."""


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
    heard: Heard
    """Of which all this is: what was said later has no part in it."""
    failures: list[Failure]
    """What was not learned from, and why."""

    def recipe(self) -> dict[str, Json]:
        """Return what stands for all of it: other marks or labels are another recipe."""
        bags: dict[str, Json] = {
            one.slide_id: bag_of(self.train.classes[one.target], one.labels, one.pinned)
            for one in self.train.slides
        }
        marks: dict[str, Json] = {one.slide_id: digest_of(one.kinds) for one in self.marked}
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
    again: Again | None = None,
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
    again : Again, optional
        Of a run that was fine-tuned from that model: gathered is what it heard. Whether its slides
        are as they were is for the caller to see.
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
    names = slides if again is None else again.marked
    chosen = [_known(project, name) for name in names]
    if again is None:
        chosen = chosen or list(project.slides())
    teaching = {slide.slide_id for slide in chosen}
    heard = Heard.now(project, teaching) if again is None else again.heard
    joinable = None if again is None else again.learned
    gathering = Gathering(project, meta, asked, heard=heard, joinable=joinable)
    gathering.understand(chosen)
    gathering.failures += each_slide(chosen, gathering.take, stop=stop)
    return _divided(gathering, heard, named=bool(slides))


def _divided(said: Gathering, heard: Heard, *, named: bool) -> Reviewed:
    """Gather the slides that were learned from, and divide them as they were divided."""
    project, meta, asked = said.project, said.meta, said.asked
    names, joining = names_in(asked.get("trained_on")), said.join(said.teachable.require_ready)
    if not said.marked and not joining and not said.corrected():
        raise said.nothing(named=named)
    cohort, failures = load_cohort(
        project,
        meta.target,
        config=said.teachable.config,
        classes=meta.classes,
        only={*names, *joining},
        heard=heard,
    )
    inner = _inner(said, cohort, set(joining))
    marked = [one.slide_id for one in said.marked]
    reviewed = {*names_in(asked.get("reviewed")), *marked, *joining}
    return Reviewed(
        train=_to_learn(said, cohort, inner),
        check=_to_check(project, cohort, inner, reviewed),
        marked=tuple(said.marked),
        counts=said.counts,
        reviewed=tuple(sorted(reviewed)),
        latest=said.latest[1],
        learned=(*names, *joining),
        inner=tuple(sorted(inner)),
        heard=heard,
        failures=said.failures + failures,
    )


def _to_learn(said: Gathering, cohort: Cohort, inner: Collection[str]) -> Cohort:
    slides = [
        replace(one, labels=without_artefacts(one.labels, said.kinds.get(one.slide_id)))
        for one in cohort.slides
        if one.slide_id not in inner
    ]
    slides = [slide for slide in slides if (slide.labels >= 0).any()]
    _require_all_classes(slides, said.meta.classes)
    return replace(cohort, slides=tuple(slides))


def _to_check(
    project: Project, cohort: Cohort, inner: Collection[str], reviewed: Collection[str]
) -> Cohort | None:
    """Return the slides of the inner split of whose patients no slide was reviewed."""
    # By the table: a marked slide without a label is in no cohort, but its patient may be.
    owners = project.patients()
    patients = {owners.get(name) for name in reviewed}
    rows = [
        row
        for row, slide in enumerate(cohort.slides)
        if slide.slide_id in inner and slide.patient_id not in patients
    ]
    return cohort.subset(rows) if rows else None


def _require_all_classes(slides: Sequence[CohortSlide], classes: Sequence[str]) -> None:
    lacking = set(range(len(classes))) - {slide.target for slide in slides}
    if lacking:
        raise ProjectError(
            f"Of the slides that the model had learned from none is left of class "
            f"{classes[min(lacking)]!r}, which it would forget: correct fewer labels or mark "
            "fewer artefacts, or train anew."
        )


def _inner(said: Gathering, cohort: Cohort, joining: Collection[str]) -> set[str]:
    """Return the slides that decided when to stop; an older run has not stored them."""
    if "inner" in said.asked:
        return set(names_in(said.asked["inner"]))
    from src_core.training.course import inner_split

    rows = [row for row, one in enumerate(cohort.slides) if one.slide_id not in joining]
    trained = cohort.subset(rows)
    inner = inner_split(trained, TrainConfig.from_dict(said.meta.train_config))[1]
    return set() if inner is None else {slide.slide_id for slide in inner.slides}


def _known(project: Project, name: str) -> SlideFolder:
    slide = project.slide(name)
    slide.record  # noqa: B018 - it says if there is no such slide
    return slide
