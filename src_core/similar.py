"""Patches like one that is pointed at, on its slide and on all slides of the project.

The space in which patches are compared is found once from a sample of all slides and kept, so that
slides that come later need nothing of the others; each slide's patches are stored in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src_core.clustering.fused import FUSED_AXES, Found, FusedSpace, find_fused_space, find_nearest
from src_core.embedded import EmbeddedSlide, gather_alike
from src_core.errors import ProjectError
from src_core.pipeline import Failure
from src_core.progress import Report, Stop, Tracker
from src_core.project import Project, SlideFolder
from src_core.provenance import read_array, read_json, recipe_id, write_array, write_artifact
from src_core.types import Float32

__all__ = ["Match", "find_similar"]

_SAMPLE = 8192
"""Patches from which the space is found."""
_CHUNK = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A patch that is like the one that was asked about."""

    slide_id: str
    row: int
    """Of the slide's patch grid."""
    x: int
    """Level-0 pixel of its top-left corner."""
    y: int
    distance: float
    """In the space of all encoders, 0 is the same."""


def find_similar(
    project: Project,
    slide: SlideFolder,
    row: int,
    *,
    others: Sequence[SlideFolder],
    n: int,
    report: Report,
    stop: Stop,
) -> tuple[list[Match], list[Failure]]:
    """Return the patches nearest to one, the nearest first; itself is left out.

    Parameters
    ----------
    project : Project
    slide : SlideFolder
        Where the patch is.
    row : int
        Of its grid.
    others : sequence of SlideFolder
        Where to look besides.
    n : int
        How many are wanted.
    report, stop : callable
        Of storing the patches of slides that were not looked through before.

    Returns
    -------
    matches : list of Match
    failures : list of Failure
        Slides that could not be looked through, and why.

    Raises
    ------
    ProjectError
        If the slide has no such patch.
    GridMismatchError
        If it is not embedded by all encoders of the project.
    """
    asked = EmbeddedSlide.of(slide, project.config.encoders)
    if not 0 <= row < len(asked.grid):
        raise ProjectError(
            f"Slide {slide.slide_id!r} has no patch {row}; its patches are 0 to "
            f"{len(asked.grid) - 1}."
        )
    rest = [other for other in others if other.slide_id != slide.slide_id]
    ready, failures = gather_alike(rest, project.config.encoders, first=asked, stop=stop)
    space_id = recipe_id({"views": list(asked.weights.items()), "sample": _SAMPLE})
    space = _space(project, asked, space_id, stop=stop)
    vectors = _indexed(ready, space, space_id, report=report, stop=stop)
    found = find_nearest(vectors, np.asarray(vectors[0][row]), n + 1)
    if not np.isfinite(found.distances).all():
        where = _folder(asked, space_id).parent
        raise ProjectError(
            f"What is stored in {where} is damaged; remove that folder and ask again."
        )
    return _matches(found, ready, row)[:n], failures


def _matches(found: Found, slides: Sequence[EmbeddedSlide], row: int) -> list[Match]:
    """Return what was found but for the patch itself, which is `row` of the first slide."""
    return [
        _match(slides[which], int(at), float(distance))
        for which, at, distance in zip(found.slides, found.rows, found.distances, strict=True)
        if (which, at) != (0, row)
    ]


def _indexed(
    slides: Sequence[EmbeddedSlide], space: FusedSpace, space_id: str, *, report: Report, stop: Stop
) -> list[Float32]:
    """Return the patches of slides as they are compared, stored where they were not yet."""
    digest = _digest(space)
    width = space.axes.shape[1] + 1
    missing = [one for one in slides if _stored(one, space_id, digest, width) is None]
    if missing:
        _store(missing, space, space_id, digest, report=report, stop=stop)
    return [_load(one, space_id, width) for one in slides]


def _match(one: EmbeddedSlide, row: int, distance: float) -> Match:
    x, y = (int(value) for value in one.grid.coords_xy[row])
    return Match(slide_id=one.slide.slide_id, row=row, x=x, y=y, distance=distance)


