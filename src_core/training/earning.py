"""Which teachers earn their place: those that know as much as the student does without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

from src_core.training.config import TrainConfig
from src_core.training.course import BAGS_A_LOOK, Course
from src_core.training.figures import CHANCE, SKILL, SKILL_NAME
from src_core.training.probes import probe_teacher
from src_core.training.trainee import Trainee
from src_core.types import Json, Task

__all__ = ["earn_places"]


def earn_places(
    course: Course, trainee: Trainee, teachers: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, Json]]:
    """Return what each teacher counts for what it knows beside the student, and what that is.

    Parameters
    ----------
    course : Course
        Its notes are told who is left out, or counts for less.
    trainee : Trainee
        A student that was trained without teachers.
    teachers : mapping of str to float
        By name.

    Returns
    -------
    weights : dict of str to float
        Above 0, of those that are used.
    probes : dict
        What the student and each teacher know of the inner split; empty where there is none.
    """
    if course.inner is None:
        course.notes.append(
            f"The teachers {', '.join(teachers)} were left out: nothing tells whether they know "
            f"enough, for {course.why_no_inner}. Turn probe_teachers off to use them anyway."
        )
        return {}, {}
    with closing(course.dataset(course.inner)) as inner:
        seen = course.evaluate(trainee, inner, n_bags=BAGS_A_LOOK)
    student, task = seen.skill(), seen.task
    probes: dict[str, Json] = {}
    weights = {}
    for name in teachers:
        probe = probe_teacher(name, course.train, course.inner, seed=course.config.seed)
        weight = _worth(probe.value, student, task, course.config)
        if weight > 0:
            weights[name] = weight
        probes[name] = {**probe.to_dict(), "used": weight > 0, "weight": weight}
    course.notes += _told_of(weights, teachers, student, task)
    course.notes += _told_of_used(weights, probes, student, course)
    return weights, {f"student_{SKILL[task]}": student, "probed": probes}


def _worth(teacher: float | None, student: float | None, task: Task, config: TrainConfig) -> float:
    """Return what a teacher counts: 1 if it knows as much as the student, 0 if it is left out."""
    if teacher is None or student is None:
        return 0.0
    if teacher >= student:
        return 1.0
    if config.weak_teachers == "leave-out" or teacher <= CHANCE[task]:
        return 0.0
    return (teacher - CHANCE[task]) / (student - CHANCE[task])


def _told_of(
    weights: Mapping[str, float], teachers: Iterable[str], student: float | None, task: Task
) -> list[str]:
    left_out = [name for name in teachers if name not in weights]
    if left_out and student is None:
        return [f"The teachers {', '.join(left_out)} were left out: they could not be probed."]
    knows = f"alone they know less of the inner split than the student ({SKILL_NAME[task]} "
    notes = []
    if left_out:
        notes.append(f"The teachers {', '.join(left_out)} were left out: {knows}{student:.3f}).")
    fewer = [f"{name} {weight:.2f}" for name, weight in weights.items() if weight < 1]
    if fewer:
        notes.append(f"Teachers weighed down ({', '.join(fewer)}): {knows}{student:.3f}).")
    return notes


def _told_of_used(
    weights: Mapping[str, float],
    probes: Mapping[str, Json],
    student: float | None,
    course: Course,
) -> list[str]:
    """Say who has a place, by what, and on how few patients that was found out."""
    if not weights or student is None or course.inner is None:
        return []
    known = {name: probes[name] for name in weights}
    each = ", ".join(
        f"{name} {one['value']:.3f}" for name, one in known.items() if isinstance(one, dict)
    )
    n_patients = len(set(course.inner.patients))
    told = (
        f"Teachers in use: {each} ({SKILL_NAME[course.train.task]} on {n_patients} patients of the "
        f"inner split, where the student alone has {student:.3f})."
    )
    return [told]
