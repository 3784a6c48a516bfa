"""What is drawn in the viewer, and where."""

from __future__ import annotations
