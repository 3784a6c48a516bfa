"""The verb ``explain``: what a prediction becomes without some of the slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from src_core import pipeline
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError, ProjectError
from src_core.explaining import LeftOut, explain, marks_there
from src_core.inference.explanation import Explanation, Outcome
from src_core.plain_text import one_line
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.runs import Predictor
from src_core.verbs.base import (
    Device,
    ProjectPath,
    Result,
    RunName,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
    table_lines,
)

__all__ = ["EXPLAIN"]

_MOST_DIGITS = 9
"""Of a cluster's number; Python refuses to read thousands of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions(Config):
    """Settings of ``explain``."""

    project: ProjectPath
    slides: SlideNames = ()
    without: Annotated[
        tuple[str, ...], Help("Numbers of clusters to leave out together; each by itself if none")
    ] = ()
    marked: Annotated[
        str | None, Help("Leave out the patches too that reviewers have marked with this label")
    ] = None
    patches: Annotated[
        tuple[str, ...],
        Help("Leave out these patches of the one slide too, by their numbers: 7 12-40"),
    ] = ()
    grid: Annotated[
        str | None, Help("Grid in which the patches have these numbers", advanced=True)
    ] = None
    bags: Annotated[
        int, Range(1, 10_000), Help("Patch selections over which a change is taken", advanced=True)
    ] = 8
    run: RunName = None
    device: Device = "auto"


def _explain(options: ExplainOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    left_out = LeftOut(
        clusters=tuple(_number(text) for text in options.without),
        marked=options.marked,
        patches=options.patches,
        grid_id=options.grid,
    )
    slides, failures = _slides(project, options, stop)
    run_id = options.run or project.latest_run()
    predictor = Predictor.load(project, run_id, device=options.device)
    explained: dict[str, Any] = {}

    def one(slide: SlideFolder) -> None:
        found = explain(
            predictor, slide, left_out=left_out, change_bags=options.bags, report=report, stop=stop
        )
        explained[slide.slide_id] = _plain(found)

    failures += pipeline.each_slide(slides, one, stop=stop)
    return result_of(project, failures, run=run_id, explanations=explained)


def _slides(
    project: Project, options: ExplainOptions, stop: Stop
) -> tuple[list[SlideFolder], list[pipeline.Failure]]:
    """Return the named slides; of all those that have the marks that are asked for.

    The marks of a slide may be damaged, which is no reason to leave the others out.
    """
    if options.patches and len(options.slides) != 1:
        raise ConfigError(
            "ExplainOptions.patches are numbers on one slide; name it by ExplainOptions.slides."
        )
    slides = chosen_slides(project, options.slides)
    if options.marked is None or options.slides:
        return slides, []
    labels: dict[SlideFolder, set[str]] = {}

    def look(slide: SlideFolder) -> None:
        labels[slide] = {mark.label for mark in slide.marks.current()}

    failures = pipeline.each_slide(slides, look, stop=stop)
    marked = [slide for slide, known in labels.items() if options.marked in known]
    if not marked:
        known = marks_there("the marks are", (one for there in labels.values() for one in there))
        damaged = f"; {failures[0].message}" if failures else "."
        raise ProjectError(
            f"No patch of any slide is marked {one_line(options.marked, 50)!r}; {known}{damaged}"
        )
    return marked, failures


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise ConfigError(
            f"ExplainOptions.without is {text[:50]!r}; give numbers of clusters, as 3 7."
        )
    return int(text)


def _plain(found: Explanation) -> dict[str, Any]:
    return {
        "classes": list(found.classes),
        "n_bags": found.n_bags,
        "whole": _outcome(found.whole),
        "without": [_outcome(one) for one in found.by_weight()],
    }


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "name": one.name,
        "n_patches": one.n_patches,
        "values": list(one.values),
        "call": one.call,
        "change": list(one.change),
        "spread": list(one.spread),
    }


def _describe(result: Result) -> str:
    """Return a table for each slide, first what changes most."""
    lines = []
    for slide_id, found in result["explanations"].items():
        heads = ["without", "patches"]
        for name in found["classes"]:
            heads += [name, "change", ""]
        rows = [
            _row("nothing", found["whole"]),
            *(_row(one["name"], one) for one in found["without"]),
        ]
        lines += [
            f"{slide_id}, changes over {found['n_bags']} patch selections",
            *table_lines([*heads, "call"], rows, left=(0, len(heads))),
        ]
    rest = {key: value for key, value in result.items() if key != "explanations"}
    return "\n".join([*lines, as_lines(rest)])


def _row(name: str, one: dict[str, Any]) -> list[str]:
    cells = [name, str(one["n_patches"])]
    for value, change, spread in zip(one["values"], one["change"], one["spread"], strict=True):
        told = ["", ""] if name == "nothing" else [f"{change:+.3f}", f"± {spread:.3f}"]
        cells += [f"{value:.3f}", *told]
    return [*cells, one["call"]]


EXPLAIN = Verb(
    "explain",
    "say what a prediction becomes without each cluster, or without some patches",
    ExplainOptions,
    _explain,
    _describe,
)
