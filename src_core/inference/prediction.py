"""What a model says of one slide, on disk and in memory; read without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from src_core import RESEARCH_USE
from src_core.errors import GridMismatchError, ProjectError
from src_core.provenance import read_array, read_json, write_array, write_json
from src_core.types import Float32, Float64, Json

__all__ = ["RESEARCH_USE", "Prediction", "prediction_meta"]

_VERSION = 1
_ARRAYS = {"attention": 1, "contributions": 2, "patch_probabilities": 2}
_VECTORS = ("probabilities", "logits", "spread", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The classes of a slide and what each patch has to do with them.

    For every class ``bias[c] + contributions[:, c].sum() == logits[c]``.
    """

    slide_id: str
    classes: tuple[str, ...]
    probabilities: Float64
    """Shape (C,), sum 1: softmax of `logits`."""
    logits: Float64
    """Shape (C,), centred: mean over the bags of the slide's score."""
    spread: Float64
    """Shape (C,): standard deviation of the probability over patch selections; no confidence."""
    bias: Float64
    """Shape (C,): the part of `logits` that belongs to no single patch. Where the maps come from
    the local branches it holds the student's own score too, whose patches have seen each other."""
    attention: Float32
    """Shape (N,): mean share of the bags that hold the patch, times the bag's length; 1 is
    average, NaN where no bag holds it."""
    contributions: Float32
    """Shape (N, C): mean over all bags of the patch's part of the logit, 0 in bags without it."""
    patch_probabilities: Float32
    """Shape (N, C): the patch's own class probabilities, NaN where no bag holds it."""
    appearances: Float32
    """Shape (N,): share of the bags that hold the patch."""
    map_source: str
    """``"local branches"`` or ``"student"``: which part of the model the maps show."""
    grid_id: str = ""
    """Of the patch grid whose rows these are."""
    n_bags: int = 0
    seed: int = 0
    licences: dict[str, str] = field(default_factory=dict)
    """Encoder -> licence of its weights."""
    run_id: str = ""
    notes: tuple[str, ...] = ()
    n_clusters: int = 0
    """Clusters in its bags: those of the slide less those whose patches are all excluded; 0 in a
    prediction of an earlier version."""
    n_excluded: int = 0
    n_pinned: int = 0
    """Patches that a person had excluded from the bags, or pinned into them."""
    edits_id: str = ""
    """Stands for exactly those; see `SelectionEdits`."""

    @property
    def predicted(self) -> str:
        """The class with the largest probability."""
        return self.classes[int(np.argmax(self.probabilities))]

    def by_class(self) -> dict[str, float]:
        """Return the probability of every class by its name."""
        return dict(zip(self.classes, map(float, self.probabilities), strict=True))

    @property
    def map_contributions(self) -> Float32:
        """Shape (N, C): a patch's mean part of the logit in the bags that hold it, for display."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.contributions / self.appearances[:, None], dtype=np.float32)

    def require_grid(self, grid_id: str, n_patches: int) -> None:
        """Raise `GridMismatchError` unless the rows are those of this grid."""
        if self.grid_id != grid_id or len(self.attention) != n_patches:
            raise GridMismatchError(
                f"The prediction of {self.slide_id} was made on grid {self.grid_id or '(none)'} "
                f"with {len(self.attention)} patches, not on {grid_id} with {n_patches}; "
                "predict the slide again."
            )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, such as `grid_id` or `licences`."""
        return dataclasses.replace(self, **changes)

    def save(self, folder: Path) -> None:
        """Write the arrays, then ``prediction.json``: without it there is no prediction."""
        (folder / "prediction.json").unlink(missing_ok=True)
        for name in (*_ARRAYS, "appearances"):
            write_array(folder / f"{name}.npy", np.asarray(getattr(self, name), dtype=np.float32))
        write_json(folder / "prediction.json", self.to_dict())

    def to_dict(self) -> dict[str, Json]:
        """Return all but the arrays of patches as JSON values."""
        return {
            "format": _VERSION,
            "slide_id": self.slide_id,
            "classes": list(self.classes),
            "predicted": self.predicted,
            **{name: [float(x) for x in getattr(self, name)] for name in _VECTORS},
            "map_source": self.map_source,
            "grid_id": self.grid_id,
            "n_patches": len(self.attention),
            "n_bags": self.n_bags,
            "seed": self.seed,
            "run_id": self.run_id,
            **{name: getattr(self, name) for name in _EDITS},
            "licences": dict(self.licences),
            "notes": list(self.notes),
            "use": RESEARCH_USE,
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the arrays stay on disk until they are used.

        Raises
        ------
        ProjectError
            If a file is missing or damaged; the sentence names it.
        """
        meta = prediction_meta(folder)
        n_patches, n_classes = meta["n_patches"], len(meta["classes"])
        shapes = {name: (n_patches, n_classes)[:ndim] for name, ndim in _ARRAYS.items()}
        shapes["appearances"] = (n_patches,)
        values: dict[str, Any] = {name: meta[name] for name in (*_PLAIN, *_EDITS)}
        for name, shape in shapes.items():
            values[name] = read_array(folder / f"{name}.npy", dtype=np.float32, shape=shape)
        for name in _VECTORS:
            values[name] = np.array(meta[name], dtype=np.float64)
        return cls(**values, classes=tuple(meta["classes"]), notes=tuple(meta["notes"]))


_PLAIN = ("slide_id", "map_source", "grid_id", "n_bags", "seed", "run_id", "licences")
_EDITS: dict[str, int | str] = {"n_clusters": 0, "n_excluded": 0, "n_pinned": 0, "edits_id": ""}
"""What of the edited selection is stored, with what an earlier version means by leaving it out."""


def prediction_meta(folder: Path) -> dict[str, Any]:
    """Read ``prediction.json`` alone: classes, probabilities, provenance.

    Raises
    ------
    ProjectError
        If it is missing, damaged or of a newer version.
    """
    path = folder / "prediction.json"
    meta = read_json(path)
    if meta.get("format") != _VERSION:
        raise ProjectError(
            f"{path} has format {meta.get('format')!r}, this program reads {_VERSION}; "
            "predict the slide again."
        )
    classes = meta.get("classes")
    if not _is_list(classes, str) or not classes or not isinstance(meta.get("n_patches"), int):
        raise ProjectError(f"{path} is damaged; predict the slide again.")
    good_vectors = all(
        _is_list(meta.get(name), float) and len(meta[name]) == len(classes) for name in _VECTORS
    )
    wanted = {"n_bags": int, "seed": int, "licences": dict}
    good_plain = isinstance(meta.get("notes"), list) and all(
        isinstance(meta.get(name), wanted.get(name, str)) for name in _PLAIN
    )
    meta = {**_EDITS, **meta}
    good_edits = all(isinstance(meta[name], type(none)) for name, none in _EDITS.items())
    good_texts = good_plain and _is_list([*meta["licences"].values(), *meta["notes"]], str)
    if not (good_vectors and good_texts and good_edits):
        raise ProjectError(f"{path} is damaged; predict the slide again.")
    return meta


def _is_list(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
