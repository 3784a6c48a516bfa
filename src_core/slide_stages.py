"""How far each slide of a project has come, told from names and small files, quickly."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from src_core.errors import FusecpathError, ProjectError
from src_core.patches.lattice import Lattice
from src_core.project import Project, SlideFolder, SlideRecord
from src_core.provenance import folders_with, read_json, stat_sign

__all__ = ["SlideStages", "StageReader"]

_Sign: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""Number, time and size of some files, None for one that is not there."""

_FILES = ("slide.json", "review/marks.jsonl", "review/labels.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideStages:
    """What is stored of one slide; nothing of it is opened."""

    slide_id: str
    problem: str = ""
    """Why its record cannot be read, as a sentence."""
    path: Path | None = None
    """Where its file should be."""
    fingerprint: str = ""
    """Of its content."""
    is_missing: bool = False
    """Its file is not there: it has moved, or its disk is away."""
    is_prepared: bool = False
    """It has a patch grid."""
    encoders: tuple[str, ...] = ()
    """Patch encoders that have embedded patches of its lattice."""
    teachers: tuple[str, ...] = ()
    """Slide encoders that have embedded it."""
    is_clustered: bool = False
    is_joint: bool = False
    """It has clusters in common with other slides."""
    is_predicted: bool = False
    """By the run that was asked about."""
    n_marks: int = 0
    """Patches that reviewers have marked."""
    corrections: tuple[tuple[str, str], ...] = ()
    """Target and label that reviewers put in the place of the table's."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What had to be read of a slide."""

    sign: _Sign
    """Of the files that it was read from."""
    record: SlideRecord
    lattice_id: str | None
    n_marks: int
    corrections: tuple[tuple[str, str], ...]


class StageReader:
    """Reads the stages of slides; files that have not changed are not read again.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, _Kept] = {}

    def read(self, project: Project, *, run_id: str | None) -> Iterator[SlideStages]:
        """Yield the stages of each slide of a project, in the order of their names.

        Parameters
        ----------
        project : Project
        run_id : str or None
            The run whose predictions count.
        """
        predicted: Collection[str] = ()
        if run_id is not None:
            folder = project.prediction(run_id, "any").parent
            predicted = frozenset(folders_with(folder, "prediction.json"))
        for slide in project.slides():
            try:
                kept = self._read(slide)
                yield _stages(slide, kept, is_predicted=slide.slide_id in predicted)
            except (FusecpathError, OSError) as error:  # one that may not be read hides no other
                yield SlideStages(slide_id=slide.slide_id, problem=str(error))

    def _read(self, slide: SlideFolder) -> _Kept:
        root = slide.root
        sign = tuple(stat_sign(root / name) for name in _FILES)
        kept = self._kept.get(root)
        if kept is None or kept.sign != sign:
            record = slide.record
            kept = self._kept[root] = _Kept(
                sign=sign,
                record=record,
                lattice_id=_lattice_of(slide, record),
                n_marks=len(slide.marks.current()) if sign[1] is not None else 0,
                corrections=tuple(slide.corrections.current().items()) if sign[2] else (),
            )
        return kept


def _stages(slide: SlideFolder, kept: _Kept, *, is_predicted: bool) -> SlideStages:
    record = kept.record
    path = slide.project / record.path
    embedded = () if kept.lattice_id is None else _done_in(slide.embeddings(kept.lattice_id))
    return SlideStages(
        slide_id=slide.slide_id,
        path=path,
        fingerprint=record.fingerprint,
        is_missing=not path.exists(),
        is_prepared=record.grid_id is not None,
        encoders=embedded,
        teachers=_done_in(slide.root / "slide_embeddings"),
        is_clustered=record.clusters_id is not None,
        is_joint=record.joint_id is not None,
        is_predicted=is_predicted and record.clusters_id is not None,
        n_marks=kept.n_marks,
        corrections=kept.corrections,
    )


def _lattice_of(slide: SlideFolder, record: SlideRecord) -> str | None:
    if record.grid_id is None:
        return None
    path = slide.grid(record.grid_id) / "meta.json"
    values = read_json(path).get("lattice")
    if not isinstance(values, dict):
        raise ProjectError(f"{path} does not describe a patch grid; make the grid again.")
    return Lattice.from_dict(values).lattice_id


def _done_in(folder: Path) -> tuple[str, ...]:
    """Return what has a whole artifact in a folder, sorted."""
    return tuple(sorted(map(unquote, folders_with(folder, "meta.json"))))
