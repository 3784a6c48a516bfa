"""The verb ``figure``: a slide with one of its maps, for print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.exchange.figures import FigureMap, Wanted, draw_figure
from src_core.inference.print_figure import Region
from src_core.progress import Report, Stop, Tracker
from src_core.project import Project
from src_core.verbs.base import ProjectPath, Result, RunName, Verb, as_lines, result_of

__all__ = ["FIGURE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureOptions(Config):
    """Settings of ``figure``."""

    project: ProjectPath
    slide: Annotated[str, Help("Name of the slide")]
    what: Annotated[FigureMap, Help("Which map lies on the slide")] = "clusters"
    out: Annotated[
        str | None, Help("File to write (.png, .tiff, .pdf); one in exports/ if none")
    ] = None
    width_mm: Annotated[float, Range(20, 500), Help("Width, mm, at 300 dots an inch")] = 170.0
    view: Annotated[
        str | None,
        Help("Part of the slide: X,Y,WIDTH,HEIGHT in level-0 pixels; the whole if none"),
    ] = None
    run: RunName = None
    output: Annotated[
        str | None, Help("Class or other output of the map; the predicted one if none")
    ] = None
    joint: Annotated[bool, Help("Clusters that slides have in common, where there are some")] = (
        False
    )
    by_rank: Annotated[
        bool, Help("Attention and contributions as percentiles within the slide")
    ] = False
    smooth: Annotated[bool, Help("Smooth between patches, for the eye; never clusters")] = False

    def region(self) -> Region | None:
        """Return the part of the slide.

        Raises
        ------
        ConfigError
            If it is none.
        """
        if self.view is None:
            return None
        try:
            x, y, width, height = (float(part) for part in self.view.split(","))
        except ValueError:
            x = y = width = height = float("nan")
        if not (width > 0 and height > 0 and max(map(abs, (x, y, width, height))) < 1e9):
            raise ConfigError(
                f"FigureOptions.view is {self.view[:60]!r}; give four numbers of level-0 pixels, "
                "such as 0,0,20000,15000."
            )
        return x, y, width, height


def _figure(options: FigureOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    slide = project.slide(options.slide)
    wanted = Wanted(
        what=options.what,
        width_mm=options.width_mm,
        view=options.region(),
        run_id=options.run,
        output=options.output,
        is_joint=options.joint,
        by_rank=options.by_rank,
        is_smooth=options.smooth,
    )
    name = f"{options.slide}-{options.what}.png"
    path = Path(options.out) if options.out else project.root / "exports" / name
    tracker = Tracker(report, stop, stage="Drawing a figure", total=1, unit="figures")
    draw_figure(project, slide, wanted, path)
    tracker.advance(1, detail=path.name)
    return result_of(project, [], figure=str(path))


FIGURE = Verb(
    "figure",
    "draw a slide with one of its maps, scale bar and legend, for print",
    FigureOptions,
    _figure,
    as_lines,
    positional=("project", "slide"),
)
