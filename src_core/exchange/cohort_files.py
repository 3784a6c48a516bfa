"""Take the slide embeddings of a whole cohort in, which another program wrote to one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src_core.embeddings.interchange.records import SlideVector
from src_core.errors import ExchangeError
from src_core.exchange.imports import Imported, import_vector, is_called
from src_core.pipeline import Failure, each
from src_core.progress import Stop
from src_core.project import Project, SlideFolder

__all__ = ["CohortImport", "import_cohort"]


@dataclass(frozen=True, slots=True)
class CohortImport:
    """What came of a file."""

    imported: list[Imported]
    failures: list[Failure]
    """Slides that have another embedding already, and the like."""
    notes: list[str]


def import_cohort(
    project: Project,
    vectors: Sequence[SlideVector],
    *,
    slide_id: str | None = None,
    encoder: str | None = None,
    stop: Stop,
) -> CohortImport:
    """Take the vectors of the project's slides; what the file has beside them is counted.

    Parameters
    ----------
    project : Project
    vectors : sequence of SlideVector
        All of one file, at least one.
    slide_id : str, optional
        This slide alone.
    encoder : str, optional
        Name of the encoder here; by default what the file says.
    stop : callable
        Asked before each slide.

    Raises
    ------
    ExchangeError
        If none of them is of a slide of the project, or it is not clear of which.
    """
    found = _of_project(project, vectors, slide_id)
    imported: list[Imported] = []
    failures = each(
        found,
        lambda one: imported.append(import_vector(*one, encoder)),
        name=lambda one: one[0].slide_id,
        stop=stop,
    )
    others = len(vectors) - len(found)
    path = vectors[0].path
    notes = [f"{path.name}: {others} of its {len(vectors)} entries are of no slide here."]
    return CohortImport(imported, failures, notes if others and slide_id is None else [])


def _of_project(
    project: Project, vectors: Sequence[SlideVector], slide_id: str | None
) -> list[tuple[SlideFolder, SlideVector]]:
    slides = [project.slide(slide_id)] if slide_id is not None else project.slides()
    found = [(slide, one) for one in vectors for slide in slides if is_called(slide, one.slide)]
    path = vectors[0].path
    if not found:
        named = ", ".join(one.slide for one in vectors[:3])
        raise ExchangeError(
            f"{path} holds slide embeddings of {named} and the like, and the project has none of "
            "these slides; embeddings of patients, of several slides each, cannot be taken."
        )
    names = [slide.slide_id for slide, _ in found]
    if len(set(names)) < len(names) or len({one.slide for _, one in found}) < len(found):
        raise ExchangeError(
            f"{path}: it is not clear which entry is of which slide; name one, or "
            "give the slides names that no other has."
        )
    return found
