"""What a verb is, and what the verbs have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias

from src_core.config import Config, Help
from src_core.devices import DeviceName
from src_core.pipeline import Failure
from src_core.plain_text import one_line
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder

__all__ = [
    "Device",
    "ProjectPath",
    "Result",
    "RunName",
    "SlideNames",
    "Verb",
    "as_lines",
    "chosen_slides",
    "result_of",
    "table_lines",
]

Result: TypeAlias = dict[str, Any]

ProjectPath = Annotated[str, Help("Project folder")]
SlideNames = Annotated[tuple[str, ...], Help("Names of slides in the project; all if none")]
Device = Annotated[DeviceName, Help("Where models compute", advanced=True)]
RunName = Annotated[str | None, Help("Training run; the newest if none")]


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing the engine can be asked to do."""

    name: str
    help: str
    options: type[Config]
    run: Callable[[Any, Report, Stop], Result]
    describe: Callable[[Result], str]
    positional: tuple[str, ...] = ("project",)
    notes: str = ""
    """What the command says below the options of the verb."""
    then: Callable[[Any, Result], None] | None = None
    """What the command does after it has printed the result; the window never does it."""


def chosen_slides(project: Project, names: Sequence[str]) -> list[SlideFolder]:
    """Return the named slides of a project, or all of them."""
    return [project.slide(name) for name in names] or list(project.slides())


def result_of(project: Project, failures: list[Failure], **values: Any) -> Result:
    """Return the JSON result of a verb that works on a project."""
    failed = [
        {key: value for key, value in asdict(failure).items() if value is not None}
        for failure in failures
    ]
    return {"project": str(project.root), **values, "failures": failed}


def as_lines(result: Result) -> str:
    """Describe a result in the order of its keys, a line each, failures last."""
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            told = {name: item for name, item in value.items() if item != {}}
            lines += [f"{key}:"] if told else []
            lines += [f"  {name}: {_short(item)}" for name, item in told.items()]
        elif key != "failures":
            lines.append(f"{key}: {_short(value)}")
    lines += [f"FAILED {one['slide_id']}: {one['message']}" for one in result.get("failures", [])]
    return "\n".join(map(one_line, lines))


def table_lines(
    heads: list[str], rows: list[list[str]], *, left: tuple[int, ...] = ()
) -> list[str]:
    """Return lines with columns of one width, to the right but for those that are `left`.

    Each row is one line, whatever its cells hold.
    """
    table = [[one_line(cell) for cell in cells] for cells in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for cells in table:
        padded = [
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append(f"  {'  '.join(padded)}".rstrip())
    return lines


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return str(value)
