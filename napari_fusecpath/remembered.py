"""What a person has chosen about how the window looks, kept for the next window.

It is one small file of the user's, not of a project and not of napari's. Nothing that changes a
result is kept in it, and nothing that hides what is on the slide.
"""

from __future__ import annotations

import atexit
import logging
from pathlib import Path

import platformdirs
from filelock import FileLock
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QComboBox, QSpinBox

from src_core.errors import FusecpathError
from src_core.provenance import read_json, write_json

__all__ = ["Choice", "keep", "recall", "remember", "store_choices"]

Choice = bool | int | str

_FORMAT = 1
_MOST_BYTES = 65_536
_SETTLE_MS = 300
"""A slider that is drawn is written once."""
_LOCK_SECONDS = 1.0
"""Another window writes for a moment; this one waits for no longer."""

_log = logging.getLogger(__name__)
_unwritten: dict[Path, dict[str, Choice]] = {}


def recall(key: str) -> Choice | None:
    """Return what was chosen last, None if that is not known."""
    path = _file()
    return {**_read(path), **_unwritten.get(path, {})}.get(key)


def keep(key: str, choice: Choice) -> None:
    """Keep a choice; it is written in a moment, or when the program ends."""
    if not _unwritten:
        QTimer.singleShot(_SETTLE_MS, store_choices)
    _unwritten.setdefault(_file(), {})[key] = choice


def remember(widget: QAbstractButton | QAbstractSlider | QComboBox | QSpinBox, key: str) -> None:
    """Show in a widget what was chosen last, if it offers that, and keep what the user chooses.

    What the program sets in a button or a box is not kept.
    """
    choice = recall(key)
    if isinstance(widget, QComboBox):
        if isinstance(choice, str) and widget.findText(choice) >= 0:
            widget.setCurrentText(choice)
        widget.activated.connect(lambda at: keep(key, widget.itemText(at)))
    elif isinstance(widget, QAbstractButton):
        if isinstance(choice, bool):
            widget.setChecked(choice)
        widget.clicked.connect(lambda on: keep(key, on))
    else:
        if type(choice) is int and widget.minimum() <= choice <= widget.maximum():
            widget.setValue(choice)
        widget.valueChanged.connect(lambda value: keep(key, value))


def store_choices() -> None:
    """Write what has been chosen; of what another window has written the rest stays."""
    chosen = dict(_unwritten)
    _unwritten.clear()
    for path, choices in chosen.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
                write_json(path, {"format": _FORMAT, "choices": {**_read(path), **choices}})
        except (FusecpathError, OSError) as error:  # they have to be chosen again
            _log.info("What was chosen is not remembered: %s", error)


atexit.register(store_choices)


def _file() -> Path:
    return Path(platformdirs.user_state_dir("napari-fusecpath")) / "window.json"


def _read(path: Path) -> dict[str, Choice]:
    if not path.exists():
        return {}
    try:
        stored = read_json(path, at_most=_MOST_BYTES)
    except FusecpathError as error:
        _log.info("%s holds no choices: %s", path, error)
        return {}
    choices = stored.get("choices")
    if stored.get("format") != _FORMAT or not isinstance(choices, dict):
        _log.info("%s holds no choices that this version knows", path)
        return {}
    return {key: choice for key, choice in choices.items() if isinstance(choice, Choice)}
