"""What the verb ``cluster`` says of slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src_core.embeddings.store import EmbeddingStore
from src_core.preparing import prepare_grid
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb


def test_an_encoder_that_tells_nothing_apart_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(1792, 1792), seed=1))
    project = Project.create(tmp_path / "project")
    project = project.reconfigured(project.config.replace(encoders=["flat", "telling"]))
    slide = project.add_slide(path)
    prepare_grid(project, slide, report=ignore, stop=never)
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    rows = np.random.default_rng(0).normal(size=(len(grid), 6)).astype(np.float32)
    for name, values in (("flat", np.ones_like(rows)), ("telling", rows)):
        writer = store.open_writer(name, {"encoder": name}, 6)
        writer.append(grid.cells, values)
        writer.commit()

    def cluster() -> dict[str, object]:
        return run_verb("cluster", {"project": str(project.root)}, report=ignore, stop=never)

    result = cluster()
    assert result["failures"] == []
    assert result["notes"] == {"a": "Clustered without flat, to which all patches are the same."}
    (points,) = slide.grid(grid.grid_id).glob("scatter/*/points.npy")
    before = points.read_bytes()
    points.with_name("meta.json").unlink()
    points.unlink()
    assert cluster() == result, "also where the clusters are there already"
    assert points.read_bytes() == before, "a scatter is made for clusters that lack it"
    assert np.load(points).shape == (len(grid), 2)
    project.reconfigured(project.config.replace(encoders=["telling"]))
    assert "notes" not in cluster()