def _space(project: Project, asked: EmbeddedSlide, space_id: str, *, stop: Stop) -> FusedSpace:
    """Return the space of these encoders.

    It is found from all slides of the project that they have embedded, whichever are looked
    through and whoever asks, and again when these have twice the patches that a small sample had.
    """
    folder = project.root / "cohort" / "spaces" / space_id
    space, sampled = _stored_space(folder, sum(view.dim for view in asked.views))
    if space is not None and sampled >= _SAMPLE:
        return space
    others = [one for one in project.slides() if one.slide_id != asked.slide.slide_id]
    slides, _ = gather_alike(others, project.config.encoders, first=asked, stop=stop)
    n_patches = sum(len(one.grid) for one in slides)
    if space is not None and min(_SAMPLE, n_patches) < 2 * sampled:
        return space
    return _find_space(folder, sorted(slides, key=lambda one: one.slide.slide_id))


def _stored_space(folder: Path, width: int) -> tuple[FusedSpace | None, int]:
    """Return a space and of how many patches it was found; a damaged one is found again."""
    if not (folder / "meta.json").is_file():
        return None, 0
    try:
        meta = read_json(folder / "meta.json")
        mean = read_array(folder / "mean.npy", dtype=np.float32, shape=(width,))
        axes = read_array(folder / "axes.npy", dtype=np.float32, shape=(width, None))
    except ProjectError:
        return None, 0
    sampled = meta.get("sampled")
    if axes.shape[1] > FUSED_AXES or not isinstance(sampled, int):
        return None, 0
    space = FusedSpace(np.asarray(mean), np.asarray(axes))
    return (space, sampled) if meta.get("digest") == _digest(space) else (None, 0)


def _digest(space: FusedSpace) -> str:
    return hashlib.sha256(space.axes.tobytes() + space.mean.tobytes()).hexdigest()[:16]


def _find_space(folder: Path, slides: Sequence[EmbeddedSlide]) -> FusedSpace:
    from src_core.clustering.sampling import draw_patches  # loads torch, for which a question waits

    _, views = draw_patches([one.views for one in slides], _SAMPLE, seed=0, name="space")
    found = find_fused_space(views, seed=0)
    write_array(folder / "mean.npy", found.mean)
    meta = {"recipe": slides[0].weights, "sampled": len(views[0]), "digest": _digest(found)}
    write_artifact(folder, "axes.npy", found.axes, meta)
    return found


def _store(
    slides: Sequence[EmbeddedSlide],
    space: FusedSpace,
    space_id: str,
    digest: str,
    *,
    report: Report,
    stop: Stop,
) -> None:
    total = sum(len(one.grid) for one in slides)
    tracker = Tracker(report, stop, stage="Indexing patches", total=total, unit="patches")
    for one in slides:
        vectors = np.empty((len(one.grid), space.axes.shape[1] + 1), dtype=np.float32)
        for start in range(0, len(one.grid), _CHUNK):
            placed = space.place([view[start : start + _CHUNK] for view in one.views])
            vectors[start : start + len(placed)] = placed
            tracker.advance(len(placed), detail=one.slide.slide_id)
        meta = {"space": space_id, "axes": digest, "n_patches": len(vectors)}
        write_artifact(_folder(one, space_id), "vectors.npy", vectors, meta)


def _stored(one: EmbeddedSlide, space_id: str, digest: str, width: int) -> Float32 | None:
    """Return a slide's patches if they lie in this very space; damaged ones are stored again."""
    path = _folder(one, space_id) / "meta.json"
    try:
        is_here = path.is_file() and read_json(path).get("axes") == digest
        return _load(one, space_id, width) if is_here else None
    except ProjectError:
        return None


def _folder(one: EmbeddedSlide, space_id: str) -> Path:
    return one.slide.grid(one.grid.grid_id) / "spaces" / space_id


def _load(one: EmbeddedSlide, space_id: str, width: int) -> Float32:
    vectors: Float32 = read_array(
        _folder(one, space_id) / "vectors.npy", dtype=np.float32, shape=(len(one.grid), width)
    )
    return vectors
