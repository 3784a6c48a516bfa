"""Dialogs that ask for files and folders, and open where the last one was left."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QDir
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_fusecpath.remembered import keep, recall

__all__ = ["ask_file", "ask_files", "ask_folder"]

_KEY = "folder of the dialogs"


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
