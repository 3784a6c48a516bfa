"""A project that is trained once, to be marked and fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src_core.progress import ignore, never
from src_core.project import Project
from src_core.provenance import read_json
from src_core.review.raster import squares_of
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.training.feedback_config import FeedbackConfig
from src_core.tuning import finetune
from src_core.verbs import run_verb
from tests.core.cohort_files import write_cohort

__all__ = ["SHORT", "asked", "mark", "run", "train_project", "tune"]

SHORT = FeedbackConfig(epochs=1)


def run(verb: str, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=ignore, stop=never)


def train_project(folder: Path) -> Path:
    """Return a project of eight labelled slides and one more, with one run."""
    labels = ("normal", "tumour") * 4
    grades = ("low",) * 4 + ("high",) * 4
    table = write_cohort(folder, (0.0, 0.4) * 4, side_px=1280, label=labels, grade=grades)
    extra = SyntheticSlide(size_px=(1280, 1280), seed=9, nodule_fraction=0.3)
    write_sample_slide(folder / "extra.tiff", extra)
    root = str(folder / "project")
    run("prepare", project=root, labels=str(table), encoders=["texture"])
    run("prepare", project=root, slides=[str(folder / "extra.tiff")])
    run("cluster", project=root, n_clusters=2)
    run("train", project=root, preset="bench", device="cpu")
    return Path(root)


def asked(project: Project, run_id: str = "run-0001") -> dict[str, Any]:
    return read_json(project.run(run_id) / "config.json")


def mark(project: Project, slide_id: str, label: str, n: int = 3, *, first: int = 0) -> None:
    slide = project.slide(slide_id)
    grid = slide.load_grid()
    cells = grid.cells[first : first + n]
    squares = squares_of(grid.lattice, cells[:, 1], cells[:, 0])
    slide.marks.add(squares, label=label, reviewer="ada")


def tune(project: Project, **options: Any) -> Any:
    given: dict[str, Any] = {"device": "cpu", "report": ignore, "stop": never} | options
    return finetune(project, given.pop("run_id", "run-0001"), SHORT, **given)
