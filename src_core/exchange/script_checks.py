"""Whether slides are still what a run learned from, by what it has noted of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from src_core.bags.cohort import CohortSlide
from src_core.bags.digests import first_difference, slide_digests
from src_core.bags.edits import SelectionEdits
from src_core.bags.targets import Labelled, read_targets
from src_core.cohorts import cohort_slide, corrected_labels
from src_core.errors import FusecpathError
from src_core.exchange.script_records import Run
from src_core.exchange.script_then import Then
from src_core.patches.grid import PatchGrid
from src_core.project import Project, SlideFolder
from src_core.review.selection import SelectionStore

__all__ = ["changed_since"]


def changed_since(project: Project, run: Run, slides: Sequence[SlideFolder]) -> list[str]:
    """Say, in a sentence or none, why what is trained again would differ from a run.

    Compared are the slides of today with what people had said by the time of the run.

    Parameters
    ----------
    project : Project
    run : Run
    slides : sequence of SlideFolder
        Those of the project that have patches.
    """
    noted = run.asked.get("slides")
    if not isinstance(noted, dict):
        return ["It has not noted its slides: whether they are as they were nobody can tell."]
    differ = "what is trained here will differ"
    try:
        then = read_targets(
            corrected_labels(project, until=run.time), run.target, classes=run.meta.classes
        )
        labelled = {one.row.slide_id: one for one in then}
        known = {slide.slide_id: slide for slide in slides}
        for name in run.names("trained_on"):
            if name not in labelled:
                return [f"Slide {name} has no {run.target.name} in the labels table now: {differ}."]
            now = slide_digests(_as_learned(known[name], run, labelled[name]))
            changed = first_difference(noted.get(name), now)
            if changed:
                return [f"Slide {name} is not what it learned from ({changed} changed): {differ}."]
    except FusecpathError as error:
        return [f"Its slides are not as they were ({error}): {differ}."]
    return []


def _as_learned(slide: SlideFolder, run: Run, labelled: Labelled) -> CohortSlide:
    grid = slide.load_grid()
    return cohort_slide(slide, grid, run.config, labelled, _edits_of_then(slide, run, grid))


def _edits_of_then(slide: SlideFolder, run: Run, grid: PatchGrid) -> SelectionEdits:
    acts = Then(run.time).lines(slide.slide_id, "selection", slide.selection.marks)
    if not acts:
        return SelectionEdits.none(len(grid))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "selection.jsonl"
        path.write_bytes(acts)
        return SelectionStore(path).edits(grid)
