"""The verbs that look after an installation: ``encoders`` and ``doctor``."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from src_core.config import Config, Help
from src_core.doctor import examine
from src_core.encoders.giving import give_file
from src_core.encoders.hub import hub_answers
from src_core.encoders.hub_refusals import hub_name, size_text
from src_core.encoders.local_weights import forget_file
from src_core.encoders.registry import (
    encoder_access,
    encoder_card,
    list_encoders,
)
from src_core.errors import ConfigError
from src_core.progress import Report, Stop, Tracker
from src_core.verbs.base import Result, Verb

__all__ = ["DOCTOR", "ENCODERS"]

_WIDTH = 100
_MEAN = "mean-"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodersOptions(Config):
    """Settings of ``encoders``."""

    check: Annotated[bool, Help("Ask the hub which gated weights you may download")] = False
    use: Annotated[tuple[str, ...], Help("NAME=FILE: use this file of weights from now on")] = ()
    forget: Annotated[tuple[str, ...], Help("NAME: use a file for it no longer")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions(Config):
    """Settings of ``doctor``."""

    project: Annotated[str | None, Help("Project folder whose disk is looked at too")] = None


def _encoders(options: EncodersOptions, report: Report, stop: Stop) -> Result:
    for pair in options.use:
        _use(pair)
    for name in options.forget:
        if not forget_file(name):
            raise ConfigError(f"No file is used for {name!r}; fusecpath encoders shows which are.")
    if options.check and not hub_answers():
        raise ConfigError(
            f"{hub_name()} does not answer; connect to the network, or do not ask it."
        )
    names = list_encoders()
    tracker = Tracker(report, stop, stage="Encoders", total=len(names), unit="encoders")
    rows = []
    for name in names:
        # A mean needs what its patch encoder needs: the hub is asked once.
        ask = options.check and not name.startswith(_MEAN)
        access = encoder_access(name, ask_hub=ask)
        usable = {"usable": access.usable}
        rows.append({**encoder_card(name).to_dict(), **asdict(access), **usable})
        tracker.advance(1, detail=name)
    return {"encoders": rows}


def _use(pair: str) -> None:
    name, _, file = pair.partition("=")
    if not file:
        raise ConfigError(f"{pair!r} names no file; write NAME=FILE.")
    give_file(name, Path(file).expanduser())


def _encoder_lines(result: Result) -> str:
    cards = [card for card in result["encoders"] if not card["name"].startswith(_MEAN)]
    lines = [_row("NAME", "KIND", "LENGTH", "DOWNLOAD", "LICENCE", "WEIGHTS")]
    lines += [
        _row(
            card["name"],
            card["kind"],
            "any" if card["varies"] else str(card["dim"]),
            size_text(card["download_mb"] * 1e6) if card["download_mb"] else "-",
            card["licence"],
            card["status"],
        )
        for card in cards
    ]
    lines += ["", *_wrapped("mean-NAME", "any patch encoder NAME, averaged over the slide")]
    told = [(card["name"], " ".join((_sentence(card), *card["lacks"]))) for card in cards]
    lines += ["", *(line for name, text in told for line in _wrapped(name, text))]
    return "\n".join(lines)


def _sentence(card: dict[str, Any]) -> str:
    """Return how its weights stand; with a full stop if more is told after it."""
    detail = str(card["detail"])
    return detail if detail.endswith(".") or not card["lacks"] else f"{detail}."


def _row(*words: str) -> str:
    widths = (20, 6, 7, 9, 24, 18)
    cells = [
        word if len(word) <= width else f"{word[: width - 1]}\u2026"
        for word, width in zip(words, widths, strict=True)
    ]
    name, kind, length, size, licence, status = cells
    return f"{name:<20} {kind:<6} {length:>7} {size:>9}  {licence:<24} {status}"


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{name:<20} {text}",
        _WIDTH,
        subsequent_indent=" " * 21,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _doctor(options: DoctorOptions, report: Report, stop: Stop) -> Result:
    project = None if options.project is None else Path(options.project).absolute()
    checks: list[dict[str, Any]] = [
        asdict(check) for check in examine(project=project, report=report, stop=stop)
    ]
    return {"checks": checks, "failures": [one for one in checks if one["status"] == "FAIL"]}


def _doctor_lines(result: Result) -> str:
    lines = []
    for check in result["checks"]:
        lines += _wrapped(f"{check['status']:<4} {check['name']}", check["detail"])
        if check["remedy"]:
            lines += _wrapped("", f"-> {check['remedy']}")
    return "\n".join(lines)


ENCODERS = Verb(
    "encoders",
    "list the encoders with their size, access and licence",
    EncodersOptions,
    _encoders,
    _encoder_lines,
    positional=(),
)
DOCTOR = Verb(
    "doctor",
    "check this installation, and say what to do about what it lacks",
    DoctorOptions,
    _doctor,
    _doctor_lines,
    positional=(),
)
