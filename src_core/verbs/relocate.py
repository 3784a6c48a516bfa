"""The verb ``relocate``: slides whose files have moved are found again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core.config import Config, Help
from src_core.progress import Report, Stop
from src_core.project import Project
from src_core.relocating import relocate_slides
from src_core.verbs.base import ProjectPath, Result, Verb, result_of

__all__ = ["RELOCATE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelocateOptions(Config):
    """Settings of ``relocate``."""

    project: ProjectPath
    place: Annotated[str, Help("The slide, or a folder in which slides are looked for")]
    slides: Annotated[
        tuple[str, ...], Help("Names of the slides; all that are not at their place if none")
    ] = ()


def _relocate(options: RelocateOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    done = relocate_slides(
        project, Path(options.place), slides=options.slides, report=report, stop=stop
    )
    relocated = {name: str(path) for name, path in done.found.items()}
    return result_of(project, [], relocated=relocated, missing=list(done.missing))


def _describe(result: Result) -> str:
    lines = [f"{name}: {path}" for name, path in result["relocated"].items()]
    if result["missing"]:
        lines.append(f"still missing: {', '.join(result['missing'])}")
    return "\n".join(lines)


RELOCATE = Verb(
    "relocate",
    "find slides again whose files have moved, by their content",
    RelocateOptions,
    _relocate,
    _describe,
    positional=("project", "place"),
)
