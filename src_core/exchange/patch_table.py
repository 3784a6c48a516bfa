"""What a project says of each patch of a slide, collected for the files of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.clustering.legend import Legend
from src_core.clustering.result import left_out_encoders, load_agreement, load_clusters
from src_core.encoders.registry import encoder_card
from src_core.errors import UnknownEncoderError
from src_core.inference.prediction import Prediction
from src_core.patches.grid import PatchGrid
from src_core.project import Project, SlideFolder
from src_core.review.raster import label_numbers
from src_core.types import BoolArray, Float32, Labels

__all__ = ["PatchTable", "encoder_licences", "patch_table"]


@dataclass(frozen=True, slots=True, eq=False)
class PatchTable:
    """What a project says of each patch of a slide; row i is cell i of the grid."""

    grid: PatchGrid
    clusters: Labels | None
    """Shape (N,); None if the slide is not clustered."""
    numbers: Mapping[str, NDArray[Any]]
    """Named columns, float32 of shape (N,): agreement of the encoders with a patch's cluster, all
    and each; attention, and for each class its probability and its part of the logit, or of
    another output its part of the value. NaN where the model did not look."""
    classes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    """A reviewer's label for each patch, empty where there is none."""
    joint: Labels | None = None
    """Shape (N,): the clusters that the slide has in common with others; None without."""
    flags: Mapping[str, BoolArray] = field(default_factory=dict)
    """Shape (N,): whether a person has ``excluded`` the patch from the bags, or ``pinned`` it."""
    legends: Mapping[str, Legend] = field(default_factory=dict)
    """By the name of their column the clusterings that people have named, coloured or merged."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Of the models that clusters and numbers come from, by their names."""

    def clusterings(self) -> dict[str, Labels]:
        """Return the clusters by the name of their column, -1 for none."""
        both = {"cluster": self.clusters, "cluster of all slides": self.joint}
        return {name: labels for name, labels in both.items() if labels is not None}

    def cluster_names(self) -> dict[str, list[str]]:
        """Return what the cluster of each patch is called, merged ones alike, empty for none.

        By the name of a column beside that of the numbers; there is none where nobody has named or
        merged a cluster.
        """
        found = {}
        for column, labels in self.clusterings().items():
            legend = self.legends.get(column)
            if legend is not None and (legend.names or legend.groups):
                words = np.array([*legend.all_names(), ""], dtype=object)
                found[f"{column} name"] = words[labels].tolist()
        return found

    def measurements(self) -> dict[str, NDArray[Any]]:
        """Return the flags and the numbers by the name of their column."""
        return {**self.flags, **self.numbers}


def patch_table(project: Project, slide: SlideFolder, *, run_id: str | None) -> PatchTable:
    """Collect what a project says of a slide's patches.

    Parameters
    ----------
    project : Project
    slide : SlideFolder
        It has patches; all else may be missing.
    run_id : str, optional
        The run whose prediction is meant; one that the slide lacks is left out.

    Raises
    ------
    ProjectError
        If the slide has no patches, or a file is damaged.
    """
    grid, record = slide.load_grid(), slide.record
    labels = joint = None
    licences: dict[str, str] = {}
    numbers: dict[str, NDArray[Any]] = {}
    legends: dict[str, Legend] = {}
    if record.clusters_id is not None:
        labels, meta = load_clusters(slide.current_clusters())
        licences |= encoder_licences(meta["recipe"].get("views") or ())
        numbers |= _agreement(slide)
        legends["cluster"] = slide.legend(slide.current_clusters()).current()
    if record.joint_id is not None:
        joint, meta = load_clusters(slide.joint_clusters())
        licences |= encoder_licences(meta["recipe"].get("views") or ())
        legends["cluster of all slides"] = slide.legend(slide.joint_clusters()).current()
    prediction = None if run_id is None else _prediction(project, slide, grid, run_id)
    if prediction is not None:
        numbers |= _numbers(prediction)
        licences |= prediction.licences
    edits = slide.selection.edits(grid)
    return PatchTable(
        grid,
        labels,
        numbers,
        () if prediction is None else prediction.classes,
        _marks(slide, grid),
        joint,
        {"excluded": edits.excluded, "pinned": edits.pinned},
        {column: legend for column, legend in legends.items() if legend.is_edited},
        licences,
    )


def encoder_licences(encoders: Iterable[str]) -> dict[str, str]:
    """Return the licence of each encoder; of one that was only imported nobody knows it."""
    found = {}
    for name in encoders:
        try:
            found[name] = encoder_card(name).licence
        except UnknownEncoderError:
            found[name] = "unknown (imported)"
    return found


def _agreement(slide: SlideFolder) -> dict[str, Float32]:
    """Return how far the encoders, together and each, agree with the cluster of each patch."""
    folder = slide.current_clusters()
    _, meta = load_clusters(folder)
    known = load_agreement(folder)
    left_out = left_out_encoders(meta)
    # The recipe names the views in the order in which they were compared.
    names = [name for name in meta["recipe"].get("views") or () if name not in left_out]
    if not names:
        return {}
    columns = {f"agreement {_column(name)}": known[:, place] for place, name in enumerate(names)}
    return {"agreement": known.mean(axis=1, dtype=np.float32), **columns}


def _prediction(
    project: Project, slide: SlideFolder, grid: PatchGrid, run_id: str
) -> Prediction | None:
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        return None
    prediction = Prediction.load(folder)
    prediction.require_grid(grid.grid_id, len(grid))
    return prediction


def _numbers(prediction: Prediction) -> dict[str, NDArray[Any]]:
    columns = {"attention": prediction.attention}
    for place, known in enumerate(prediction.classes):
        name = _column(known)
        if prediction.has_classes:
            columns[f"probability {name}"] = prediction.patch_probabilities[:, place]
        columns[f"contribution {name}"] = prediction.contributions[:, place]
    return columns


def _column(name: str) -> str:
    return name.replace("/", "_")  # it would part the name of a column in HDF5


def _marks(slide: SlideFolder, grid: PatchGrid) -> tuple[str, ...]:
    """Return the label in force at the middle of each patch."""
    marks = slide.marks.current()
    if not marks:
        return ("",) * len(grid)
    names = list(dict.fromkeys(mark.label for mark in marks))
    words = np.array(["", *names], dtype=object)
    return tuple(words[label_numbers(grid, marks, names)].tolist())
