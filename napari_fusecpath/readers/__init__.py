"""What napari calls to open our files."""

from __future__ import annotations
