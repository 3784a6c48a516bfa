"""The first map of a model that is still learning, on disk while it learns; read without torch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from src_core.errors import ProjectError
from src_core.provenance import read_array, read_json, remove_file, write_array, write_json
from src_core.types import Float32

__all__ = ["FirstMap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstMap:
    """The fused prediction map of one slide after the quick phase of fine-tuning.

    It is no prediction: the slide has no score yet, and the next seconds change the map.
    """

    slide_id: str
    grid_id: str
    """Of the patch grid whose rows these are."""
    parent: str
    """The run that is being fine-tuned."""
    classes: tuple[str, ...]
    patch_probabilities: Float32
    """Shape (N, C): each patch's own class probabilities, NaN where it is excluded."""

    def save(self, folder: Path) -> None:
        """Write the array, then ``meta.json``: without it there is no map."""
        remove_file(folder / "meta.json")
        write_array(folder / "patch_probabilities.npy", self.patch_probabilities)
        meta = {
            "slide_id": self.slide_id,
            "grid_id": self.grid_id,
            "parent": self.parent,
            "classes": list(self.classes),
            "n_patches": len(self.patch_probabilities),
        }
        write_json(folder / "meta.json", meta)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the array stays on disk until it is used.

        Raises
        ------
        ProjectError
            If a file is missing or damaged.
        """
        path = folder / "meta.json"
        meta = read_json(path)
        texts = [meta.get(name) for name in ("slide_id", "grid_id", "parent")]
        classes, n_patches = meta.get("classes"), meta.get("n_patches")
        if not (
            isinstance(classes, list)
            and classes
            and all(isinstance(text, str) for text in (*texts, *classes))
            and type(n_patches) is int
        ):
            raise ProjectError(f"{path} is damaged; fine-tune again.")
        return cls(
            slide_id=meta["slide_id"],
            grid_id=meta["grid_id"],
            parent=meta["parent"],
            classes=tuple(classes),
            patch_probabilities=read_array(
                folder / "patch_probabilities.npy",
                dtype=np.float32,
                shape=(n_patches, len(classes)),
            ),
        )

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove a stored map, if there is one."""
        remove_file(folder / "meta.json")
        shutil.rmtree(folder, ignore_errors=True)
