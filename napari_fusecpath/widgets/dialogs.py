"""Dialogs that ask for files and folders, and open where the last one was left."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import QDir
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_fusecpath.remembered import keep, recall
from src_core.errors import ConfigError

__all__ = ["ask_file", "ask_files", "ask_folder", "ask_name"]

_KEY = "folder of the dialogs"
_ENDINGS = re.compile(r"\*(\.\w+)")


def ask_file(parent: QWidget, title: str, kinds: str) -> Path | None:
    """Ask for a file to read; None if the user wants none."""
    path, _ = QFileDialog.getOpenFileName(parent, title, _start(), kinds)
    return _taken([path])


def ask_files(parent: QWidget, title: str, kinds: str) -> list[Path]:
    """Ask for files to read."""
    paths, _ = QFileDialog.getOpenFileNames(parent, title, _start(), kinds)
    _taken(paths)
    return [Path(path) for path in paths]


def ask_folder(parent: QWidget, title: str) -> Path | None:
    """Ask for a folder; None if the user wants none."""
    return _taken([QFileDialog.getExistingDirectory(parent, title, _start())])


def ask_name(parent: QWidget, title: str, proposed: Path, kinds: str) -> Path | None:
    """Ask for the name of a file to write; None if the user wants none.

    A name without an ending takes that of the chosen kind. The system has asked before an existing
    file is written over, if it is the one that was named.

    Raises
    ------
    ConfigError
        If the name ends otherwise, or is another file's with the ending that it takes.
    """
    name, kind = QFileDialog.getSaveFileName(parent, title, str(proposed), kinds)
    if not name:
        return None
    path, endings = Path(name), _ENDINGS.findall(kinds)
    if path.suffix.lower() in endings:
        return path
    if path.suffix:
        *others, last = endings
        listed = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(f"{path.name} cannot end with {path.suffix}; let it end with {listed}.")
    path = path.with_name(f"{path.name}{_ENDINGS.findall(kind or kinds)[0]}")
    if path.exists():
        raise ConfigError(
            f"{path} is there already; choose that very name to write over it, or give another one."
        )
    return path


def _taken(paths: list[str]) -> Path | None:
    """Keep the folder in which the first one lies."""
    if not paths or not paths[0]:
        return None
    path = Path(paths[0])
    keep(_KEY, str(path.parent))
    return path


def _start() -> str:
    last = recall(_KEY)
    if isinstance(last, str) and last and QDir(last).exists():
        return last
    folder = Path.home() / "FuseCPath"
    return str(folder if folder.is_dir() else Path.home())
