"""The command ``fusecpath``: the verbs of :mod:`src_core.verbs` on a terminal.

The options of a verb are the fields of its settings; there is nothing here that the window
could not ask for as well. A user's error is one sentence and exit status 1, an interrupted
command has status 130, one whose output nobody reads 141, and a bug is a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from src_core import __version__
from src_core.config import FieldSpec
from src_core.devices import spin_briefly
from src_core.errors import FusecpathError, JobCancelled
from src_core.open_files import allow_many_files
from src_core.plain_text import one_line, printable
from src_core.progress_lines import Bar, Lines
from src_core.verbs import VERBS, Verb, run_verb

__all__ = ["main"]

_UNREAD = 128 + 13
"""What a shell calls the status of a command that SIGPIPE ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    spin_briefly()
    allow_many_files()
    arguments = _parse(argv)
    verb: Verb = arguments.pop("verb")
    as_json: bool = arguments.pop("json")
    options = {name: value for name, value in arguments.items() if value is not None}
    stop = _stop_on_interrupt()
    bar = Bar() if sys.stderr.isatty() else Lines()
    try:
        result = run_verb(verb.name, options, report=bar, stop=stop)
        bar.close()
        with _quiet_if_unread():
            text = json.dumps(result) if as_json else printable(verb.describe(result))
            print(text, flush=True)
        if verb.then is not None:
            verb.then(verb.options.from_dict(options), result)
    except FusecpathError as error:
        print(f"fusecpath {verb.name}: {one_line(_as_typed(str(error), verb))}", file=sys.stderr)
        return 1
    except JobCancelled:
        print(f"fusecpath {verb.name}: stopped; run it again to go on.", file=sys.stderr)
        return 130
    finally:
        bar.close()
    return 1 if result.get("failures") else 0


def _parse(argv: Sequence[str] | None) -> dict[str, Any]:
    """Return the arguments by name; names that follow an option still belong to the verb."""
    parser = _parser()
    with _quiet_if_unread():
        try:
            found, extra = parser.parse_known_args(argv)
        finally:
            sys.stdout.flush()  # what --help has printed
    arguments = vars(found)
    verb: Verb = arguments["verb"]
    many = [spec.name for spec in verb.options.fields() if spec.type is tuple]
    taker = next((name for name in many if name in verb.positional), None)
    if extra and (taker is None or any(word.startswith("-") for word in extra)):
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    if taker is not None:
        arguments[taker] = tuple(arguments[taker] or ()) + tuple(extra)
    return arguments


def _as_typed(sentence: str, verb: Verb) -> str:
    """Return a sentence with a verb's settings called as they are typed."""

    def typed(found: re.Match[str]) -> str:
        name = found[1]
        return name.upper() if name in verb.positional else _flag(name)

    return re.sub(rf"\b{verb.options.__name__}\.(\w+)", typed, sentence)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@contextmanager
def _quiet_if_unread() -> Iterator[None]:
    """End without a word where nobody reads what is printed any more, as after ``| head``."""
    try:
        yield
    except BrokenPipeError:
        # Else Python flushes once more at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fusecpath",
        description="Fuse pathology foundation models over whole-slide images. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"fusecpath {__version__}")
    commands = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS.values():
        command = commands.add_parser(
            verb.name,
            help=verb.help,
            description=verb.help,
            epilog=verb.notes,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(verb=verb)
        command.add_argument("--json", action="store_true", help="print one JSON line of results")
        for spec in verb.options.fields():
            _add_argument(command, spec, positional=spec.name in verb.positional)
    return parser


def _add_argument(command: argparse.ArgumentParser, spec: FieldSpec, *, positional: bool) -> None:
    many = spec.type is tuple
    details: dict[str, Any] = {"help": spec.help}
    if positional:
        # An optional positional that is not given stays out, so the default of the settings holds.
        command.add_argument(
            spec.name, metavar=spec.name.upper(), nargs="*" if many else None, **details
        )
        return
    flag = _flag(spec.name)
    if spec.type is bool:
        command.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=None, dest=spec.name, **details
        )
        return
    if spec.choices:
        details["choices"] = spec.choices
    else:
        details["metavar"] = spec.name.upper()
        details["type"] = str if many else _number_or(spec) if spec.words else spec.type
    if many:  # given twice it means both: the first would be lost without a word
        details |= {"nargs": "+", "action": "extend"}
    command.add_argument(flag, dest=spec.name, **details)


def _number_or(spec: FieldSpec) -> Callable[[str], Any]:
    """Return what reads a number, or one of the words that may stand for it."""

    def number(text: str) -> Any:
        return text if text in spec.words else spec.type(text)

    return number


def _stop_on_interrupt() -> Callable[[], bool]:
    """Turn the first Ctrl-C into a request to stop; a second one interrupts at once."""
    asked = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, ask)
    return asked.is_set


if __name__ == "__main__":
    sys.exit(main())
