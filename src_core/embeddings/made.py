"""Whether embeddings are there, and by the weights that their encoder has on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.base import PatchEncoder, SlideEncoder
from src_core.encoders.registry import encoder_card
from src_core.encoders.weights import known_recipe
from src_core.types import Cells

__all__ = ["changed_key", "is_made", "recipe_here"]


def recipe_here(
    name: str, loaded: Mapping[str, PatchEncoder] | Mapping[str, SlideEncoder]
) -> dict[str, Any]:
    """Return the recipe of what an encoder makes here, without ``weights`` if nothing tells them.

    Parameters
    ----------
    name : str
        The encoder.
    loaded : mapping
        Encoders by name; what they were loaded from is no longer looked for.
    """
    if name in loaded:
        return loaded[name].card.recipe()
    return known_recipe(encoder_card(name))


def is_made(
    store: EmbeddingStore, name: str, cells: Cells, loaded: Mapping[str, PatchEncoder]
) -> bool:
    """Tell whether an encoder has nothing to do: all `cells` are embedded, and as it would do it.

    What another program made is kept as it is, by an encoder that nobody knows here too.

    Raises
    ------
    ProjectError
        If something stored is damaged.
    """
    if store.is_unfinished(name) or store.missing(name, cells).any():
        return False
    stored = store.recipe(name)
    return "imported" in stored or changed_key(stored, recipe_here(name, loaded)) is None


def changed_key(stored: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
    """Return what of a recipe is unlike that of stored embeddings, None if nothing is."""
    return next((key for key, value in recipe.items() if stored.get(key) != value), None)
