"""The verb ``similar``: patches like one that is pointed at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from src_core.config import Config, Help, Range
from src_core.errors import ConfigError, ProjectError
from src_core.progress import Report, Stop
from src_core.project import Project
from src_core.similar import find_similar
from src_core.verbs.base import ProjectPath, Result, Verb, result_of

__all__ = ["SIMILAR"]

_PIXELS = (-(10**9), 10**9)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarOptions(Config):
    """Settings of ``similar``."""

    project: ProjectPath
    slide: Annotated[str, Help("Name of the slide on which the patch is")]
    x: Annotated[int | None, Range(*_PIXELS), Help("Column of a level-0 pixel in the patch")] = None
    y: Annotated[int | None, Range(*_PIXELS), Help("Row of a level-0 pixel in the patch")] = None
    row: Annotated[
        int | None, Range(0, 10**9), Help("The patch by its number, instead of a pixel")
    ] = None
    cohort: Annotated[bool, Help("Look on all slides of the project, not on this one alone")] = (
        False
    )
    n: Annotated[int, Range(1, 10_000), Help("Patches that are wanted")] = 20


def _similar(options: SimilarOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    slide = project.slide(options.slide)
    row = options.row
    if row is None:
        if options.x is None or options.y is None:
            raise ConfigError("Say which patch is meant: give x and y, or its row.")
        row = slide.load_grid().row_at((options.x, options.y))
        if row is None:
            raise ProjectError(f"There is no patch at {options.x}, {options.y}; point at tissue.")
    matches, failures = find_similar(
        project,
        slide,
        row,
        others=project.slides() if options.cohort else (),
        n=options.n,
        report=report,
        stop=stop,
    )
    told = [asdict(match) for match in matches]
    return result_of(project, failures, slide=options.slide, row=row, similar=told)


def _as_lines(result: Result) -> str:
    lines = [
        f"{one['slide_id']}  x {one['x']}  y {one['y']}  distance {one['distance']:.3f}"
        for one in result["similar"]
    ]
    lines += [f"FAILED {one['slide_id']}: {one['message']}" for one in result["failures"]]
    return "\n".join(lines)


SIMILAR = Verb(
    "similar",
    "find patches like one, on its slide or in the cohort",
    SimilarOptions,
    _similar,
    _as_lines,
    positional=("project", "slide"),
)
