"""Embeddings by an earlier recipe: out of use at once, deleted when the new ones are whole.

Each move is one renaming of a folder, so a run may die between any two: whoever asks for a recipe
next finds its embeddings in use, or set aside, and takes them up again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from src_core.errors import ProjectError
from src_core.provenance import read_array, read_json, recipe_id
from src_core.types import Cells

__all__ = ["SET_ASIDE", "drop", "earlier_recipe", "set_aside", "set_aside_cells", "take_up"]

SET_ASIDE = "+set_aside"
"""A folder of a store; no encoder's folder is called so, for a plus sign would be escaped."""


def set_aside(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Move an encoder's embeddings, by `recipe`, out of use.

    Raises
    ------
    ProjectError
        If another program holds them.
    """
    place = _places(folder) / recipe_id(recipe)
    if place.exists():  # the same embeddings, from before somebody put a folder back by hand
        shutil.rmtree(place)
    _move(folder, place)


def take_up(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Put embeddings by `recipe` that were set aside back in use, if there are any."""
    place = _places(folder) / recipe_id(recipe)
    if place.is_dir() and not folder.exists():
        _move(place, folder)


def earlier_recipe(folder: Path) -> dict[str, Any]:
    """Return the recipe of what was set aside of an encoder, the last of several; empty if nothing.

    Raises
    ------
    ProjectError
        If a file is damaged.
    """
    places = [path.parent for path in _places(folder).glob("*/meta.json")]
    if not places:
        return {}
    latest = max(places, key=lambda place: place.stat().st_mtime_ns)
    recipe = read_json(latest / "meta.json").get("recipe")
    return recipe if isinstance(recipe, dict) else {}


def set_aside_cells(folder: Path) -> Cells:
    """Return the cells that an encoder's embeddings by earlier recipes have, int32 (n, 2).

    Raises
    ------
    ProjectError
        If a file is damaged.
    """
    paths = sorted(_places(folder).glob("*/cells.npy"))
    found = [np.array(read_array(path, dtype=np.int32, shape=(None, 2))) for path in paths]
    return np.concatenate([np.empty((0, 2), np.int32), *found])


def drop(folder: Path) -> None:
    """Delete what was set aside of an encoder."""
    shutil.rmtree(_places(folder), ignore_errors=True)


def _places(folder: Path) -> Path:
    return folder.parent / SET_ASIDE / folder.name


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:  # on Windows an open file keeps its folder where it is
        raise ProjectError(
            f"{source} cannot be moved to {target} ({error.strerror or error}); close what reads "
            "it, ask for the right to write there, and run it again."
        ) from error
