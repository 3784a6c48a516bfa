"""Measure scored slides and write the report and its figures."""

from __future__ import annotations

from pathlib import Path

from src_core.errors import ProjectError
from src_core.progress import Report, Stop, ignore, never
from src_core.provenance import write_bytes, write_json
from src_core.reports.figures import measure_sets
from src_core.reports.page import Pictures, report_page
from src_core.reports.scored import ScoredSlides
from src_core.reports.tables import report_values
from src_core.types import Json

__all__ = ["write_report"]


def write_report(
    folder: Path,
    scored: ScoredSlides,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    pictures: Pictures | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> dict[str, Json]:
    """Write ``report.html``, one file that needs no other, and ``figures.json`` beside it.

    Parameters
    ----------
    folder : Path
        Made if it is missing; files of these names are replaced, each whole.
    scored : ScoredSlides
    n_resamples : int
        Of the patients of each set, for the intervals.
    seed : int
        Decides the resamples.
    pictures : callable, optional
        Asked, with the name of the set, for the maps of the slides that the model got most wrong.
    report, stop
        Told and asked between figures.

    Returns
    -------
    dict
        What ``figures.json`` holds.

    Raises
    ------
    ProjectError
        If no slide is scored.
    JobCancelled
        If `stop` says so; nothing is written then.
    """
    if not len(scored):
        raise ProjectError("No slide is scored, so there is nothing to report; add labels.")
    measured = measure_sets(scored, n_resamples=n_resamples, seed=seed, report=report, stop=stop)
    values = report_values(scored, measured)
    page = report_page(scored, measured, pictures=pictures)
    write_json(folder / "figures.json", values)
    write_bytes(folder / "report.html", page.encode("utf-8"))
    return values
