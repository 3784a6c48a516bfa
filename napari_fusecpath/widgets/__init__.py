"""The dock: one panel for each step, and what they share."""

from __future__ import annotations
