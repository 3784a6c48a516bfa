"""What the predictions of a project's slides become without some of their patches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from src_core.errors import ConfigError, GridMismatchError, ProjectError
from src_core.inference.explanation import Explanation, Outcome
from src_core.patches.rows import read_rows, told_rows, written_rows
from src_core.plain_text import one_line
from src_core.progress import Report, Stop
from src_core.project import SlideFolder
from src_core.review.raster import label_numbers
from src_core.runs import Predictor, SlideInputs
from src_core.types import BoolArray, Labels

__all__ = ["EXPLANATION_NAME", "LeftOut", "explain", "marks_there"]

EXPLANATION_NAME = "explanation.json"
"""Beside the slide's prediction by the same run."""

_MOST_NAMED = 12
"""Clusters that are named one by one where several are left out."""
_MOST_ROWS = 50_000
"""Texts of rows that are stored of a set: of more, the name alone tells which it was."""
_LONGEST_LABEL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What of a slide is left out together; nothing of it stands for each cluster by itself."""

    clusters: tuple[int, ...] = ()
    marked: str | None = None
    """What reviewers have called the patches in their marks."""
    patches: tuple[str, ...] = ()
    """Rows of the grid, see :func:`src_core.patches.rows.read_rows`."""
    grid_id: str | None = None
    """The grid that `patches` are rows of; the one in use if none."""

    def __bool__(self) -> bool:
        return bool(self.clusters or self.patches) or self.marked is not None


def explain(
    predictor: Predictor,
    slide: SlideFolder,
    *,
    left_out: LeftOut | None = None,
    change_bags: int = 8,
    report: Report,
    stop: Stop,
) -> Explanation:
    """Predict a slide again without some of its patches, and store what comes of it.

    Parameters
    ----------
    predictor : Predictor
    slide : SlideFolder
    left_out : LeftOut, optional
        What is left out together; by default each cluster, one after another.
    change_bags : int
        Bags over which a change is taken.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    Explanation
        Of what was asked now alone.

    Raises
    ------
    ConfigError
        If the slide has no such cluster or patch.
    ProjectError, GridMismatchError
        If it has no such mark, has other patches by now, or is not embedded for the model.
    TooFewPatchesError
        If nothing would be left.
    """
    from src_core.inference.what_if import explain_slide

    inputs = predictor.gather(slide, report=report, stop=stop)
    sets = _together(slide, inputs, left_out) if left_out else None
    explanation = explain_slide(
        predictor.checkpoint,
        inputs.views,
        inputs.labels,
        inputs.grid.cells,
        without=sets,
        edits=inputs.edits,
        slide_id=slide.slide_id,
        n_bags=predictor.n_bags,
        change_bags=change_bags,
        seed=predictor.checkpoint.meta.seed,
        device=predictor.device,
        report=report,
        stop=stop,
    )
    explanation = explanation.of(grid_id=inputs.grid.grid_id, run_id=predictor.run_id)
    if sets:
        explanation = _with_patches(explanation, sets)
    _save_beside_those_before(explanation, predictor)
    return explanation


def _with_patches(explanation: Explanation, sets: Mapping[str, BoolArray]) -> Explanation:
    """Return an explanation that tells which patches were left out where no clusters do."""

    def told(one: Outcome) -> Outcome:
        rows = () if one.clusters else written_rows(np.flatnonzero(sets[one.name]))
        return replace(one, patches=rows) if len(rows) <= _MOST_ROWS else one

    return replace(explanation, without=tuple(map(told, explanation.without)))


def _save_beside_those_before(explanation: Explanation, predictor: Predictor) -> None:
    """Store an explanation with what was asked before of the very same prediction."""
    folder = predictor.project.prediction(predictor.run_id, explanation.slide_id)
    path = folder / EXPLANATION_NAME
    try:
        before = Explanation.load(path) if path.is_file() else None
    except ProjectError:  # asking again is what mends it
        before = None
    (explanation if before is None else explanation.beside(before)).save(path)


def _together(slide: SlideFolder, inputs: SlideInputs, left_out: LeftOut) -> dict[str, BoolArray]:
    """Return what is left out, as one set of patches with its name."""
    n_patches = len(inputs.grid)
    parts: dict[str, BoolArray] = {}
    if left_out.clusters:
        parts |= _of_clusters(slide.slide_id, inputs.labels, left_out.clusters)
    if left_out.marked is not None:
        parts |= _of_marks(slide, inputs, left_out.marked)
    if left_out.patches:
        if left_out.grid_id not in (None, inputs.grid.grid_id):
            raise GridMismatchError(
                f"The patches of slide {slide.slide_id!r} are others since these were selected; "
                "select them again."
            )
        rows = read_rows(left_out.patches, n_patches)
        many = f"the {len(rows):,} selected patches" if len(rows) > 1 else "the selected patch"
        parts[f"{many} ({told_rows(written_rows(rows))})"] = np.isin(np.arange(n_patches), rows)
    name, patches = " and ".join(parts), np.logical_or.reduce(list(parts.values()))
    read = inputs.edits.applied(inputs.labels, slide_id=slide.slide_id) >= 0
    if not (patches & read).any():
        raise ProjectError(
            f"Slide {slide.slide_id!r} is predicted without {name} already: excluded by hand, or "
            "of no cluster."
        )
    return {name: patches}


def _of_clusters(slide_id: str, labels: Labels, clusters: tuple[int, ...]) -> dict[str, BoolArray]:
    unknown = [one for one in clusters if one < 0 or not (labels == one).any()]
    if unknown:
        known = np.unique(labels[labels >= 0])
        raise ConfigError(
            f"Slide {slide_id!r} has no cluster {unknown[0]}; it has {len(known)}, from "
            f"{known.min()} to {known.max()}."
        )
    numbers = sorted(set(clusters))
    name = f"cluster{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
    if len(numbers) > _MOST_NAMED:
        name = f"{len(numbers)} clusters ({told_rows(written_rows(np.array(numbers)))})"
    return {name: np.isin(labels, numbers)}


def _of_marks(slide: SlideFolder, inputs: SlideInputs, label: str) -> dict[str, BoolArray]:
    marks = slide.marks.current()
    names = sorted({mark.label for mark in marks})
    numbers = label_numbers(inputs.grid, marks, names)
    there = [names[number - 1] for number in np.unique(numbers).tolist() if number]
    said = one_line(label, _LONGEST_LABEL)
    if label not in there:
        raise ProjectError(
            f"No patch of slide {slide.slide_id!r} is marked {said!r}; "
            f"{marks_there('its marks are', there)}."
        )
    patches = numbers == names.index(label) + 1
    told = told_rows(written_rows(np.flatnonzero(patches)))
    return {f"the patches marked {said} ({told})": patches}


def marks_there(words: str, labels: Iterable[str]) -> str:
    """Return which labels there are, a few of many, or what to do where there are none.

    Parameters
    ----------
    words : str
        Before the labels.
    labels : iterable of str
        As reviewers, or a file of a stranger's, have them.
    """
    names = sorted(set(labels))
    told = ", ".join(one_line(name, _LONGEST_LABEL) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return (
        f"{words} {told}{f' and {more} more' if more > 0 else ''}"
        if names
        else "mark some in Review first"
    )
