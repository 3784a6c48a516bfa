"""The verbs beside the way of the data: ``demo`` and ``open``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core.config import Config, Help
from src_core.demo import DemoOptions, describe_demo, run_demo
from src_core.errors import ConfigError
from src_core.progress import Report, Stop
from src_core.verbs.base import Result, Verb, as_lines
from src_core.window import can_open_window, open_window

__all__ = ["DEMO", "OPEN"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions(Config):
    """Settings of ``open``."""

    path: Annotated[str, Help("Project folder or slide file")]


def _open(options: OpenOptions, report: Report, stop: Stop) -> Result:
    path = Path(options.path)
    if not path.exists():
        raise ConfigError(f"{path} does not exist; check the path.")
    return {"path": str(path.absolute())}


def _open_after_demo(options: DemoOptions, result: Result) -> None:
    if options.open and can_open_window():
        open_window(Path(result["project"]))


def _open_then(options: OpenOptions, result: Result) -> None:
    open_window(Path(result["path"]))


DEMO = Verb(
    "demo",
    "take a synthetic cohort, or yours, the whole way to prediction maps",
    DemoOptions,
    run_demo,
    describe_demo,
    positional=(),
    then=_open_after_demo,
)
OPEN = Verb(
    "open",
    "open a project or a slide in napari",
    OpenOptions,
    _open,
    as_lines,
    positional=("path",),
    then=_open_then,
)
