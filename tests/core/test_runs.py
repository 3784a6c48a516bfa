"""Runs of a project: named once, scored by their own settings, honest about what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cli import main
from src_core.clustering.result import load_clusters
from src_core.cohorts import load_cohort
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import CheckpointError, ConfigError, GridMismatchError, ProjectError
from src_core.inference.prediction import Prediction
from src_core.model_origins import require_patches, sizes_of_patches
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.pipeline import computed_notes
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.review.raster import squares_of
from src_core.training import fit
from src_core.training.config import TrainConfig
from src_core.verbs import run_verb
from tests.core.cohort_files import write_cohort


def run(verb: str, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=ignore, stop=never)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of eight small slides, clustered by two and trained once."""
    folder = tmp_path_factory.mktemp("cohort")
    table = write_cohort(
        folder, (0.0, 0.4) * 4, side_px=1280, label="ab" * 4, other="x" * 4 + "y" * 4
    )
    root = str(folder / "project")
    run("prepare", project=root, labels=str(table), encoders=["texture"])
    run("cluster", project=root, n_clusters=2)
    for one in Project.open(root).slides():  # as if the first had been embedded elsewhere
        store = EmbeddingStore(one.embeddings(one.load_grid().lattice_id))
        device = "cuda" if one.slide_id == "s0" else "cpu"
        store.keep_computed("texture", f"float32 on {device}", 16)
    run("train", project=root, preset="bench", device="cpu")
    return Path(root)


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> str:
    """A copy of the trained project, to be spoiled."""
    return str(shutil.copytree(trained, tmp_path / "project"))


def test_a_slide_that_is_not_ready_is_left_out_and_named(root: str) -> None:
    table = Path(root) / "cohort" / "labels.csv"
    table.write_text(table.read_text() + "zz,nowhere.tiff,zz,a,x\n")
    result = run("train", project=root, preset="bench", device="cpu")
    assert [one["slide_id"] for one in result["failures"]] == ["zz"]
    asked = json.loads((Path(root) / "runs" / result["run"] / "config.json").read_text())
    assert len(asked["trained_on"]) + len(asked["held_back"]) == 8


def test_a_cohort_that_was_embedded_on_two_devices_is_told(trained: Path) -> None:
    project = Project.open(trained)
    told = computed_notes(project.slides(), ["texture"])["texture"]
    assert "float32 on cpu (7 slides), float32 on cuda (1 slide); they are used together" in told
    assert computed_notes(project.slides()[1:], ["texture"]) == {}
    assert told in run("prepare", project=str(trained))["notes"]["texture"]
    learned = json.loads((trained / "runs" / "run-0001" / "config.json").read_text())["trained_on"]
    notes = json.loads((trained / "runs" / "run-0001" / "metrics.json").read_text())["notes"]
    assert any("on cuda" in note for note in notes) == ("s0" in learned)


def test_a_name_is_given_once(root: str) -> None:
    run("predict", project=root, slides=["s0"], device="cpu")
    shutil.rmtree(Path(root) / "runs" / "run-0001")
    (Path(root) / "runs" / "run-0003").mkdir()
    result = run("train", project=root, preset="bench", device="cpu")
    assert result["run"] == "run-0004", "old predictions would pass for the new model's"


def test_another_magnification_is_neither_predicted_nor_learned_from(root: str) -> None:
    slide = Project.open(root).slide("s1")
    run("prepare", project=root, slides=[slide.record.path], set=["grid.mpp=0.6"])
    told = run("predict", project=root, slides=["s1"], device="cpu")
    assert told["failures"] == [], "a scale nearby is taken for the same"
    run("prepare", project=root, slides=[slide.record.path], set=["grid.mpp=1.0"])
    said = (
        "Slide 's1' is cut into patches of 256 µm at 1 µm per pixel, {} into patches of 128 µm at "
        "0.5; prepare them with the same grid.patch_px and grid.mpp."
    )
    for verb, slides in (("predict", ["s1", "s0"]), ("explain", ["s1"])):
        (failure,) = run(verb, project=root, slides=slides, device="cpu")["failures"]
        assert failure["message"] == said.format("those that the model learned from")
    run("cluster", project=root, slides=["s1"])
    with pytest.raises(GridMismatchError) as caught:
        load_cohort(Project.open(root), "label")
    assert str(caught.value) == said.format("slide 's0'")


