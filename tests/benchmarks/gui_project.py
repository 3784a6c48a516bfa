"""Projects that a window is measured with; made in a process of its own, for it loads the engine.

python -m tests.benchmarks.gui_project FOLDER
"""

from __future__ import annotations

import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from src_core.clustering.result import ClusterResult, save_clusters
from src_core.clustering.scatter import Scatter, save_scatter, scatter_recipe
from src_core.patches.grid import build_grid
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.provenance import recipe_id
from src_core.review.raster import squares_of
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.tissue.mask import TissueMask
from src_core.verbs import run_verb
from tests.benchmarks.big_slide import write_big_slide
from tests.core.cohort_files import write_cohort
from tests.plugin.widgets.predicted import predicted

__all__ = ["BIG", "N_FILES", "SMALL"]

BIG, SMALL = "big", "small"
"""Folders of a project of one slide of 102,400 patches, and of one for jobs."""
N_FILES = 10
"""Slides beside them that belong to no project."""
_SIDE_PX, _FILE_PX, _N_CLUSTERS = 81_920, 20_480, 50
_JOB_SIDE_PX, _N_SLIDES = 6144, 14
_LONG: dict[str, Any] = {"epochs": 10_000, "patience": None}


def write_all(folder: Path) -> None:
    """Write the projects and the files."""
    write_big_project(folder / BIG, write_big_slide(folder / "big.tiff", _SIDE_PX))
    for number in range(N_FILES):
        write_big_slide(folder / f"{number}.tiff", _FILE_PX)
    write_job_project(folder / SMALL)
    write_big_prediction(folder / BIG, folder / SMALL)


def write_big_project(root: Path, path: Path) -> None:
    """Store patches, clusters and a scatter of a slide that is tissue all over.

    Of what the window reads nothing is missing; the numbers are drawn, not embedded.
    """
    project = Project.create(root)
    slide = project.add_slide(path, slide_id="big")
    with closing(slide.open()) as reader:
        side = reader.properties.level_dimensions[0][0] / 64
        mask = TissueMask(np.ones((64, 64), np.bool_), (0.0, 0.0), (side, side), {"way": "all"})
        grid = build_grid(reader, mask)
    mask.save(slide.tissue(mask.tissue_id))
    grid.save(slide.grid(grid.grid_id))
    rng = np.random.default_rng(0)
    # Lumps of neighbours, as tissue has them, and some that are strewn.
    lumps = rng.permutation(_N_CLUSTERS)[(grid.cells // 46) @ np.array([1, 7]) % _N_CLUSTERS]
    strewn = rng.integers(0, _N_CLUSTERS, len(grid))
    labels = np.where(rng.random(len(grid)) < 0.2, strewn, lumps).astype(np.int32)
    views = dict.fromkeys(project.config.encoders, "r")
    result = ClusterResult(
        labels=labels,
        n_clusters=_N_CLUSTERS,
        agreement=rng.random((len(grid), len(views)), dtype=np.float32),
        typical=np.full((_N_CLUSTERS, 12), -1),
    )
    recipe = {"views": views, "config": project.config.clustering.to_dict()}
    save_clusters(slide.clusters(grid.grid_id, "c"), result, recipe)
    slide.remember(tissue_id=mask.tissue_id, grid_id=grid.grid_id, clusters_id="c")
    middles = rng.normal(0, 3, (_N_CLUSTERS, 2))
    points = (middles[labels] + rng.normal(0, 0.5, (len(grid), 2))).astype(np.float32)
    asked = scatter_recipe(grid.grid_id, views)
    save_scatter(
        slide.scatter(grid.grid_id, recipe_id(asked)),
        Scatter(points=points, shares=(0.5, 0.25)),
        asked,
    )


def write_big_prediction(root: Path, learned: Path) -> None:
    """Store maps of the big slide as if the model of another project had drawn them."""
    project, slide = Project.open(root), Project.open(root).slide("big")
    run_id = Project.open(learned).latest_run()
    shutil.copytree(Project.open(learned).run(run_id), project.run(run_id))
    grid, rng = slide.load_grid(), np.random.default_rng(1)
    maps = predicted(rng.gamma(1, 1, len(grid)), rng.random(len(grid)), grid_id=grid.grid_id)
    maps = maps.replace(
        slide_id="big",
        run_id=run_id,
        classes=("nodule", "normal"),
        contributions=rng.normal(size=(len(grid), 2)).astype(np.float32),
    )
    maps.save(project.prediction(run_id, "big"))


def write_job_project(root: Path) -> None:
    """Take a few slides as far as a model and marks; the next training would last for minutes."""
    root.parent.mkdir(exist_ok=True)
    files = root.parent / "cohort"
    files.mkdir()
    shares = [0.3 * (number % 2) for number in range(_N_SLIDES)]
    labels = ["nodule" if share else "normal" for share in shares]
    table = write_cohort(files, shares, side_px=2048, label=labels)
    large = files / "large.tiff"
    write_sample_slide(large, SyntheticSlide(size_px=(_JOB_SIDE_PX, _JOB_SIDE_PX), seed=9))
    rows = table.read_text(encoding="utf-8")
    table.write_text(f"{rows}large,large.tiff,normal\n", encoding="utf-8")
    project = Project.create(root)
    grid = project.config.grid.replace(patch_px=64).to_dict()
    short = project.config.training.replace(epochs=2)
    config = project.config.replace(grid=grid, encoders=("texture",))
    project = project.reconfigured(config.replace(training=short.to_dict()))
    steps: dict[str, dict[str, Any]] = {
        "prepare": {"labels": str(table)},
        "cluster": {"n_clusters": 10},
        "train": {},
    }
    for verb, options in steps.items():
        run_verb(verb, {"project": str(root), **options}, report=ignore, stop=never)
    for slide, label in list(zip(project.slides(), labels, strict=False))[:4]:
        found = slide.load_grid()
        squares = squares_of(found.lattice, found.cells[:20, 1], found.cells[:20, 0])
        slide.marks.add(squares, label=label, reviewer="ada")
    project.reconfigured(config.replace(training=short.replace(**_LONG).to_dict()))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
