"""What a user is told."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from src_core import errors
from src_core.errors import (
    FusecpathError,
    JobCancelled,
    ProjectError,
    SlideReadError,
    UnknownEncoderError,
)

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, FusecpathError) and kind is not FusecpathError
]

BUILT_INS = {
    "CheckpointError": ValueError,
    "ConfigError": ValueError,
    "DivergedError": ArithmeticError,
    "EncoderFailedError": RuntimeError,
    "EncoderScaleError": ValueError,
    "ExchangeError": ValueError,
    "GridMismatchError": ValueError,
    "ProjectError": ValueError,
    "SlideLostError": OSError,
    "SlideReadError": OSError,
    "SlideScaleError": ValueError,
    "SlideTooLargeError": ValueError,
    "StaleArtifactError": ValueError,
    "StorageFullError": ValueError,
    "TooFewPatchesError": ValueError,
    "UnknownEncoderError": KeyError,
    "WeightsUnavailableError": FileNotFoundError,
}


def test_every_error_is_also_the_built_in_that_a_caller_expects() -> None:
    assert {kind.__name__ for kind in KINDS} == set(BUILT_INS)
    for kind in KINDS:
        assert issubclass(kind, BUILT_INS[kind.__name__]), kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_text_is_the_sentence_and_nothing_else(kind: type[FusecpathError]) -> None:
    sentence = "slide.svs isn't a slide; give another file."
    assert str(kind(sentence)) == sentence


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_passes_between_processes(kind: type[FusecpathError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("One sentence.")))
    assert type(copy) is kind
    assert str(copy) == "One sentence."


def test_an_error_without_a_sentence_says_its_name() -> None:
    assert str(SlideReadError()) == "SlideReadError"


def test_old_habits_of_catching_work() -> None:
    with pytest.raises(OSError, match="no slide"):
        raise SlideReadError("no slide")
    with pytest.raises(KeyError) as caught:
        raise UnknownEncoderError("There is no encoder 'x'.")
    assert str(caught.value) == "There is no encoder 'x'."  # a KeyError would show its repr


def test_stopping_is_not_an_error_that_a_handler_of_errors_would_catch() -> None:
    assert not issubclass(JobCancelled, FusecpathError)


def test_all_names_are_public() -> None:
    assert set(errors.__all__) == {"FusecpathError", "JobCancelled", *BUILT_INS}


def test_a_sentence_that_quotes_a_damaged_file_stays_a_sentence() -> None:
    assert len(str(ProjectError("x" * 10**6))) < 2010


COMMAND_ALONE = {"cli.py", "demo.py", "doctor.py", "window.py", "verbs/settings.py"}
"""What only the command says: nothing of it reaches a panel of the window."""
OPTION = re.compile(r"(?<![\w-])--[a-z]")
WHOLE_COMMAND = re.compile(r"(pip install|fusecpath [a-z]+|dask worker) ")


def sentences(path: Path) -> Iterator[str]:
    """Yield the texts of a module but its docstrings, ``{}`` for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    parts = [
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield "".join(map(str, texts))
        elif isinstance(node, ast.Constant) and node not in (*kept, *parts):
            yield str(node.value)


def test_a_remedy_is_said_without_the_options_of_the_command() -> None:
    """The window shows the same sentences, and has no options to type; a whole command it may."""
    root = Path(errors.__file__).parent
    modules = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    assert modules.keys() >= COMMAND_ALONE
    found = [
        (name, text)
        for name, path in modules.items()
        if name not in COMMAND_ALONE
        for text in sentences(path)
        if " " in text and OPTION.search(text) and not WHOLE_COMMAND.search(text)
    ]
    assert found == []
