"""What a user is told."""

from __future__ import annotations

import inspect
import pickle

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
