"""The verbs ``cluster`` and ``pyramid``, which work on slides one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core import pipeline
from src_core.clustering.result import (
    MOST_CLUSTERS,
    left_out_encoders,
    load_agreement,
    load_clusters,
)
from src_core.clustering.tables import SweepConfig
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.joint import cluster_jointly
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.slides import open_slide
from src_core.slides.pyramid import build_coarse_levels
from src_core.verbs.base import (
    Device,
    ProjectPath,
    Result,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
)
from src_core.verbs.choosing import describe_sweeps, sweep_slides

__all__ = ["CLUSTER", "PYRAMID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions(Config):
    """Settings of ``cluster``."""

    project: ProjectPath
    slides: SlideNames = ()
    n_clusters: Annotated[
        int | None, Range(1, MOST_CLUSTERS), Help("Clusters per slide; the project's if none")
    ] = None
    joint: Annotated[
        bool, Help("Cluster slides together, so that a cluster means the same on all of them")
    ] = False
    sweep: Annotated[
        str | None,
        Help("Try FROM:TO:STEP clusters instead, such as 30:70:10, and change nothing"),
    ] = None
    device: Device = "auto"
    scheduler: Annotated[
        str | None, Help("Address of a dask scheduler, to sweep slides on its workers", True)
    ] = None

    def __post_init__(self) -> None:
        """Check each setting, and that one thing is asked for."""
        Config.__post_init__(self)
        if self.sweep is not None and self.n_clusters is not None:
            raise ConfigError(
                "ClusterOptions.sweep tries several numbers of clusters; give either it or "
                "ClusterOptions.n_clusters."
            )
        if self.sweep is not None and self.joint:
            raise ConfigError(
                "ClusterOptions.sweep tries numbers of clusters slide by slide; give either it or "
                "ClusterOptions.joint."
            )
        if self.scheduler is not None and self.sweep is None:
            raise ConfigError(
                "ClusterOptions.scheduler is for numbers of clusters that are tried; give "
                "ClusterOptions.sweep as well, or leave it out."
            )
        self.numbers()

    def numbers(self) -> SweepConfig | None:
        """Return the numbers of clusters to try, if that is asked for."""
        if self.sweep is None:
            return None
        return SweepConfig.parse(self.sweep, name="ClusterOptions.sweep")


def _cluster(options: ClusterOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    sweep = options.numbers()
    if sweep is not None:
        return sweep_slides(
            project,
            options.slides,
            sweep,
            device=options.device,
            scheduler=options.scheduler,
            report=report,
            stop=stop,
        )
    if options.n_clusters is not None:
        clustering = project.config.clustering.replace(n_clusters=options.n_clusters)
        project = project.reconfigured(project.config.replace(clustering=clustering.to_dict()))
    if options.joint:
        return _cluster_jointly(project, options, report, stop)
    clusters: dict[str, int] = {}
    agreement: dict[str, float] = {}
    left_out: dict[str, tuple[str, ...]] = {}

    def cluster(slide: SlideFolder) -> None:
        folder = pipeline.cluster_slide(
            slide,
            project.config.encoders,
            project.config.clustering,
            device=options.device,
            report=report,
            stop=stop,
        )
        labels, meta = load_clusters(folder)
        clusters[slide.slide_id] = int(labels.max()) + 1
        known = load_agreement(folder)
        if known.shape[1]:
            agreement[slide.slide_id] = float(known.mean())
        left_out[slide.slide_id] = left_out_encoders(meta)

    failures = pipeline.each_slide(chosen_slides(project, options.slides), cluster, stop=stop)
    return result_of(project, failures, clusters=clusters, agreement=agreement, **_notes(left_out))


def _notes(left_out: Mapping[str, Sequence[str]]) -> Result:
    """Say, by slide, which encoders did not help to cluster it."""
    notes = {
        slide: f"Clustered without {', '.join(names)}, to which all patches are the same."
        for slide, names in left_out.items()
        if names
    }
    return {"notes": notes} if notes else {}


def _cluster_jointly(
    project: Project, options: ClusterOptions, report: Report, stop: Stop
) -> Result:
    joint = cluster_jointly(
        project,
        chosen_slides(project, options.slides),
        device=options.device,
        report=report,
        stop=stop,
    )
    return result_of(
        project,
        joint.failures,
        clusters=joint.clusters,
        patches_of_cluster=list(joint.sizes),
        **_notes(joint.left_out),
    )


def _describe(result: Result) -> str:
    return describe_sweeps(result) if "sweeps" in result else as_lines(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidOptions(Config):
    """Settings of ``pyramid``."""

    slide: Annotated[str, Help("Slide file")]
    folder: Annotated[str, Help("Where the coarse levels are kept")]


def _pyramid(options: PyramidOptions, report: Report, stop: Stop) -> Result:
    reader = open_slide(options.slide)
    try:
        build_coarse_levels(reader, Path(options.folder), report=report, stop=stop)
    finally:
        reader.close()
    return {"slide": options.slide, "folder": options.folder}


CLUSTER = Verb(
    "cluster", "cluster patches by all encoders at once", ClusterOptions, _cluster, _describe
)
PYRAMID = Verb(
    "pyramid",
    "make the coarse levels that a large single-level slide lacks",
    PyramidOptions,
    _pyramid,
    as_lines,
    positional=("slide", "folder"),
)