@pytest.mark.parametrize(
    "sizes", [3, {}, {"um": [128.0, 128.0]}, {"um": [0.0, 1.0], "mpp": [1.0, 1.0]}, {"um": "ab"}]
)
def test_sizes_of_patches_that_cannot_be_are_refused(root: str, sizes: Any) -> None:
    lattice = Project.open(root).slide("s0").load_grid().lattice
    require_patches(None, lattice, slide_id="s0", others="those")
    require_patches(sizes_of_patches([lattice]), lattice, slide_id="s0", others="those")
    with pytest.raises(CheckpointError, match="of no size"):
        require_patches(sizes, lattice, slide_id="s0", others="those")


def test_a_run_is_scored_by_its_own_settings(root: str) -> None:
    before = run("evaluate", project=root, device="cpu")
    run("cluster", project=root, n_clusters=1)
    after = run("evaluate", project=root, device="cpu")
    assert after["probabilities"] == before["probabilities"]
    assert after["baseline_auroc"] == before["baseline_auroc"]


def test_a_slide_clustered_otherwise_is_predicted_all_the_same(root: str) -> None:
    project = Project.open(root)
    slide = project.slide("s0")
    shutil.rmtree(slide.current_clusters().parent)
    run("cluster", project=root, n_clusters=1)
    in_use = slide.record.clusters_id
    result = run("predict", project=root, slides=["s0"], device="cpu")
    assert result["failures"] == []
    assert slide.record.clusters_id == in_use, "what the project uses stays in use"
    run("export", project=root, slides=["s0"])
    prediction = Prediction.load(project.prediction("run-0001", "s0"))
    assert prediction.grid_id == slide.load_grid().grid_id


def test_an_edited_selection_is_honoured_by_every_step(root: str) -> None:
    """Excluded patches are in no bag and pinned ones in all, of whatever model, and it is said."""
    project = Project.open(root)
    asked = json.loads((Path(root) / "runs" / "run-0001" / "config.json").read_text())
    learned, held = asked["trained_on"][0], asked["held_back"][0]
    before = run("evaluate", project=root, device="cpu")
    old = Prediction.load(project.prediction("run-0001", held))
    edits, clusters = {}, {}
    for name in (learned, held):
        slide = project.slide(name)
        grid, labels = slide.load_grid(), load_clusters(slide.current_clusters())[0]
        of = np.flatnonzero(labels == 0)
        slide.selection.exclude(grid, of[1:4], reviewer="ada")
        slide.selection.pin(grid, of[:1], reviewer="ada")
        edits[name], clusters[name] = slide.selection.edits(grid), int(labels.max()) + 1
    cohort, _ = load_cohort(project, "label")
    taken = {slide.slide_id: slide for slide in cohort.slides}
    assert (taken[learned].labels[edits[learned].excluded] == -1).all()
    assert taken[learned].pinned is not None
    assert [name for name, slide in taken.items() if slide.edits] == sorted((learned, held))

    result = run("train", project=root, preset="bench", device="cpu")
    meta = checkpoint_meta(project.run(result["run"]) / "checkpoint")
    assert meta.preparation["selection"] == {
        learned: {"excluded": 3, "pinned": 1, "clusters": clusters[learned]}
    }
    again = run("evaluate", project=root, run="run-0001", device="cpu")
    changed = {
        name for name, odds in again["probabilities"].items()
        if odds != before["probabilities"][name]
    }  # fmt: skip
    assert changed == {held}
    new = Prediction.load(project.prediction("run-0001", held))
    assert (new.n_excluded, new.n_pinned, new.n_clusters) == (3, 1, clusters[held])
    assert np.isnan(new.attention[edits[held].excluded]).all()
    assert (new.appearances[edits[held].pinned] == 1).all()
    # What was predicted before the edit can be told from it, and undo makes it true again.
    slide = project.slide(held)
    assert old.edits_id != new.edits_id == slide.selection.edits(slide.load_grid()).edits_id
    slide.selection.undo(reviewer="ada")
    slide.selection.undo(reviewer="ada")
    assert old.edits_id == slide.selection.edits(slide.load_grid()).edits_id == ""


