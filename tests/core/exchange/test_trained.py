"""A trained run in the files of other programs, and where its embeddings came from in its own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core import RESEARCH_USE
from src_core.clustering.result import load_clusters
from src_core.geojson import read_polygons
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.project import Project, ProjectConfig
from src_core.provenance import read_json
from src_core.training.config import TrainConfig
from tests.core.cohort_files import write_cohort
from tests.core.exchange.helpers import verb


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Four small slides by an encoder of ours and one of theirs; two teachers have seen three."""
    folder = tmp_path_factory.mktemp("cohort")
    table = write_cohort(folder, (0.0, 0.4) * 2, side_px=1024, label="abab")
    config = ProjectConfig.from_dict({"encoders": ["texture"], "clustering": {"n_clusters": 2}})
    project = Project.create(folder / "project", config)
    root = str(project.root)
    verb("prepare", project=root, labels=str(table))
    verb("export", project=root, format="trident", out=str(folder / "job"))
    result = verb("import", project=root, files=[str(folder / "job")], encoder="theirs")
    assert not result["failures"]
    project = Project.open(root)
    assert project.config.encoders == ("texture", "theirs")
    training = TrainConfig.preset("bench").replace(probe_teachers=False)
    teachers = {"titan": 768, "abmil": 24}
    project.reconfigured(
        project.config.replace(teachers=list(teachers), training=training.to_dict())
    )
    for name, length in teachers.items():
        (folder / name).mkdir()
        for number in range(3):
            vector = np.random.default_rng(number).normal(size=length).astype(np.float32)
            np.save(folder / name / f"s{number}.npy", vector + number % 2)
            verb(
                "import", project=root, files=[str(folder / name / f"s{number}.npy")], encoder=name
            )
    verb("cluster", project=root)
    verb("train", project=root, device="cpu")
    verb("predict", project=root, slides=["s1"], device="cpu")
    return Project.open(root)


def predicted(project: Project) -> Prediction:
    return Prediction.load(project.prediction("run-0001", "s1"))


def marked(project: Project) -> tuple[Any, list[str]]:
    """Mark the first two patches; return the grid and the label of each patch."""
    slide = project.slide("s1")
    grid = slide.load_grid()
    side = grid.lattice.patch_l0
    for row, label in ((0, "odd"), (1, "tumour/invasive")):
        x, y = (float(value) for value in grid.coords_xy[row])
        slide.marks.add([(x, y, side, side)], label=label, reviewer="ada")
    return grid, ["odd", "tumour/invasive", *[""] * (len(grid) - 2)]


def test_where_embeddings_came_from_reaches_model_and_prediction(trained: Project) -> None:
    meta = checkpoint_meta(trained.run("run-0001") / "checkpoint")
    learned = read_json(trained.run("run-0001") / "config.json")["trained_on"]
    taught = sum(name != "s3" for name in learned)
    assert [one.imported for one in meta.encoders] == [
        None,
        "Embeddings by theirs were imported from TRIDENT.",
    ]
    lengths = {one.name: (one.dim, one.recipe["dim"]) for one in meta.teachers}
    assert lengths == {"titan": (768, 768), "abmil": (24, 24)}, "as imported, where a card varies"
    assert {one.recipe["imported_slides"] for one in meta.teachers} == {taught}
    told = tuple(
        f"Embeddings by {name} of {taught} slides were imported from a file." for name in lengths
    )
    assert tuple(one.imported for one in meta.teachers) == told
    assert predicted(trained).notes == (meta.encoders[1].imported, *told)


ALWAYS = {"cluster", "excluded", "pinned", "agreement", "agreement texture", "agreement theirs"}


def test_qupath_gets_marks_and_what_the_model_says(trained: Project, tmp_path: Path) -> None:
    grid, marks = marked(trained)
    result = verb("export", project=str(trained.root), slides=["s1"], format="geojson",
                  out=str(tmp_path))  # fmt: skip
    tiles = list(read_polygons(Path(result["files"]["s1"][0])))
    prediction = predicted(trained)
    labels = load_clusters(trained.slide("s1").current_clusters())[0]
    named = [mark or f"cluster {label}" for mark, label in zip(marks, labels, strict=True)]
    assert [one.classification for one in tiles] == named
    assert set(tiles[0].measurements) == {
        *ALWAYS, "attention", "probability a", "probability b", "contribution a",
        "contribution b",
    }  # fmt: skip
    for name, values in columns(prediction).items():
        told = np.array([one.measurements[name] for one in tiles], np.float32)
        np.testing.assert_array_equal(told, values, err_msg=name)
    np.testing.assert_array_equal([one.exterior[0] for one in tiles], grid.coords_xy)
    with gzip.open(result["files"]["s1"][0], "rt", encoding="utf-8") as stream:
        told = json.load(stream)
    assert (told["use"], told["licences"]) == (RESEARCH_USE, dict(prediction.licences))


def columns(prediction: Prediction) -> dict[str, Any]:
    return {
        "attention": prediction.attention,
        "probability a": prediction.patch_probabilities[:, 0],
        "probability b": prediction.patch_probabilities[:, 1],
        "contribution a": prediction.contributions[:, 0],
        "contribution b": prediction.contributions[:, 1],
    }


def test_anndata_gets_marks_and_what_the_model_says(trained: Project, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    _, marks = marked(trained)
    result = verb("export", project=str(trained.root), slides=["s1"], format="anndata",
                  out=str(tmp_path))  # fmt: skip
    assert [Path(one).name for one in result["files"]["s1"]] == [
        "s1-texture.h5ad",
        "s1-theirs.h5ad",
    ]
    for path in result["files"]["s1"]:
        table = anndata.read_h5ad(path)
        assert table.uns["use"] == RESEARCH_USE
        assert "texture BSD-3-Clause" in table.uns["licences"]
        assert table.obs["mark"].tolist() == marks
        for name, values in columns(predicted(trained)).items():
            np.testing.assert_array_equal(table.obs[name], values, err_msg=name)


def test_a_slide_without_a_prediction_has_no_such_columns(trained: Project, tmp_path: Path) -> None:
    result = verb("export", project=str(trained.root), slides=["s0"], format="geojson",
                  out=str(tmp_path))  # fmt: skip
    tiles = list(read_polygons(Path(result["files"]["s0"][0])))
    assert {name for one in tiles for name in one.measurements} == ALWAYS
