"""Finds our layers by the role in their metadata: a user may give them any name and order."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from napari.components import ViewerModel
from napari.layers import Layer

__all__ = [
    "METADATA_KEY",
    "ROLES",
    "Role",
    "about",
    "find_layer",
    "find_layers",
    "role_of",
    "set_visible",
]

METADATA_KEY = "fusecpath"

Role: TypeAlias = Literal[
    "slide",
    "tissue",
    "quality",
    "clusters",
    "agreement",
    "attention",
    "contribution",
    "prediction",
    "marks",
    "roi",
    "lasso",
    "shade",
    "selection",
    "measures",
]
"""What a layer shows, from the bottom of the stack to its top."""

ROLES: tuple[Role, ...] = get_args(Role)


def about(layer: Layer) -> dict[str, Any]:
    """Return what we have noted about a layer; empty if it is not ours."""
    notes = layer.metadata.get(METADATA_KEY)
    return notes if isinstance(notes, dict) else {}


def role_of(layer: Layer) -> Role | None:
    """Return what a layer shows, None if it is not ours."""
    role = about(layer).get("role")
    return role if role in ROLES else None


def find_layers(viewer: ViewerModel, role: Role) -> list[Layer]:
    """Return our layers of a role, the lowest first."""
    return [layer for layer in viewer.layers if role_of(layer) == role]


def find_layer(viewer: ViewerModel, role: Role) -> Layer | None:
    """Return the topmost of our layers of a role, or None."""
    return next(reversed(find_layers(viewer, role)), None)


def set_visible(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; napari draws one anew that it is told to show again."""
    if layer.visible != visible:
        layer.visible = visible
