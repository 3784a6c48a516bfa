"""A project opened in a viewer: what is stored is shown, nothing is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.layers.canvas import caption_of
from napari_fusecpath.layers.find import ROLES, find_layer, role_of
from napari_fusecpath.readers.results import get_reader, read_project, show_stored
from napari_fusecpath.readers.slide import PLUGIN
from napari_fusecpath.state import workbench_of
from src_core.clustering.result import ClusterResult, save_clusters
from src_core.errors import ProjectError, SlideReadError
from src_core.inference.prediction import Prediction
from src_core.patches.grid import GridConfig, build_grid
from src_core.project import Project, SlideFolder
from src_core.tissue.segment import segment_tissue
from src_core.types import Task

CLASSES = ("normal", "tumour")


def prepare(project: Project, path: Path, slide_id: str) -> SlideFolder:
    slide = project.add_slide(path, slide_id=slide_id)
    reader = slide.open()
    mask = segment_tissue(reader)
    grid = build_grid(reader, mask, GridConfig(patch_px=128, min_tissue=0.3))
    mask.save(slide.tissue(mask.tissue_id))
    grid.save(slide.grid(grid.grid_id))
    labels = np.arange(len(grid), dtype=np.int32) % 4
    result = ClusterResult(
        labels=labels,
        n_clusters=4,
        agreement=np.linspace(0, 1, 2 * len(grid), dtype=np.float32).reshape(-1, 2),
        typical=np.tile(np.arange(4)[:, None], (1, 12)),
    )
    save_clusters(slide.clusters(grid.grid_id, "c1"), result, {"views": {"a": "1", "b": "2"}})
    slide.remember(tissue_id=mask.tissue_id, grid_id=grid.grid_id, clusters_id="c1")
    return slide


def predict(project: Project, slide: SlideFolder, run_id: str) -> Path:
    grid = slide.load_grid()
    rng = np.random.default_rng(0)
    n = len(grid)
    folder = project.prediction(run_id, slide.slide_id)
    Prediction(
        slide_id=slide.slide_id,
        classes=CLASSES,
        probabilities=np.array([0.2, 0.8]),
        logits=np.array([-1.0, 1.0]),
        spread=np.array([0.1, 0.1]),
        bias=np.zeros(2),
        attention=rng.exponential(size=n).astype(np.float32),
        contributions=rng.normal(size=(n, 2)).astype(np.float32),
        patch_probabilities=rng.random((n, 2)).astype(np.float32),
        appearances=np.ones(n, dtype=np.float32),
        map_source="student",
        grid_id=grid.grid_id,
        run_id=run_id,
    ).save(folder)
    checkpoint = project.run(run_id) / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text("{}")
    return folder


@pytest.fixture
def project(tmp_path: Path, small_slide: Path) -> Project:
    project = Project.create(tmp_path / "project")
    predict(project, prepare(project, small_slide, "a"), "run-1")
    return project


def test_drop_a_project(project: Project, make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    assert get_reader(str(project.root)) is read_project
    viewer.open(project.root / "project.json", plugin=PLUGIN)
    viewer.open(project.root, plugin=PLUGIN)  # the folder is the same, and nothing comes twice
    roles = [role_of(layer) for layer in viewer.layers]
    assert roles == [role for role in ROLES if role in roles]
    assert set(roles) == {
        "slide", "tissue", "clusters", "agreement", "attention", "contribution", "prediction"
    }  # fmt: skip
    visible = {role_of(layer) for layer in viewer.layers if layer.visible}
    assert visible == {"slide", "prediction"}
    workbench = workbench_of(viewer)
    assert (workbench.slide_id, workbench.run_id, workbench.class_name) == ("a", "run-1", "tumour")
    assert workbench.project == project.root
    stored = Prediction.load(project.prediction("run-1", "a"))
    shown = find_layer(viewer, "prediction").data  # type: ignore[union-attr]
    assert np.nanmax(shown) == stored.patch_probabilities[:, 1].max()


def test_another_project_takes_away_what_was_of_the_one_before(
    project: Project, tmp_path: Path, make_napari_viewer: Any
) -> None:
    viewer = make_napari_viewer()
    viewer.open(project.root, plugin=PLUGIN)
    other = Project.create(tmp_path / "other")
    other.add_slide(tmp_path / project.slide("a").record.path, slide_id="a")
    other.slide("a").remember(path=str(tmp_path / "gone.tiff"))
    with pytest.raises(SlideReadError, match="is no longer at"):
        viewer.open(other.root, plugin=PLUGIN)
    assert [role_of(layer) for layer in viewer.layers] == ["slide"]
    workbench = workbench_of(viewer)
    assert (workbench.project, workbench.slide_id) == (other.root, None)


@pytest.mark.parametrize(
    ("task", "outputs", "caption"),
    [
        ("regression", ("TP53", "EGFR"), "Contribution to TP53, in its unit: red raises it"),
        ("survival", ("log-hazard",), "Contribution to log-hazard: red means an earlier event"),
    ],
)
def test_without_classes_the_contribution_is_the_map(
    project: Project,
    make_napari_viewer: Any,
    task: Task,
    outputs: tuple[str, ...],
    caption: str,
) -> None:
    folder = project.prediction("run-1", "a")
    classes, n = Prediction.load(folder), len(outputs)
    values = np.asarray(classes.contributions)[:, :n].copy()
    classes.replace(
        task=task,
        classes=outputs,
        probabilities=np.zeros(0),
        logits=np.arange(n, dtype=np.float64),
        spread=np.ones(n),
        bias=np.zeros(n),
        contributions=values,
        patch_probabilities=np.zeros((len(values), 0), np.float32),
    ).save(folder)
    viewer = make_napari_viewer()
    show_stored(viewer, project, project.slide("a"))
    visible = {role_of(layer) for layer in viewer.layers if layer.visible}
    assert visible == {"slide", "contribution"}
    assert find_layer(viewer, "prediction") is None
    layer: Any = find_layer(viewer, "contribution")
    cells = project.slide("a").load_grid().cells
    assert np.array_equal(layer.data[cells[:, 1], cells[:, 0]], values[:, 0])
    assert " ".join(caption_of(viewer).text.split()) == caption  # as wide as the canvas is
    assert workbench_of(viewer).class_name == outputs[0]


def test_turn_to_a_slide_with_less(
    project: Project, small_slide: Path, make_napari_viewer: Any
) -> None:
    viewer = make_napari_viewer()
    first = project.slide("a")
    show_stored(viewer, project, first)
    clusters = find_layer(viewer, "clusters")
    assert clusters is not None
    clusters.visible = True
    second = prepare(project, small_slide, "b")
    second.remember(tissue_id=None)
    show_stored(viewer, project, second)
    assert [role_of(layer) for layer in viewer.layers] == [
        "slide",
        "clusters",
        "agreement",
    ]
    assert clusters.visible
    assert find_layer(viewer, "clusters") is clusters
    assert viewer.layers[0].name == "b"


def test_a_map_in_view_is_not_covered_by_one_that_comes_new(
    project: Project, small_slide: Path, make_napari_viewer: Any
) -> None:
    viewer = make_napari_viewer()
    show_stored(viewer, project, prepare(project, small_slide, "b"))
    show_stored(viewer, project, project.slide("a"))
    assert find_layer(viewer, "prediction") is not None
    visible = {role_of(layer) for layer in viewer.layers if layer.visible}
    assert visible == {"slide", "clusters"}


def test_a_damaged_result_is_said_and_left_out(
    project: Project, make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Exception] = []
    monkeypatch.setattr("napari_fusecpath.readers.results.report_error", said.append)
    (project.prediction("run-1", "a") / "attention.npy").write_bytes(b"")
    viewer = make_napari_viewer()
    show_stored(viewer, project, project.slide("a"))
    assert find_layer(viewer, "clusters") is not None
    assert find_layer(viewer, "prediction") is None
    assert "attention.npy" in str(said[0])


def test_what_is_no_project(tmp_path: Path, shared_data: Path) -> None:
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path)]) is None
    assert get_reader(str(shared_data / "slides" / "dicom-CMU-1-Small-Region")) is None
    with pytest.raises(ProjectError, match=r"project\.json"):
        read_project(str(tmp_path))
    Project.create(tmp_path / "empty")
    (tmp_path / "empty" / "slides").mkdir()
    with pytest.raises(ProjectError, match="no slides"):
        read_project(str(tmp_path / "empty"))


def test_without_a_viewer_the_slide_alone(project: Project) -> None:
    ((levels, arguments, kind),) = read_project(str(project.root))
    assert kind == "image"
    assert arguments["name"] == "a"
    assert levels[0].ndim == 3
