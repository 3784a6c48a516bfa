"""Slides whose truth is known, made of real patches, and projects that go the whole way."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from src_core.patches.grid import GridConfig
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.provenance import write_json
from src_core.verbs import run_verb
from tests.benchmarks.lung_cohorts import normalised
from tests.core.pyramid_files import write_pyramid

PATCH_PX = 224
SIDE = 5
"""Patches along a mosaic; one more of glass on each side."""

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a verb as the command would: ``run("prepare", project=..., slides=...)``."""

    def call(verb: str, **options: Any) -> dict[str, Any]:
        plain = {
            key: [str(one) for one in value] if isinstance(value, list | tuple) else value
            for key, value in options.items()
        }
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}
        return run_verb(verb, plain, report=ignore, stop=never)

    return call


@dataclass(frozen=True)
class Lung:
    """Files of LC25000 patches by class and origin."""

    groups: Mapping[str, Mapping[str, list[Path]]]

    def pool(self, kind: str, part: int) -> list[list[Path]]:
        """Return the origins of a class that belong to part 0 (to learn from) or 1 (to test)."""
        names = sorted(self.groups[kind])
        return [self.groups[kind][name] for name in names[part::2]]


@pytest.fixture(scope="session")
def lung(lung_patches: Path) -> Lung:
    """Find the patches."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    with (lung_patches / "labels.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            groups[row["label"]][row["group"]].append(lung_patches / row["file"])
    return Lung(groups)


def write_mosaic(
    path: Path, lung: Lung, *, part: int, tumour: bool, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Write a slide of normal lung, with a nodule of 8 to 28 % carcinoma if `tumour`.

    Returns
    -------
    ndarray of bool, shape (SIDE, SIDE)
        Where the nodule is.
    """
    nodule = np.zeros((SIDE, SIDE), np.bool_)
    if tumour:
        n_cells = int(rng.integers(2, 8))  # 8 to 28 % of 25
        centre = rng.uniform(1, SIDE - 1, 2)
        away = np.hypot(*(np.indices((SIDE, SIDE)) + 0.5 - centre[:, None, None]))
        nodule.flat[np.argsort(away, axis=None)[:n_cells]] = True
    normal = [one for group in lung.pool("lung_n", part) for one in group]
    kind = ("lung_aca", "lung_scc")[int(rng.integers(2))]
    origins = lung.pool(kind, part)
    chosen = rng.choice(len(origins), size=int(rng.integers(1, 3)), replace=False)
    cancer = [one for index in chosen for one in origins[index]]
    extent = (SIDE + 2) * PATCH_PX
    pixels = rng.integers(240, 247, (extent, extent, 3), dtype=np.uint8)  # glass
    for row, column in np.ndindex(SIDE, SIDE):
        pool = cancer if nodule[row, column] else normal
        patch = normalised(pool[int(rng.integers(len(pool)))])
        patch = np.rot90(patch, int(rng.integers(4)))
        top, left = (row + 1) * PATCH_PX, (column + 1) * PATCH_PX
        pixels[top : top + PATCH_PX, left : left + PATCH_PX] = patch
    write_pyramid(path, pixels, mpp=0.5)
    return nodule


LEARN, TEST = 20, 20
"""Slides to learn from and to test, half of each with a nodule."""


@dataclass(frozen=True)
class LungProject:
    """A project of mosaics, embedded and clustered, with the truth of every patch."""

    project: Project
    truth: Mapping[str, NDArray[np.bool_]]
    """Slide -> where its nodule is, shape (SIDE, SIDE)."""

    def truth_of(self, slide_id: str) -> NDArray[np.bool_]:
        """Return whether each patch of the slide's grid is of the nodule, shape (N,)."""
        cells = self.project.slide(slide_id).load_grid().cells - 1  # a patch of glass around it
        return self.truth[slide_id][cells[:, 1], cells[:, 0]]


@pytest.fixture(scope="session")
def lung_project(tmp_path_factory: pytest.TempPathFactory, lung: Lung, run: Run) -> LungProject:
    """Write the mosaics and take them as far as their clusters."""
    root = tmp_path_factory.mktemp("lung")
    rows, truth = [], {}
    for part, count in enumerate((LEARN, TEST)):
        for number in range(count):
            name = f"{('learn', 'test')[part]}-{number:02d}"
            tumour = bool(number % 2)
            rng = np.random.default_rng([part, number])
            path = root / "slides" / f"{name}.tiff"
            truth[name] = write_mosaic(path, lung, part=part, tumour=tumour, rng=rng)
            rows.append((name, path, ("normal", "tumour")[tumour]))
    table = root / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("slide_id", "path", "label"), *rows])
    project = Project.create(root / "project", ProjectConfig(grid=GridConfig(patch_px=PATCH_PX)))
    result = run("prepare", project=project.root, labels=table, encoders=["lite0", "texture"])
    assert result["failures"] == []
    run("cluster", project=project.root, n_clusters=4)
    # The origins were dealt before the slides were built: the split follows them.
    held_back = [name for name, *_ in rows if name.startswith("test")]
    write_json(project.splits_path, {"label": held_back})
    return LungProject(Project.open(project.root), truth)
