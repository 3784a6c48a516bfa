"""What helps to choose clusters: ``cluster --sweep``, and the verb ``compare``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from src_core import choosing, pipeline
from src_core.clustering.result import MOST_CLUSTERS, ClusterConfig
from src_core.clustering.sweep_plot import save_sweep_plot
from src_core.clustering.tables import INDICES, SweepConfig, best_rows
from src_core.config import Config, Help, Range
from src_core.devices import DeviceName
from src_core.errors import FusecpathError
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.sweep_tasks import sweep_on_cluster
from src_core.verbs.base import (
    Device,
    ProjectPath,
    Result,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
    table_lines,
)

__all__ = ["COMPARE", "describe_sweeps", "sweep_slides"]

_SHORT = {"silhouette": "SC", "calinski_harabasz": "CH"}


class _How(TypedDict):
    device: DeviceName
    report: Report
    stop: Stop


def sweep_slides(
    project: Project,
    names: Sequence[str],
    sweep: SweepConfig,
    *,
    device: DeviceName,
    scheduler: str | None,
    report: Report,
    stop: Stop,
) -> Result:
    """Try numbers of clusters on slides, all if none is named; their clusters stay as they are."""
    config, slides = project.config.clustering, chosen_slides(project, names)
    how: _How = {"device": device, "report": report, "stop": stop}
    swept = {} if scheduler is None else sweep_on_cluster(scheduler, project, slides, sweep, **how)
    tables: dict[str, Any] = {}
    notes: dict[str, str] = {}

    def try_all(slide: SlideFolder) -> None:
        there = swept.get(slide.slide_id)
        if isinstance(there, FusecpathError):
            raise there
        encoders = project.config.encoders
        rows = there or choosing.sweep_slide(slide, encoders, config, sweep, **how)
        range_ = f"{sweep.first}-{sweep.last}-{sweep.step}"
        plot = project.root / "exports" / f"{slide.slide_id}-sweep-{range_}.png"
        save_sweep_plot(plot, rows, title=slide.slide_id)
        best = {index: row.k for index, row in best_rows(rows).items()}
        tables[slide.slide_id] = {
            "rows": [row.to_dict() for row in rows],
            "prefers": best,
            "plot": str(plot),
        }
        note = _too_many(config, len(slide.load_grid()), sweep)
        if note:
            notes[slide.slide_id] = note

    failures = pipeline.each_slide(slides, try_all, stop=stop)
    return result_of(project, failures, sweeps=tables, **({"notes": notes} if notes else {}))


def _too_many(config: ClusterConfig, n_patches: int, sweep: SweepConfig) -> str:
    most = config.replace(n_clusters=sweep.last).effective_clusters(n_patches)
    if most == sweep.last:
        return ""
    return (
        f"Of {n_patches} patches, {config.n_per_cluster} to a cluster, cluster makes "
        f"{most} clusters at most."
    )


def describe_sweeps(result: Result) -> str:
    """Return a table for each slide; a star marks the number that an index prefers."""
    lines = []
    for slide_id, table in result["sweeps"].items():
        rows = [
            [str(row["k"]), str(row["n_clusters"]), *_figures(row, row["k"], table["prefers"])]
            for row in table["rows"]
        ]
        lines += [slide_id, *table_lines(["K", "found", "SC", "CH", "seconds"], rows)]
        told = [f"{_SHORT[index]} is highest at K = {k}" for index, k in table["prefers"].items()]
        lines += [f"  {'; '.join(told) or 'no index is defined'}", f"  plot: {table['plot']}"]
    return "\n".join([*lines, as_lines(_without(result, "sweeps"))])


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions(Config):
    """Settings of ``compare``."""

    project: ProjectPath
    slides: SlideNames = ()
    n_clusters: Annotated[
        int | None, Range(2, MOST_CLUSTERS), Help("Clusters per slide; the project's if none")
    ] = None
    device: Device = "auto"


def _compare(options: CompareOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    config = project.config.clustering
    if options.n_clusters is not None:  # for these tables only
        config = config.replace(n_clusters=options.n_clusters)
    tables: dict[str, Any] = {}

    def compare(slide: SlideFolder) -> None:
        rows = choosing.compare_slide(
            slide,
            project.config.encoders,
            config,
            device=options.device,
            report=report,
            stop=stop,
        )
        tables[slide.slide_id] = {
            "rows": [row.to_dict() for row in rows],
            "prefers": {index: row.method for index, row in best_rows(rows).items()},
        }

    failures = pipeline.each_slide(chosen_slides(project, options.slides), compare, stop=stop)
    return result_of(project, failures, comparisons=tables)


def _describe_comparisons(result: Result) -> str:
    lines = []
    for slide_id, table in result["comparisons"].items():
        rows = [
            [
                row["method"],
                str(row["n_patches"]),
                str(row["n_clusters"]),
                *_figures(row, row["method"], table["prefers"]),
                row["note"],
            ]
            for row in table["rows"]
        ]
        heads = ["method", "patches", "clusters", "SC", "CH", "seconds", ""]
        lines += [slide_id, *table_lines(heads, rows, left=(0, 6))]
    return "\n".join([*lines, as_lines(_without(result, "comparisons"))])


def _figures(row: dict[str, Any], name: Any, prefers: dict[str, Any]) -> list[str]:
    """Return both indices, starred where they are the highest, and the seconds."""
    told = []
    for index, digits in zip(INDICES, (3, 1), strict=True):
        value = row[index]
        star = "*" if prefers.get(index) == name else " "
        told.append("- " if value is None else f"{value:.{digits}f}{star}")
    return [*told, f"{row['seconds']:.1f}"]


def _without(result: Result, key: str) -> Result:
    return {name: value for name, value in result.items() if name != key}


COMPARE = Verb(
    "compare",
    "compare multi-view clustering with other ways to cluster the same patches",
    CompareOptions,
    _compare,
    _describe_comparisons,
)
