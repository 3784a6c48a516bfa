"""Opening napari from the command: as a child process, so that the engine stays free of Qt."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from src_core.errors import ConfigError

__all__ = ["can_open_window", "open_window"]

_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def can_open_window() -> bool:
    """Return whether there is a screen and a Qt to draw a window with."""
    return _has_screen() and _has_qt()


def _has_qt() -> bool:
    return any(importlib.util.find_spec(binding) for binding in _BINDINGS)


def _has_screen() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(path: Path) -> int:
    """Open a project or a slide in napari with the FuseCPath dock; return napari's exit status.

    Raises
    ------
    ConfigError
        If there is no Qt to draw with, or no screen to draw on.
    """
    if not _has_qt():
        raise ConfigError('No Qt is installed; run: pip install "napari-fusecpath[gui]".')
    if not _has_screen():
        raise ConfigError("No screen is here to open a window on; set DISPLAY.")
    plugin = "napari-fusecpath"
    command = [sys.executable, "-m", "napari", str(path), "--plugin", plugin, "-w", plugin]
    return subprocess.run(command, check=False).returncode
