"""The user's own list of weights files: a small JSON object, encoder's name to file.

It is ``weights.json`` in the user's configuration folder, or where ``FUSECPATH_WEIGHTS`` says. It
holds for every project of the user; a file in it goes before every other place.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_config_path

from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.provenance import read_json, write_json

__all__ = ["forget_file", "local_file", "local_files", "local_list", "use_file"]

_VARIABLE = "FUSECPATH_WEIGHTS"


def local_list() -> Path:
    """Return where the list is, or will be."""
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else user_config_path("fusecpath", False) / "weights.json"


def local_files() -> dict[str, Path]:
    """Return the listed files by encoder; whether they are there is not looked at.

    Raises
    ------
    ProjectError
        If the list is damaged.
    """
    path = local_list()
    if not path.exists():
        return {}
    values = read_json(path)
    if not all(isinstance(file, str) and Path(file).is_absolute() for file in values.values()):
        raise ProjectError(
            f"{path} does not list files by encoder, with their whole paths; correct or remove it."
        )
    return {name: Path(file) for name, file in values.items()}


def local_file(encoder: str) -> Path | None:
    """Return the file that is listed for an encoder, if one is."""
    return local_files().get(encoder)


def use_file(encoder: str, path: Path) -> None:
    """List a file as the weights of an encoder, from now on."""
    with locked(local_list().parent):
        _write(local_files() | {encoder: path.absolute()})


def forget_file(encoder: str) -> bool:
    """Take an encoder's file off the list; return whether there was one. The file stays."""
    if encoder not in local_files():
        return False
    with locked(local_list().parent):
        _write({name: file for name, file in local_files().items() if name != encoder})
    return True


def _write(files: dict[str, Path]) -> None:
    write_json(local_list(), {name: str(file) for name, file in sorted(files.items())})
