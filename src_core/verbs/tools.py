"""The verbs beside the way of the data: ``demo``, ``encoders`` and ``open``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core.config import Config, Help
from src_core.demo import DemoOptions, describe_demo, run_demo
from src_core.encoders.registry import encoder_card, encoder_problem, list_encoders
from src_core.errors import ConfigError
from src_core.progress import Report, Stop
from src_core.verbs.base import Result, Verb, as_lines
from src_core.window import can_open_window, open_window

__all__ = ["DEMO", "ENCODERS", "OPEN"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodersOptions(Config):
    """Settings of ``encoders``."""


def _encoders(options: EncodersOptions, report: Report, stop: Stop) -> Result:
    return {"encoders": [_encoder_row(name) for name in list_encoders()]}


def _encoder_row(name: str) -> Result:
    return {**encoder_card(name).to_dict(), "problem": encoder_problem(name)}


def _encoder_lines(result: Result) -> str:
    rows = [
        f"{card['name']:<16} {card['kind']:<6} {card['dim']:>5}  "
        f"{'gated' if card['gated'] else 'open':<6} {card['licence']:<14} "
        f"{card['problem'] or 'ready'}"
        for card in result["encoders"]
    ]
    return "\n".join(rows)


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
ENCODERS = Verb(
    "encoders",
    "list the encoders with their size, access and licence",
    EncodersOptions,
    _encoders,
    _encoder_lines,
    positional=(),
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