def test_a_slide_of_which_all_is_excluded_is_named_and_the_others_go_on(root: str) -> None:
    slide = Project.open(root).slide("s0")
    grid = slide.load_grid()
    slide.selection.exclude(grid, np.arange(len(grid)), reviewer="ada")
    for verb in ("train", "predict"):
        options = {"preset": "bench"} if verb == "train" else {"slides": ["s0", "s1"]}
        (failure,) = run(verb, project=root, device="cpu", **options)["failures"]
        assert failure["slide_id"] == "s0"
        assert "are excluded from its selections; include some of them" in failure["message"]


def test_reviewers_marks_are_the_truth_that_the_map_is_held_against(root: str) -> None:
    project = Project.open(root)
    slide = project.slide("s1")
    grid = slide.load_grid()
    for rows, label in ((slice(0, 3), "b"), (slice(3, 5), "a"), (slice(5, 6), "a fold")):
        col, row = grid.cells[rows].T
        slide.marks.add(squares_of(grid.lattice, row, col), label=label, reviewer="me")
    cohort, _ = load_cohort(project, "label")
    by_id = {one.slide_id: one for one in cohort.slides}
    truth = by_id["s1"].truth
    assert truth is not None
    assert truth[:6].tolist() == [1, 1, 1, 0, 0, -1]  # what is no class of the task is unknown
    assert (truth[6:] == -1).all()
    assert by_id["s0"].truth is None
    found = fit(cohort, TrainConfig.preset("bench").replace(device="cpu")).metrics["localisation"]
    assert found["truth"] == "reviewers' marks"
    assert found["n_slides"] == found["by_class"]["b"]["n_slides"] == 1


def test_the_target_names_the_run(root: str) -> None:
    with pytest.raises(ProjectError, match="no model of 'other'"):
        run("evaluate", project=root, target=["other"])
    with pytest.raises(ConfigError, match="give folds without run"):
        run("evaluate", project=root, run="run-0001", folds=2)


def test_impossible_encoders_are_refused_before_any_work(root: str) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        run("prepare", project=root, encoders=["texture", "texture"])
    with pytest.raises(ConfigError, match="add that encoder"):
        run("prepare", project=root, teachers=["mean-lite0"])


def test_slides_may_follow_an_option(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = str(trained.parent / "s0.tiff")
    assert main(["prepare", str(tmp_path / "p"), "--no-embed", slide]) == 0
    assert "0: " in capsys.readouterr().out


def test_painting_during_clustering_keeps_the_record_whole(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src_core import pipeline, preparing
    from src_core.clustering import multiview

    project = Project.open(root)
    slide = project.slide("s0")
    original = multiview.cluster_views

    def paint_meanwhile(*args: Any, **kwargs: Any) -> Any:
        mask = slide.load_tissue()
        smaller = mask.mask.copy()
        smaller[: len(smaller) // 2] = False
        preparing.paint_tissue(project, slide, mask.edited(smaller))
        return original(*args, **kwargs)

    monkeypatch.setattr(multiview, "cluster_views", paint_meanwhile)
    config = project.config.clustering.replace(n_clusters=1)
    pipeline.cluster_slide(slide, ("texture",), config, device="cpu", report=ignore, stop=never)
    assert slide.record.clusters_id is None, "the old grid's clusters are not the new grid's"
