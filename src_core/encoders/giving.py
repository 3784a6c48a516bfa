"""A file of weights that the user gives to an encoder: whether it takes one, and taking it."""

from __future__ import annotations

from pathlib import Path

from src_core.encoders.local_weights import use_file
from src_core.encoders.registry import encoder_card, import_problem
from src_core.encoders.remote_code import brings_code
from src_core.encoders.state_dicts import check_weights_file
from src_core.errors import ConfigError

__all__ = ["file_problem", "give_file"]

_NO_FILE = ("code:", "random:", "mean:")


def file_problem(name: str) -> str | None:
    """Return in a sentence why an encoder takes no file of weights, or None if it takes one.

    Raises
    ------
    UnknownEncoderError
        If there is no such encoder.
    """
    card = encoder_card(name)
    if card.weights.startswith(_NO_FILE):
        return f"{name} needs no file of weights."
    if brings_code(card):
        return (
            f"{name} is loaded by its own code from the Hugging Face cache and takes no file; "
            "download it there, or import its slide embedding."
        )
    return import_problem(name)


def give_file(name: str, path: Path) -> None:
    """List a file as the weights of an encoder, from now on, after a look at what it holds.

    Parameters
    ----------
    name : str
        The encoder.
    path : Path
        Of tensors; whether they fit the network shows when it is loaded.

    Raises
    ------
    ConfigError
        If the encoder takes no file.
    WeightsUnavailableError
        If the file is missing, damaged, or holds no tensors.
    UnknownEncoderError
        If there is no such encoder.
    ProjectError
        If the user's list of weights is damaged.
    """
    problem = file_problem(name)
    if problem is not None:
        raise ConfigError(problem)
    check_weights_file(path, what=name)
    use_file(name, path)
