"""Steps of a script, and how they read as a POSIX shell script and as a Windows command file.

Whatever a name holds, a shell must take it for one word and nothing else: blanks, quotes, percent
and dollar signs are quoted, and a line break, which no command file can hold, is refused. So is
what would make a script read as another one than it is, to a command or to a person.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from src_core.errors import ExchangeError
from src_core.plain_text import printable

__all__ = ["Beside", "Call", "Copy", "Inside", "Step", "Word", "as_cmd", "as_sh", "given"]

_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TURNS = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
"""What turns the writing round, so that one reads what does not stand there."""
_LIVE = re.compile(r'[\s^&|<>()%!"\'`;,=@]')
"""What may mean something to ``cmd.exe`` outside of quotes."""

_THERE = "is here already; run this script in an empty folder."


@dataclass(frozen=True, slots=True)
class Beside:
    """A file that lies beside the script, below its folder of files; parts are parted by ``/``."""

    path: str


@dataclass(frozen=True, slots=True)
class Inside:
    """The project that the script makes, or a file in it; parts are parted by ``/``."""

    path: str = ""


Word: TypeAlias = str | Beside | Inside


@dataclass(frozen=True, slots=True)
class Call:
    """One ``fusecpath`` command."""

    words: tuple[Word, ...]
    threads: int | None = None
    """Of the CPU; as many as the machine has if none."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that no command makes is put into the project."""

    source: Beside
    target: Inside


@dataclass(frozen=True, slots=True)
class Step:
    """Sentences about a step, and what it does; it may do nothing."""

    said: tuple[str, ...]
    acts: tuple[Call | Copy, ...] = ()


def given(*values: str) -> list[str]:
    """Return names of slides, or values of an option, as words of a command.

    Raises
    ------
    ExchangeError
        If the command would take one for an option.
    """
    live = next((value for value in values if value.startswith("-")), None)
    if live is not None:
        raise ExchangeError(
            f"{live[:60]!r} begins as an option of a command does; rename it, and write the "
            "script again."
        )
    return list(values)


def as_sh(steps: Sequence[Step], *, about: Sequence[str], project: str, files: str) -> str:
    """Return steps as a script for ``sh``.

    Parameters
    ----------
    steps : sequence of Step
    about : sequence of str
        Lines at its head.
    project : str
        Name of the folder that it makes where it is run.
    files : str
        Name of the folder of files beside it.

    Raises
    ------
    ExchangeError
        If a word has a line break.
    """
    lines = ["#!/bin/sh", *(f"# {_line(one)}" for one in about), "set -eu"]
    lines += ['here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)']
    lines += [f'files="$here"/{shlex.quote(files)}', f"project={shlex.quote(project)}"]
    lines += ['if [ -e "$project" ]; then', f'  echo "$project {_THERE}" >&2', "  exit 1", "fi"]
    for step in steps:
        lines += ["", *(f"# {_line(one)}" for one in step.said)]
        for act in step.acts:
            lines += _sh_lines(act)
    return "\n".join(lines) + "\n"


def as_cmd(steps: Sequence[Step], *, about: Sequence[str], project: str, files: str) -> str:
    """Return steps as a command file for Windows; see `as_sh`."""
    lines = ["@echo off", "setlocal DisableDelayedExpansion", "chcp 65001 >nul"]
    lines += [f"rem {_remark(one)}" for one in about]
    lines += [f'set "files=%~dp0{_doubled(files)}"', f'set "project={_doubled(project)}"']
    lines += ['if exist "%project%" (', f"  echo %project% {_THERE} 1>&2", "  exit /b 1", ")"]
    threads: int | None = None
    for step in steps:
        lines += ["", *(f"rem {_remark(one)}" for one in step.said)]
        for act in step.acts:
            if isinstance(act, Call) and act.threads != threads:
                threads = act.threads
                lines.append(f'set "OMP_NUM_THREADS={threads or ""}"')  # to nothing: not set
            lines += _cmd_lines(act)
    return "\r\n".join(lines) + "\r\n"


def _sh_lines(act: Call | Copy) -> Iterable[str]:
    if isinstance(act, Copy):
        folder = Inside(act.target.path.rpartition("/")[0])
        yield f"mkdir -p {_sh_word(folder)}"
        yield f"cp {_sh_word(act.source)} {_sh_word(act.target)}"
        return
    threads = "" if act.threads is None else f"OMP_NUM_THREADS={act.threads} "
    yield f"{threads}fusecpath {' '.join(map(_sh_word, act.words))}"


def _cmd_lines(act: Call | Copy) -> Iterable[str]:
    if isinstance(act, Copy):
        folder = _cmd_word(Inside(act.target.path.rpartition("/")[0]))
        yield f"if not exist {folder} mkdir {folder}"
        yield f"copy /y {_cmd_word(act.source)} {_cmd_word(act.target)} >nul || exit /b 1"
        return
    yield f"fusecpath {' '.join(map(_cmd_word, act.words))} || exit /b 1"


def _sh_word(word: Word) -> str:
    if isinstance(word, str):
        return shlex.quote(_whole(word))
    root = '"$files"' if isinstance(word, Beside) else '"$project"'
    return f"{root}/{shlex.quote(_whole(word.path))}" if word.path else root


def _cmd_word(word: Word) -> str:
    if isinstance(word, str):
        return _cmd_text(_whole(word))
    root = "%files%" if isinstance(word, Beside) else "%project%"
    if '"' in word.path:  # no file of Windows has one in its name
        raise ExchangeError(
            f"{word.path[:60]!r} has a quote, which no file of Windows can have in its name; "
            "rename it, and write the script again."
        )
    path = _doubled(_whole(word.path)).replace("/", "\\")
    return f'"{root}\\{path}"' if path else f'"{root}"'


def _cmd_text(text: str) -> str:
    """Quote a word for ``cmd.exe`` and, behind it, for the C runtime that parts a command line."""
    if text and not _LIVE.search(text):
        return text
    # Backslashes count where a quote follows, and the closing one does.
    inner = re.sub(r'(\\*)"', r'\1\1\\"', text)
    inner = re.sub(r"(\\+)$", r"\1\1", inner)
    quoted = f'"{inner}"'
    if '"' not in text:
        return _doubled(quoted)
    # A quote within turns cmd's own quoting off: then each sign is told to mean itself.
    return _doubled(re.sub(r'([\^&|<>()!"])', r"^\1", quoted))


def _doubled(text: str) -> str:
    return text.replace("%", "%%")


def _whole(text: str) -> str:
    if _BREAKS.search(text) or _TURNS.search(text):
        raise ExchangeError(
            f"{text[:60]!r} has a line break or another sign that no script can hold; "
            "rename it, and write the script again."
        )
    return text


def _line(text: str) -> str:
    """Return a sentence on one line, whatever names it holds."""
    return " ".join(printable(_BREAKS.sub(" ", text)).split())


def _remark(text: str) -> str:
    return _doubled(_line(text)).replace("^", " ")
