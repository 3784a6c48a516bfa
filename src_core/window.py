"""Opening napari from the command: as a child process, so that the engine stays free of Qt."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from src_core.errors import ConfigError

__all__ = ["has_screen", "open_window"]


def has_screen() -> bool:
    """Return whether a window could be shown here."""
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
    if not any(importlib.util.find_spec(qt) for qt in ("PyQt6", "PySide6", "PyQt5", "PySide2")):
        raise ConfigError('No Qt is installed; run: pip install "napari-fusecpath[gui]".')
    if not has_screen():
        raise ConfigError("No screen is here to open a window on; set DISPLAY.")
    plugin = "napari-fusecpath"
    command = [sys.executable, "-m", "napari", str(path), "--plugin", plugin, "-w", plugin]
    return subprocess.run(command, check=False).returncode
