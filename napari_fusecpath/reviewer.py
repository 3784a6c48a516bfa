"""Who sits at the window: what people say of patches is stored with their name.

The name that a reviewer has typed is kept for the next window, in a small file of the user's: undo
takes back only what was said under the same name.
"""

from __future__ import annotations

import getpass
import logging
from pathlib import Path

import platformdirs

from src_core.errors import FusecpathError
from src_core.provenance import read_json, write_json
from src_core.review.acts import MAX_TEXT

__all__ = ["remember_reviewer", "reviewer_name", "user_name"]

_MOST_BYTES = 16_384

_log = logging.getLogger(__name__)


def user_name() -> str:
    """Return the name by which the system knows the user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container
        return "reviewer"


def reviewer_name() -> str:
    """Return the name that the user has given last, else the one that the system knows."""
    path = _file()
    if not path.is_file():
        return user_name()
    try:
        name = read_json(path, at_most=_MOST_BYTES).get("name")
    except FusecpathError as error:
        _log.info("%s holds no name: %s", path, error)
        return user_name()
    is_name = isinstance(name, str) and name.strip() and len(name) <= MAX_TEXT
    return str(name).strip() if is_name else user_name()


def remember_reviewer(name: str) -> None:
    """Keep a name for the next window; a disk that takes nothing is only logged."""
    try:
        write_json(_file(), {"name": name})
    except FusecpathError as error:  # it has to be typed again
        _log.info("The reviewer's name is not remembered: %s", error)


def _file() -> Path:
    return Path(platformdirs.user_state_dir("napari-fusecpath")) / "reviewer.json"
