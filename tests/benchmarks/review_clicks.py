"""From the click on *Fine-tune* to the first map, as a user has it: through the engine's process.

A project of the sizes of the paper is written by the project's own writers: embeddings of a slide
that is marked, those of the slides that the model had learned from, clusters, a checkpoint. Then
the window's own runner of jobs is asked twice: with no engine yet, and with the one of before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from qtpy.QtCore import QCoreApplication, QEventLoop, QTimer

from napari_fusecpath.jobs import Job, JobFailure, JobRunner
from src_core.clustering.result import ClusterResult, save_clusters
from src_core.embeddings.store import EmbeddingStore
from src_core.models.checkpoint import Checkpoint, CheckpointMeta, EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches
from src_core.models.standardise import Standardiser
from src_core.models.student import Student
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.pipeline import clusters_recipe, stored_views
from src_core.progress import Progress
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import recipe_id, write_json
from src_core.review.first_map import FirstMap
from src_core.review.raster import squares_of
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.training.config import TrainConfig

__all__ = ["Click", "time_clicks", "write_project"]

CLASSES = ("normal", "tumour")
RUN, MARKED = "run-0001", "s"
N_CLUSTERS, ACROSS, PATCH_PX = 50, 200, 224
LONGEST_MS = 300_000


@dataclass(frozen=True)
class Click:
    """What one click came to, in seconds from the click."""

    engine: str
    first_report: float
    """The first word of the engine: the project, the model and the marks are read."""
    first_map: float
    """The map is in the window's process."""


