"""What a model says of one slide, on disk and in memory; read without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np

from src_core import RESEARCH_USE
from src_core.errors import CheckpointError, GridMismatchError, ProjectError
from src_core.models.config import Task
from src_core.models.operating_point import OperatingPoint
from src_core.provenance import read_array, read_json, remove_file, write_array, write_json
from src_core.types import Float32, Float64, Json

__all__ = ["RESEARCH_USE", "Prediction", "prediction_meta"]

_VERSION = 2
_EARLIER = (1,)
"""Formats that are read too: 1 knew classes only."""

_ARRAYS = {"attention": 1, "contributions": 2, "patch_probabilities": 2}
_VECTORS = ("logits", "spread", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of a slide, and what each patch has to do with it.

    For every output ``bias[c] + contributions[:, c].sum() == logits[c]``.
    """

    slide_id: str
    classes: tuple[str, ...]
    """Names of the outputs: of the classes, of the targets of a regression, of a log-hazard."""
    task: Task = "classification"
    probabilities: Float64
    """Shape (C,), sum 1: softmax of `logits`. Shape (0,) where the task knows no classes."""
    logits: Float64
    """Shape (C,), means over the bags. Classification: of the slide's score, centred over the
    classes. Regression: the values, in the unit of the labels. Survival: the log-hazard, on a
    scale whose zero means nothing."""
    spread: Float64
    """Shape (C,): standard deviation over patch selections, of the probability or of what
    `logits` holds in other tasks; no confidence."""
    bias: Float64
    """Shape (C,): the part of `logits` that belongs to no single patch. Where the maps come from
    the local branches it holds the student's own score too, whose patches have seen each other."""
    attention: Float32
    """Shape (N,): mean share of the bags that hold the patch, times the bag's length; 1 is
    average, NaN where no bag holds it."""
    contributions: Float32
    """Shape (N, C): mean over all bags of the patch's part of `logits`, 0 in bags without it."""
    patch_probabilities: Float32
    """Shape (N, C): the patch's own class probabilities, NaN where no bag holds it. Shape (N, 0)
    where the task knows no classes: there the contributions are what a map shows."""
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
    operating_point: OperatingPoint | None = None
    """Of the checkpoint; decides `call`."""
    unlikeness: float | None = None
    """How far the slide is from those that were learned from, as a multiple of what is usual
    among them; None if the checkpoint cannot tell."""

    @property
    def has_classes(self) -> bool:
        """Whether the outputs are classes with probabilities."""
        return self.task == "classification"

    @property
    def shown_output(self) -> int:
        """Whose map is shown unless another is asked for: the most probable class, or the first."""
        return int(np.argmax(self.probabilities)) if self.has_classes else 0

    @property
    def predicted(self) -> str:
        """The class with the largest probability; empty where there are no classes."""
        return self.classes[self.shown_output] if self.has_classes else ""

    @property
    def call(self) -> str:
        """The class that the operating point calls, or ``"indeterminate"``.

        Without an operating point it is `predicted`; empty where there are no classes.
        """
        if self.operating_point is None or not self.has_classes:
            return self.predicted
        return self.operating_point.call(self.probabilities, self.classes)

    @property
    def is_unlike(self) -> bool:
        """Whether it is unlike the slides that were learned from: what is said is a guess."""
        return self.unlikeness is not None and self.unlikeness > 1

    def by_class(self) -> dict[str, float]:
        """Return each class with its probability, or each other output with its value."""
        values = self.probabilities if self.has_classes else self.logits
        return dict(zip(self.classes, map(float, values), strict=True))

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
        remove_file(folder / "prediction.json")
        for name in self._shapes(len(self.attention), len(self.classes), self.task):
            write_array(folder / f"{name}.npy", np.asarray(getattr(self, name), dtype=np.float32))
        write_json(folder / "prediction.json", self.to_dict())

    def to_dict(self) -> dict[str, Json]:
        """Return all but the arrays of patches as JSON values."""
        return {
            "format": _VERSION,
            "slide_id": self.slide_id,
            "classes": list(self.classes),
            "task": self.task,
            "predicted": self.predicted,
            "call": self.call,
            "probabilities": [float(x) for x in self.probabilities],
            **{name: [float(x) for x in getattr(self, name)] for name in _VECTORS},
            "map_source": self.map_source,
            "grid_id": self.grid_id,
            "n_patches": len(self.attention),
            "n_bags": self.n_bags,
            "seed": self.seed,
            "run_id": self.run_id,
            **{name: getattr(self, name) for name in _EDITS},
            "operating_point": self.operating_point and self.operating_point.to_dict(),
            "unlikeness": self.unlikeness,
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
        n_patches, n_outputs = meta["n_patches"], len(meta["classes"])
        values: dict[str, Any] = {name: meta[name] for name in (*_PLAIN, *_EDITS, *_LATER)}
        values["patch_probabilities"] = np.zeros((n_patches, 0), np.float32)
        for name, shape in cls._shapes(n_patches, n_outputs, meta["task"]).items():
            values[name] = read_array(folder / f"{name}.npy", dtype=np.float32, shape=shape)
        for name in ("probabilities", *_VECTORS):
            values[name] = np.array(meta[name], dtype=np.float64)
        return cls(**values, classes=tuple(meta["classes"]), notes=tuple(meta["notes"]))

    @staticmethod
    def _shapes(n_patches: int, n_outputs: int, task: Task) -> dict[str, tuple[int, ...]]:
        """Return which arrays are stored, and their shapes."""
        shapes = {name: (n_patches, n_outputs)[:ndim] for name, ndim in _ARRAYS.items()}
        if task != "classification":
            shapes.pop("patch_probabilities")
        return {**shapes, "appearances": (n_patches,)}


_PLAIN = ("slide_id", "map_source", "grid_id", "n_bags", "seed", "run_id", "licences")
_EDITS: dict[str, int | str] = {"n_clusters": 0, "n_excluded": 0, "n_pinned": 0, "edits_id": ""}
"""What of the edited selection is stored, with what an earlier version means by leaving it out."""
_LATER: dict[str, Json] = {"task": "classification", "operating_point": None, "unlikeness": None}
"""The same of what came with format 2."""


def prediction_meta(folder: Path) -> dict[str, Any]:
    """Read ``prediction.json`` alone: classes, probabilities, provenance.

    Returns
    -------
    dict
        Complete, whichever format it was; ``operating_point`` is an `OperatingPoint`, or None.

    Raises
    ------
    ProjectError
        If it is missing, damaged or of a newer version.
    """
    path = folder / "prediction.json"
    meta = read_json(path)
    if meta.get("format") not in {_VERSION, *_EARLIER}:
        raise ProjectError(
            f"{path} has format {meta.get('format')!r}, this program reads {_VERSION}; "
            "predict the slide again."
        )
    meta = {**_EDITS, **_LATER, **meta}
    if not (_has_good_outputs(meta) and _has_good_texts(meta)):
        raise ProjectError(f"{path} is damaged; predict the slide again.")
    if meta["operating_point"] is not None:
        n_classes = len(meta["classes"])
        try:
            point = OperatingPoint.from_dict(meta["operating_point"], n_classes=n_classes)
        except CheckpointError as error:
            raise ProjectError(f"{path} is damaged; predict the slide again.") from error
        meta["operating_point"] = point
    return meta


def _has_good_outputs(meta: dict[str, Any]) -> bool:
    classes, task = meta.get("classes"), meta["task"]
    if not _is_list(classes, str) or not classes or task not in get_args(Task):
        return False
    lengths = dict.fromkeys(_VECTORS, len(classes))
    lengths["probabilities"] = len(classes) if task == "classification" else 0
    point, unlike = meta["operating_point"], meta["unlikeness"]
    return (
        type(meta.get("n_patches")) is int
        and all(
            _is_list(meta.get(name), float) and len(meta[name]) == length
            for name, length in lengths.items()
        )
        and (point is None or (isinstance(point, dict) and task == "classification"))
        and (unlike is None or isinstance(unlike, float))
    )


def _has_good_texts(meta: dict[str, Any]) -> bool:
    wanted = {"n_bags": int, "seed": int, "licences": dict}
    return (
        isinstance(meta.get("notes"), list)
        and all(isinstance(meta.get(name), wanted.get(name, str)) for name in _PLAIN)
        and _is_list([*meta["licences"].values(), *meta["notes"]], str)
        and all(isinstance(meta[name], type(none)) for name, none in _EDITS.items())
    )


def _is_list(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
