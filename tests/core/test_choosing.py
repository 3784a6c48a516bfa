"""Sweeps and comparisons of stored slides: by recipe, instant the second time, and resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from src_core.choosing import compare_slide, stored_sweeps, sweep_slide
from src_core.clustering.result import ClusterConfig
from src_core.clustering.tables import SweepConfig, SweepRow
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import GridMismatchError, JobCancelled, TooFewPatchesError
from src_core.pipeline import stored_views
from src_core.preparing import prepare_grid
from src_core.progress import Progress, ignore, never
from src_core.project import Project, SlideFolder
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

ENCODERS = ("wide", "narrow")
CONFIG = ClusterConfig(n_iter=2)
SWEEP = SweepConfig(first=2, last=4, step=1)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> SlideFolder:
    root = tmp_path_factory.mktemp("choosing")
    write_sample_slide(root / "a.tiff", SyntheticSlide(size_px=(2304, 2304), seed=1))
    project = Project.create(root / "project")
    slide = project.add_slide(root / "a.tiff")
    prepare_grid(project, slide, report=ignore, stop=never)
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, len(grid))
    for name, width in zip(ENCODERS, (130, 5), strict=True):
        centres = rng.normal(size=(3, width)) * 3
        values = (centres[kind] + rng.normal(size=(len(grid), width))).astype(np.float32)
        writer = store.open_writer(name, {"encoder": name}, width)
        writer.append(grid.cells, values)
        writer.commit()
    return slide


def swept(slide: SlideFolder, told: list[Progress] | None = None, **changes) -> tuple:
    return sweep_slide(
        slide,
        changes.get("encoders", ENCODERS),
        changes.get("config", CONFIG),
        changes.get("sweep", SWEEP),
        device="cpu",
        report=ignore if told is None else told.append,
        stop=changes.get("stop", never),
    )


def test_a_sweep_is_stored_by_recipe_and_read_without_computing(slide: SlideFolder) -> None:
    before = slide.record
    rows = swept(slide)
    assert [row.k for row in rows] == [2, 3, 4]
    assert slide.record == before, "the clusters in use are as they were"
    told: list[Progress] = []
    assert swept(slide, told) == rows
    assert told == [], "nothing was computed"
    # What a sweep replaces does not belong to its recipe, the rest does.
    assert swept(slide, told, config=CONFIG.replace(n_clusters=9, n_per_cluster=3)) == rows
    assert told == []
    swept(slide, told, config=CONFIG.replace(seed=1))
    assert told
    grid = slide.load_grid()
    views = stored_views(slide, grid, ENCODERS)
    assert stored_sweeps(slide, grid, views, CONFIG) == (rows,)
    assert stored_sweeps(slide, grid, views[:1], CONFIG) == ()


def test_a_sweep_that_was_killed_goes_on(slide: SlideFolder) -> None:
    config, sweep = CONFIG.replace(seed=7), SweepConfig(first=2, last=5, step=1)
    told: list[Progress] = []
    with pytest.raises(JobCancelled):
        swept(slide, told, config=config, sweep=sweep, stop=lambda: "4 clu" in str(told[-1:]))
    grid = slide.load_grid()
    views = stored_views(slide, grid, ENCODERS)
    assert stored_sweeps(slide, grid, views, config) == (), "half a sweep is not shown"
    told.clear()
    rows = swept(slide, told, config=config, sweep=sweep)
    details = " ".join(one.detail for one in told)
    assert "3 clusters" not in details
    assert "4 clusters" in details
    (stored,) = stored_sweeps(slide, grid, views, config)
    assert stored == rows
    assert [row.k for row in rows] == [2, 3, 4, 5]


def test_a_damaged_table_is_made_again(slide: SlideFolder) -> None:
    config = CONFIG.replace(seed=8)
    rows = swept(slide, config=config)
    grid = slide.load_grid()
    paths = slide.grid(grid.grid_id).glob("sweeps/*/sweep.json")
    (path,) = (p for p in paths if json.loads(p.read_text())["recipe"]["config"]["seed"] == 8)
    assert path.stat().st_size < 4000
    path.write_text("{")
    views = stored_views(slide, grid, ENCODERS)
    assert stored_sweeps(slide, grid, views, config) == ()
    again = swept(slide, config=config)
    assert [row.silhouette for row in again] == [row.silhouette for row in rows]
    assert stored_sweeps(slide, grid, views, config) == (again,)


def test_a_slide_that_cannot_be_swept_says_why_before_it_is_read(slide: SlideFolder) -> None:
    n = len(slide.load_grid())
    with pytest.raises(TooFewPatchesError, match=f"{n} patches cannot form 900 clusters"):
        swept(slide, sweep=SweepConfig(first=2, last=900, step=100))
    with pytest.raises(GridMismatchError, match="run Embed"):
        swept(slide, encoders=("wide", "uni"))


def test_a_comparison_is_stored_too(slide: SlideFolder) -> None:
    config = CONFIG.replace(n_clusters=3)
    told: list[Progress] = []

    def compared() -> tuple:
        return compare_slide(slide, ENCODERS, config, device="cpu", report=told.append, stop=never)

    rows = compared()
    assert [row.method for row in rows][1:3] == ["spectral, wide alone", "spectral, narrow alone"]
    assert rows[0].silhouette > 0.2
    told.clear()
    assert compared() == rows
    assert told == []


def test_a_row_is_frozen() -> None:
    row = SweepRow(k=3, n_clusters=3, silhouette=0.1, calinski_harabasz=2.0, seconds=0.1)
    with pytest.raises(AttributeError):
        row.k = 4  # type: ignore[misc]