def write_project(
    folder: Path, widths: Sequence[int], *, n_patches: int, n_trained: int, marks: int
) -> Path:
    """Write a project with a run, and a marked slide that it had not learned from."""
    encoders = tuple(f"wide{width}" for width in widths)
    training = TrainConfig.preset("paper").replace(device="cpu")
    project = Project.create(
        folder / "project", ProjectConfig(encoders=encoders, training=training)
    )
    learned = [f"t{number:02d}" for number in range(n_trained)]
    _write_slide(project, folder, MARKED, widths, n_patches, seed=n_trained)
    for number, name in enumerate(learned):
        _write_slide(project, folder, name, widths, n_patches // 10, seed=number)
    rows = [f"{name},{name}.tiff,{CLASSES[row % 2]}" for row, name in enumerate(learned)]
    table = folder / "labels.csv"
    table.write_text("\n".join(["slide_id,path,label", *rows]) + "\n", encoding="utf-8")
    project.import_labels(table)
    _write_run(project, widths, learned)
    _mark(project.slide(MARKED), marks)
    return project.root


def _write_slide(
    project: Project, folder: Path, name: str, widths: Sequence[int], n_patches: int, *, seed: int
) -> None:
    file = folder / f"{name}.tiff"
    write_sample_slide(file, SyntheticSlide(size_px=(64, 64), seed=seed))  # nobody looks at it
    slide = project.add_slide(file, slide_id=name)
    columns = np.arange(n_patches) % ACROSS
    cells = np.stack([columns, np.arange(n_patches) // ACROSS], axis=1).astype(np.int32)
    side = float(PATCH_PX)
    shape = (-(-n_patches // ACROSS), ACROSS)
    lattice = Lattice((0.0, 0.0), side, side, shape, PATCH_PX, 0.5, 0.5)
    grid = PatchGrid(lattice, cells, "none")
    grid.save(slide.grid(grid.grid_id))
    slide.remember(grid_id=grid.grid_id)
    store, rng = EmbeddingStore(slide.embeddings(grid.lattice_id)), np.random.default_rng(seed)
    for encoder, width in zip(project.config.encoders, widths, strict=True):
        writer = store.open_writer(encoder, {"encoder": encoder}, width)
        for some in np.array_split(np.arange(n_patches), -(-n_patches // 2000)):
            writer.append(cells[some], rng.standard_normal((len(some), width), np.float32))
        writer.commit()
    config = project.config.clustering
    views = stored_views(slide, grid, project.config.encoders)
    recipe = clusters_recipe(grid, views, config)
    n_clusters = config.effective_clusters(n_patches)
    result = ClusterResult(
        labels=(np.arange(n_patches) % n_clusters).astype(np.int32),
        n_clusters=n_clusters,
        agreement=np.ones((n_patches, len(widths)), np.float32),
        typical=np.full((n_clusters, 12), -1, np.int64),
    )
    save_clusters(slide.clusters(grid.grid_id, recipe_id(recipe)), result, recipe)


def _write_run(project: Project, widths: Sequence[int], learned: Sequence[str]) -> None:
    """Write a model of the published sizes, as it is before training."""
    torch.manual_seed(0)
    sizes = StudentConfig.paper(input_dim=sum(widths), n_outputs=len(CLASSES))
    sources = tuple(
        EmbeddingSource(name=encoder, dim=width, licence="none")
        for encoder, width in zip(project.config.encoders, widths, strict=True)
    )
    training = project.config.training.to_dict()
    meta = CheckpointMeta(
        student=sizes,
        encoders=sources,
        target_name="label",
        classes=CLASSES,
        train_config=training,
    )
    views = [Standardiser.of(np.zeros(width), np.ones(width)) for width in widths]
    model = Checkpoint.of(meta, student=Student(sizes), branches=LocalBranches(sizes), views=views)
    model.save(project.run(RUN) / "checkpoint")
    asked = {
        "target": "label",
        "project": project.config.to_dict(),
        "training": training,
        "trained_on": list(learned),
        "held_back": [],
        "inner": list(learned[: len(learned) // 5]),
    }
    write_json(project.run(RUN) / "config.json", asked)


def _mark(slide: SlideFolder, marks: int) -> None:
    grid = slide.load_grid()
    rows = np.random.default_rng(0).permutation(len(grid))[:marks]
    for number, label in enumerate(CLASSES):
        cells = grid.cells[rows[number :: len(CLASSES)]]
        squares = squares_of(grid.lattice, cells[:, 1], cells[:, 0])
        slide.marks.add(squares, label=label, reviewer="bench")


def time_clicks(root: Path) -> list[Click]:
    """Click with no engine, and again with the one that is there then."""
    application = QCoreApplication.instance() or QCoreApplication([])
    runner = JobRunner()
    try:
        clicks = [_click(runner, root, "fresh")]
        engine = runner.engine_pid
        clicks.append(_click(runner, root, "warm"))
        if engine is None or runner.engine_pid != engine:
            raise SystemExit("the engine did not live until the second click")
    finally:
        runner.close()
        application.processEvents()
    return clicks


def _click(runner: JobRunner, root: Path, engine: str) -> Click:
    """Ask for a fine-tuning, wait for its first map, and cancel it."""
    loop, seconds, failures = QEventLoop(), dict[str, float](), list[JobFailure]()
    began = time.perf_counter()
    options = {"project": str(root), "run": RUN, "show": MARKED, "device": "cpu"}
    job: Job = runner.submit("finetune", options)

    def told(progress: Progress) -> None:
        seconds.setdefault("report", time.perf_counter() - began)
        if progress.stage == "First map" and "map" not in seconds:
            FirstMap.load(Project.open(root).slide(MARKED).first_map)
            seconds["map"] = time.perf_counter() - began
            job.cancel()

    def failed(failure: JobFailure) -> None:
        failures.append(failure)
        loop.quit()

    job.progress.connect(told)
    job.failed.connect(failed)
    job.cancelled.connect(loop.quit)
    QTimer.singleShot(LONGEST_MS, loop.quit)
    loop.exec()
    if failures:
        raise SystemExit(f"{failures[0].message}\n{failures[0].details}")
    if "map" not in seconds:
        raise SystemExit(f"no first map within {LONGEST_MS // 1000} s of the click")
    return Click(engine, seconds["report"], seconds["map"])
