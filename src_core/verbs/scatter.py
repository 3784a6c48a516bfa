"""The verb ``scatter``: the patches of slides in the plane, near to their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src_core.clustering.scatter import load_scatter
from src_core.config import Config, Help
from src_core.pipeline import each_slide
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.scattering import scatter_slide
from src_core.verbs.base import (
    ProjectPath,
    Result,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
)

__all__ = ["SCATTER"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterOptions(Config):
    """Settings of ``scatter``."""

    project: ProjectPath
    slides: SlideNames = ()
    joint: Annotated[
        bool, Help("By the encoders of the clusters that slides have in common, where there are")
    ] = False


def _scatter(options: ScatterOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    laid: dict[str, int] = {}

    def scatter(slide: SlideFolder) -> None:
        folder = scatter_slide(slide, joint=options.joint, report=report, stop=stop)
        laid[slide.slide_id] = len(load_scatter(folder).points)

    failures = each_slide(chosen_slides(project, options.slides), scatter, stop=stop)
    return result_of(project, failures, scattered=laid)


SCATTER = Verb(
    "scatter",
    "lay clustered patches out in the plane, near to their neighbours (t-SNE)",
    ScatterOptions,
    _scatter,
    as_lines,
)
