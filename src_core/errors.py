"""Everything that a user can mend, as exceptions that say what, where and the remedy.

Each class is a :class:`FusecpathError` and also the built-in error that a caller would
expect, so ``except OSError`` around a slide works as it always did. A message is one
sentence: it names the file or setting and the way out. A bug is never one of these.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DivergedError",
    "EncoderFailedError",
    "EncoderScaleError",
    "ExchangeError",
    "FusecpathError",
    "GridMismatchError",
    "JobCancelled",
    "ProjectError",
    "SlideLostError",
    "SlideReadError",
    "SlideScaleError",
    "SlideTooLargeError",
    "StaleArtifactError",
    "StorageFullError",
    "TooFewPatchesError",
    "UnknownEncoderError",
    "WeightsUnavailableError",
]


_LONGEST = 2000


class FusecpathError(Exception):
    """Something the user can mend; its text is the one sentence to show them."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument, OSError an errno: the sentence is enough.
        text = str(self.args[0]) if self.args else type(self).__name__
        # A damaged file may have put megabytes into the sentence that quotes it.
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class ConfigError(FusecpathError, ValueError):
    """A setting is unknown, of the wrong type or out of its range."""


class ProjectError(FusecpathError, ValueError):
    """A project folder is missing, damaged, or lacks the step that is asked for."""


class StorageFullError(ProjectError):
    """The disk, or what the user may write to it, is full: nothing more can be stored there."""


class SlideReadError(FusecpathError, OSError):
    """A file cannot be opened or read as a slide."""


class SlideLostError(SlideReadError):
    """A slide that was open cannot be opened again: it was moved, replaced or unmounted."""


class SlideScaleError(FusecpathError, ValueError):
    """A slide does not say how large its pixels are."""


class SlideTooLargeError(FusecpathError, ValueError):
    """A slide encoder would need more memory for this slide than is free.

    Parameters
    ----------
    message : str
        The sentence.
    encoder : str
        The slide encoder.
    most : int
        For how many patches what is free is enough.
    """

    def __init__(self, message: str, *, encoder: str = "", most: int = 0) -> None:
        super().__init__(message)
        self.encoder, self.most = encoder, most


class UnknownEncoderError(FusecpathError, KeyError):
    """No encoder has this name."""


class WeightsUnavailableError(FusecpathError, FileNotFoundError):
    """The weights of an encoder are gated, not installed, damaged or out of reach."""


class EncoderFailedError(FusecpathError, RuntimeError):
    """An encoder breaks down, or gives no embeddings, where others may well go on."""


class EncoderScaleError(FusecpathError, ValueError):
    """A slide encoder is asked to read a lattice that it was not made for."""


class StaleArtifactError(FusecpathError, ValueError):
    """A stored artifact was made by another recipe than the one that is asked for."""


class ExchangeError(FusecpathError, ValueError):
    """A file of another program is damaged, or does not fit the slide that it is said to be of."""


class GridMismatchError(FusecpathError, ValueError):
    """Arrays that should describe the same patches do not."""


class TooFewPatchesError(FusecpathError, ValueError):
    """A slide has too little tissue for what is asked."""


class CheckpointError(FusecpathError, ValueError):
    """A checkpoint is damaged, too new, or made for other encoders."""


class DivergedError(FusecpathError, ArithmeticError):
    """A training has left the finite numbers, by its settings or by what it was given."""


class JobCancelled(Exception):  # noqa: N818 - a request that was honoured, not an error
    """The caller asked to stop; nothing is half written."""
