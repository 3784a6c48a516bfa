"""What a comparison compares, and in which tables: those of arXiv 2510.27237."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.models.baselines import BASELINES
from src_core.training.config import TrainConfig
from src_core.training.learners import (
    Learn,
    learn_linear,
    learn_module,
    learn_student,
    learn_teacher,
)

__all__ = ["FUSED", "Contender", "Plan", "Row", "Table", "plan_comparison"]

FUSED = "FuseCPath"
"""What all others are compared with."""

_BAG_SHARES = (0.6, 0.8, 1.0, 1.2, 1.4)
"""Of the patches that a cluster gives to a bag: as 300 to 700 stand to 500 in table 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something that learns from the slides of a fold and scores the others."""

    name: str
    learn: Learn
    tuned: bool = True
    """Whether there is a learning rate to choose."""
    slides: Callable[[Cohort], Cohort] = lambda cohort: cohort
    """What it is given of a cohort."""
    settings: Callable[[TrainConfig], TrainConfig] = lambda config: config


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: one contender, or the mean of several."""

    label: str
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a comparison."""

    name: str
    title: str
    head: str
    """Of the column of labels."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a comparison trains and tells."""

    contenders: tuple[Contender, ...]
    """Each once, `FUSED` first: it takes longest, and all are compared with it."""
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def plan_comparison(
    cohort: Cohort, config: TrainConfig, *, baselines: bool, ablations: bool
) -> Plan:
    """Say what can be compared on a cohort.

    Parameters
    ----------
    cohort : Cohort
    config : TrainConfig
        Of FuseCPath itself.
    baselines : bool
        Compare with other methods (table 2, of survival table 6).
    ablations : bool
        Compare with single encoders (table 3), without distillation (table 5), with other numbers
        of teachers (table 9) and of patches in a bag (table 10).
    """
    contenders = [Contender(name=FUSED, learn=learn_student)]
    tables, notes = [], []
    parts = [_methods(cohort)] if baselines else []
    if ablations:
        parts += [_encoders(cohort), _distillation(cohort), _bag_sizes(cohort, config)]
    for added, made, note in parts:
        contenders += [one for one in added if one.name not in {c.name for c in contenders}]
        tables += made
        notes += [note] if note else []
    return Plan(contenders=tuple(contenders), tables=tuple(tables), notes=tuple(notes))


_Part = tuple[list[Contender], list[Table], str]


def _methods(cohort: Cohort) -> _Part:
    alone = Contender(
        name="CR2T alone",
        learn=learn_student,
        slides=_with_teachers(()),
        settings=lambda config: config.replace(n_branches=0),
    )
    others = [Contender(name=name, learn=learn_module(make)) for name, make in BASELINES.items()]
    linear = Contender(name="linear on the mean embedding", learn=learn_linear, tuned=False)
    added = [linear, *others, alone]
    number = "6" if cohort.task == "survival" else "2"
    title = f"Methods on the same bags and folds (in the form of the paper's table {number})"
    rows = [_row(one.name) for one in added]
    return added, [_table("methods", title, "method", [*rows, _row(FUSED)])], ""


def _encoders(cohort: Cohort) -> _Part:
    if len(cohort.encoders) < 2:
        return [], [], "One encoder only: there is no table of single encoders."
    patch = [
        Contender(name=f"encoder {name}", learn=learn_student, slides=_with_view(place))
        for place, name in enumerate(cohort.encoders)
    ]
    whole = [
        Contender(name=f"slide encoder {name}", learn=learn_teacher(name), tuned=False)
        for name in cohort.teacher_dims
    ]
    rows = [_row(one.name) for one in (*patch, *whole)]
    rows.append(Row(label="mean of the patch encoders", of=tuple(one.name for one in patch)))
    title = (
        "Single encoders (table 3): the student on one view without teachers, its bags drawn from "
        "the clusters of all views; slide encoders by a linear model"
    )
    return [*patch, *whole], [_table("encoders", title, "encoder", [*rows, _row(FUSED)])], ""


def _distillation(cohort: Cohort) -> _Part:
    names = tuple(cohort.teacher_dims)
    if not names:
        return [], [], "No slide has a teacher: there are no tables of distillation and teachers."
    added = [
        Contender(
            name=f"{count} teachers",
            learn=learn_student,
            slides=_with_teachers(names[:count]),
            settings=lambda config: config.replace(probe_teachers=False),
        )
        for count in range(len(names) + 1)
    ]
    pair = [
        Row(label="without distillation", of=(added[0].name,)),
        Row(label="with distillation", of=(added[-1].name,)),
    ]
    rows = [
        Row(label=f"{count}: {', '.join(names[:count]) or 'none'}", of=(one.name,))
        for count, one in enumerate(added)
    ]
    kept = Row(label="those that earn their place (FuseCPath)", of=(FUSED,))
    return (
        added,
        [
            _table("distillation", "All teachers against none (table 5)", "student", pair),
            _table("teachers", "Number of teachers, all used (table 9)", "teachers", [*rows, kept]),
        ],
        "",
    )


def _bag_sizes(cohort: Cohort, config: TrainConfig) -> _Part:
    own = config.n_per_cluster
    sizes = sorted({max(1, round(own * share)) for share in _BAG_SHARES})
    n_clusters = int(np.median([len(np.unique(s.labels[s.labels >= 0])) for s in cohort.slides]))
    names = {size: FUSED if size == own else f"{size} patches per cluster" for size in sizes}
    added = [
        Contender(
            name=names[size],
            learn=learn_student,
            settings=lambda config, size=size: config.replace(n_per_cluster=size),  # type: ignore[misc] # mypy infers no default
        )
        for size in sizes
        if size != own
    ]
    rows = [
        Row(label=f"{size * n_clusters} ({size} of each of {n_clusters} clusters)", of=(name,))
        for size, name in names.items()
    ]
    return added, [_table("bag sizes", "Patches per bag (table 10)", "patches per bag", rows)], ""


def _row(name: str) -> Row:
    return Row(label=name, of=(name,))


def _table(name: str, title: str, head: str, rows: Iterable[Row]) -> Table:
    return Table(name=name, title=title, head=head, rows=tuple(rows))


def _with_teachers(names: tuple[str, ...]) -> Callable[[Cohort], Cohort]:
    def given(cohort: Cohort) -> Cohort:
        slides = [
            replace(slide, teachers={n: v for n, v in slide.teachers.items() if n in names})
            for slide in cohort.slides
        ]
        return replace(cohort, slides=tuple(slides))

    return given


def _with_view(place: int) -> Callable[[Cohort], Cohort]:
    def given(cohort: Cohort) -> Cohort:
        slides = [
            replace(slide, views=(slide.views[place],), teachers={}) for slide in cohort.slides
        ]
        return replace(cohort, slides=tuple(slides))

    return given
