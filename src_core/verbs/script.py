"""The verb ``script``: the commands that make a project again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core.config import Config, Help
from src_core.exchange.scripts import write_script
from src_core.progress import Report, Stop
from src_core.project import Project
from src_core.verbs.base import ProjectPath, Result, Verb, result_of

__all__ = ["SCRIPT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptOptions(Config):
    """Settings of ``script``."""

    project: ProjectPath
    out: Annotated[
        str | None, Help("Script to write (.sh, and .cmd beside it); exports/repeat.sh if none")
    ] = None


def _script(options: ScriptOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    out = Path(options.out) if options.out else project.root / "exports" / "repeat.sh"
    paths, n_commands = write_script(project, out, report=report, stop=stop)
    shell, windows, *beside = map(str, paths)
    return result_of(
        project, [], script=shell, for_windows=windows, commands=n_commands, beside=beside
    )


def _describe(result: Result) -> str:
    count = len(result["beside"])
    return (
        f"{result['script']}: {result['commands']} commands, and {count} files beside it; for "
        f"Windows {result['for_windows']}"
    )


SCRIPT = Verb(
    "script",
    "write the commands that make a project again from its slides",
    ScriptOptions,
    _script,
    _describe,
)
