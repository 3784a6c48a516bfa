"""What the verb ``scatter`` stores, keeps, refuses and leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.clustering.scatter import load_scatter
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import JobCancelled
from src_core.exchange.script_state import State
from src_core.exchange.script_steps import lay_steps
from src_core.exchange.script_text import Call
from src_core.preparing import prepare_grid
from src_core.progress import Progress, ignore, never
from src_core.project import Project, SlideFolder
from src_core.scattering import find_neighbour_scatter
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb


def embed(slide: SlideFolder, encoder: str, version: str) -> None:
    grid = slide.load_grid()
    recipe = {"encoder": encoder, "version": version}
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    if encoder in store.encoders():
        store.renew(encoder, recipe)
    writer = store.open_writer(encoder, recipe, 6)
    writer.append(
        grid.cells, np.random.default_rng(0).normal(size=(len(grid), 6)).astype(np.float32)
    )
    writer.commit()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One slide that is embedded and not clustered."""
    path = tmp_path / "a.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(1792, 1792), seed=1))
    project = Project.create(tmp_path / "project")
    project = project.reconfigured(project.config.replace(encoders=["one"]))
    slide = project.add_slide(path)
    prepare_grid(project, slide, report=ignore, stop=never)
    embed(slide, "one", "1")
    return project


def run(verb: str, project: Project, **options: bool) -> dict[str, Any]:
    asked = {"project": str(project.root), **options}
    return run_verb(verb, asked, report=ignore, stop=never)


def files_of(slide: SlideFolder) -> dict[str, bytes]:
    found = slide.grid(slide.load_grid().grid_id).rglob("scatter/*/*")
    return {str(path): path.read_bytes() for path in found}


def test_a_scatter_by_neighbours_is_kept_beside_the_other_and_repeated(project: Project) -> None:
    (slide,) = project.slides()
    failed = run("scatter", project)["failures"]
    assert "run Cluster first" in failed[0]["message"]
    run("cluster", project)
    before = files_of(slide)
    assert find_neighbour_scatter(slide, joint=False) is None

    heard: list[str] = []

    def hear(progress: Progress) -> None:
        heard.append(progress.stage)

    with pytest.raises(JobCancelled):
        run_verb(
            "scatter",
            {"project": str(project.root)},
            report=hear,
            stop=lambda: "Spreading groups out" in heard,
        )
    assert files_of(slide) == before, "nothing is left half made"

    n_patches = len(slide.load_grid())
    result = run("scatter", project)
    assert result["scattered"] == {slide.slide_id: n_patches}
    folder = find_neighbour_scatter(slide, joint=False)
    assert folder is not None
    scatter, made = load_scatter(folder), files_of(slide)
    assert scatter.points.shape == (n_patches, 2)
    assert scatter.shares is None
    assert before.items() < made.items(), "the other one stays"
    assert run("scatter", project) == result
    assert files_of(slide) == made

    run("cluster", project, joint=True)
    state = State(project, project.root / "repeat-files")
    lay_steps(state, stop=never)
    calls = [act.words for step in state.steps for act in step.acts if isinstance(act, Call)]
    verbs = [words[0] for words in calls]
    assert verbs.count("scatter") == 1, "the clusters of all slides have the same"
    assert verbs.index("scatter") > verbs.index("cluster")


def test_patches_that_are_embedded_anew_ask_for_clusters_first(project: Project) -> None:
    (slide,) = project.slides()
    run("cluster", project)
    run("scatter", project)
    first = find_neighbour_scatter(slide, joint=False)
    embed(slide, "two", "1")
    project.reconfigured(project.config.replace(encoders=["one", "two"]))
    run("cluster", project)
    assert find_neighbour_scatter(slide, joint=False) is None, "it is of the clusters before"
    assert first is not None
    assert first.is_dir()
    run("scatter", project)
    assert find_neighbour_scatter(slide, joint=False) not in (None, first)
    for path in slide.grid(slide.load_grid().grid_id).glob("scatter/*/meta.json"):
        path.unlink()
    embed(slide, "two", "2")
    (failure,) = run("scatter", project)["failures"]
    assert "embedded anew since it was clustered; cluster it again" in failure["message"]
    assert find_neighbour_scatter(slide, joint=False) is None
