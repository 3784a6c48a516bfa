"""Small labelled cohorts of synthetic slides, as files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src_core.progress import ignore, never
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.training.config import TrainConfig
from src_core.verbs import run_verb

__all__ = ["clustered_project", "write_cohort"]


def write_cohort(
    folder: Path, shares: Sequence[float], *, side_px: int, **columns: Sequence[object]
) -> Path:
    """Write slides ``s0``, ``s1``, ... and a table of them; return the table.

    Parameters
    ----------
    folder : Path
        Where to.
    shares : sequence of float
        Of each slide that is nodule.
    side_px : int
        Of a slide.
    columns : sequence
        What else the table says of each slide.
    """
    for number, share in enumerate(shares):
        slide = SyntheticSlide(size_px=(side_px, side_px), seed=number, nodule_fraction=share)
        write_sample_slide(folder / f"s{number}.tiff", slide)
    names = [f"s{number}" for number in range(len(shares))]
    table = folder / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("slide_id", "path", *columns))
        writer.writerows(
            zip(names, (f"{name}.tiff" for name in names), *columns.values(), strict=True)
        )
    return table


def clustered_project(folder: Path, table: Path, **training: Any) -> Path:
    """Take slides as far as two clusters each, with the preset ``bench`` and other settings."""
    root = folder / "project"
    steps: dict[str, dict[str, Any]] = {
        "prepare": {"labels": str(table), "encoders": ["texture"]},
        "cluster": {"n_clusters": 2},
    }
    for verb, options in steps.items():
        run_verb(verb, {"project": str(root), **options}, report=ignore, stop=never)
    project = Project.open(root)
    settings = TrainConfig.preset("bench").replace(**training).to_dict()
    project.reconfigured(project.config.replace(training=settings))
    return root
