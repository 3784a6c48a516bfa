"""Colours of the window for what Qt draws beside the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from napari.components import ViewerModel
from napari.utils.theme import get_theme

__all__ = ["Theme"]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as Qt names them."""

    ground: str = "#000000"
    text: str = "#f0f1f2"

    @classmethod
    def of(cls, viewer: ViewerModel) -> Self:
        """Return those of a viewer and its canvas."""
        theme = get_theme(viewer.theme)
        return cls(theme.canvas.as_hex(), theme.text.as_hex())
