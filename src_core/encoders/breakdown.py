"""The one place where what an encoder does wrong becomes its failure, told in a sentence.

Whoever runs several encoders goes on without the one that failed. Not every error is a failure: a
`RuntimeError` is what torch and its devices raise (a driver, memory, weights that make no sense),
while any other error of our own code is a bug and keeps its traceback. Code that came with weights
is its authors': whatever it raises is its failure.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from src_core.devices import is_out_of_memory
from src_core.errors import EncoderFailedError, FusecpathError, JobCancelled
from src_core.types import Float32

__all__ = ["as_failure_of", "checked"]

_log = logging.getLogger(__name__)

_REMEDY: Final = "run it again, on the CPU or with other programs closed if memory was short"
_LONGEST: Final = 300
"""Characters of what others say that a sentence quotes."""


@contextmanager
def as_failure_of(
    encoder: str,
    *,
    did: str = "broke down",
    where: str = "",
    remedy: str = _REMEDY,
    is_foreign: bool = False,
    ends_without_memory: bool = False,
) -> Iterator[None]:
    """Turn what is raised inside into an `EncoderFailedError`, its traceback into the log.

    Parameters
    ----------
    encoder : str
        Its name.
    did : str
        What it did, after its name.
    where : str
        Slide and place, with which the sentence begins; a failure that was told inside without
        them is told with them.
    remedy : str
        How the sentence ends.
    is_foreign : bool
        Only code that is not ours runs inside, so that no error is a bug of ours.
    ends_without_memory : bool
        Leave it as it is if the machine's memory is used up by what is small: nor would what
        comes next work in this process.

    Raises
    ------
    EncoderFailedError
        If the encoder fails.
    """
    begin = f"{where}: " if where else ""
    try:
        yield
    except EncoderFailedError as error:
        if not begin:
            raise
        raise EncoderFailedError(f"{begin}{error}") from error
    except (FusecpathError, JobCancelled):
        raise
    except Exception as error:
        is_its_own = is_foreign or isinstance(error, RuntimeError | MemoryError)
        if not is_its_own or (ends_without_memory and is_out_of_memory(error)):
            raise
        said = f"{type(error).__name__}: {_first_line(error)}"
        _log.warning("%s%s %s", begin, encoder, did, exc_info=True)
        # The run keeps the failure, and must not keep with it what the encoder had in memory.
        traceback.clear_frames(error.__traceback__)
        raise EncoderFailedError(f"{begin}{encoder} {did} ({said}); {remedy}.") from error


def checked(encoder: str, embedded: Float32, shape: tuple[int, ...]) -> Float32:
    """Return what an encoder gave, if it is what its card promises.

    Parameters
    ----------
    encoder : str
        Its name.
    embedded : ndarray
        What it gave.
    shape : tuple of int
        What its card says.

    Raises
    ------
    EncoderFailedError
        If the shape is another one, or some numbers are not finite.
    """
    if embedded.shape != shape:
        raise EncoderFailedError(
            f"{encoder} gave numbers of shape {embedded.shape}, and its card says {shape}; give "
            "the weights that the card is of, or leave it out."
        )
    if not np.isfinite(embedded).all():
        raise EncoderFailedError(
            f"{encoder} gave NaN or infinity; its weights may be damaged, or too large for half "
            "precision: get them again, or embed on the CPU."
        )
    return embedded


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0][:_LONGEST]
