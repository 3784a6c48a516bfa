"""A labelled cohort of which nothing is computed, and a window that notes what jobs it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.jobs import Job, JobState
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.clustering.result import ClusterResult, save_clusters
from src_core.project import Project, SlideRecord
from src_core.provenance import write_json

__all__ = ["N_SLIDES", "finish", "labelled_cohort", "note_jobs"]

N_SLIDES = 6


def labelled_cohort(folder: Path) -> Project:
    """Return a project of six labelled slides, clustered as it asks for."""
    project = Project.create(folder / "project")
    table = folder / "labels.csv"
    table.write_text(
        "path,label\n" + "".join(f"s{i}.tiff,{'ab'[i % 2]}\n" for i in range(N_SLIDES))
    )
    project.import_labels(table)
    for index in range(N_SLIDES):
        record = SlideRecord(
            slide_id=f"s{index}",
            path=str(folder / f"s{index}.tiff"),
            fingerprint=str(index),
            grid_id="g",
            clusters_id="c",
        )
        slide = project.slide(record.slide_id)
        write_json(slide.root / "slide.json", record.to_dict())
        labels = np.zeros(4, np.int32)
        recipe = {
            "grid_id": "g",
            "views": dict.fromkeys(project.config.encoders, "r"),
            "config": project.config.clustering.to_dict(),
        }
        result = ClusterResult(
            labels=labels,
            n_clusters=1,
            agreement=np.ones((4, len(project.config.encoders)), np.float32),
            typical=np.full((1, 12), -1),
        )
        save_clusters(slide.clusters("g", "c"), result, recipe)
    return project


def note_jobs(
    dock: FuseCPathWidget, project: Project, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> FuseCPathWidget:
    """Turn to step 5 in a window that notes the jobs from now on, instead of running them."""

    def submit(verb: str, options: dict[str, Any]) -> Job:
        jobs.append(Job(dock.session.runner, len(jobs), verb, options))
        return jobs[-1]

    monkeypatch.setattr(dock.session, "submit", submit)
    dock.session.workbench.project = project.root
    dock.go("train")
    dock.session.refresh()
    return dock


def finish(dock: FuseCPathWidget, job: Job, result: dict[str, Any]) -> None:
    """Let a job end well, and the window read what is stored."""
    job.state = JobState.DONE
    job.done.emit({"project": str(dock.session.workbench.project), **result})
    dock.session.refresh()
