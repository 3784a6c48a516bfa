"""Tables of patches say what encoders and people say of each."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from src_core.clustering.result import load_agreement, load_clusters
from src_core.geojson import read_polygons
from src_core.project import Project
from tests.core.exchange.helpers import verb


@pytest.fixture
def edited(source: Project, tmp_path: Path) -> Project:
    """The project with an exclusion, two pins, a mark and clusters of all slides."""
    project = Project.open(shutil.copytree(source.root, tmp_path / "project"))
    slide = project.slides()[0]
    grid = slide.load_grid()
    slide.selection.exclude(grid, [1], reviewer="Ada")
    slide.selection.pin(grid, [2, 3], reviewer="Ada")
    x, y = grid.coords_xy[4].tolist()
    side = grid.lattice.patch_l0
    slide.marks.add([(x, y, side, side)], label="=tumour", reviewer="Ada")
    verb("cluster", project=str(project.root), joint=True)
    return project


def test_a_table_of_patches_has_a_line_for_each(edited: Project, tmp_path: Path) -> None:
    result = verb("export", project=str(edited.root), format="csv", out=str(tmp_path / "out"))
    path = tmp_path / "out" / "a-slide-patches.csv"
    assert result["files"] == {"a-slide": [str(path)]}
    slide = edited.slides()[0]
    grid, labels = slide.load_grid(), load_clusters(slide.current_clusters())[0]
    joint = load_clusters(slide.joint_clusters())[0]
    agreement = load_agreement(slide.current_clusters())
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(grid)
    assert {row["slide"] for row in rows} == {"a-slide"}
    corners = [(int(row["x"]), int(row["y"])) for row in rows]
    np.testing.assert_array_equal(corners, grid.coords_xy)
    assert [int(row["cluster"]) for row in rows] == labels.tolist()
    assert [int(row["cluster of all slides"]) for row in rows] == joint.tolist()
    for name, wanted in (
        ("agreement", agreement.mean(axis=1)),
        ("agreement texture", agreement[:, 0]),
    ):
        np.testing.assert_array_equal(np.array([row[name] for row in rows], np.float32), wanted)
    assert [n for n, row in enumerate(rows) if row["excluded"] == "1"] == [1]
    assert [n for n, row in enumerate(rows) if row["pinned"] == "1"] == [2, 3]
    assert {row["pinned"] for row in rows} == {"0", "1"}
    marked = [(n, row["mark"]) for n, row in enumerate(rows) if row["mark"]]
    assert (4, "'=tumour") in marked, "no spreadsheet runs it"


def test_qupath_tiles_carry_the_same(edited: Project, tmp_path: Path) -> None:
    verb("export", project=str(edited.root), format="geojson", out=str(tmp_path))
    slide = edited.slides()[0]
    labels = load_clusters(slide.current_clusters())[0]
    agreement = load_agreement(slide.current_clusters()).mean(axis=1)
    tiles = [one.measurements for one in read_polygons(tmp_path / "a-slide.geojson.gz")]
    assert [one["cluster"] for one in tiles] == labels.tolist()
    assert [n for n, one in enumerate(tiles) if one["excluded"]] == [1]
    assert [n for n, one in enumerate(tiles) if one["pinned"]] == [2, 3]
    found = np.array([one["agreement"] for one in tiles], np.float32)
    np.testing.assert_array_equal(found, agreement)
    assert set(tiles[0]) == {
        "cluster", "cluster of all slides", "excluded", "pinned", "agreement", "agreement texture",
    }  # fmt: skip


def test_anndata_has_them_as_columns(edited: Project, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    result = verb("export", project=str(edited.root), format="anndata", out=str(tmp_path))
    table = anndata.read_h5ad(result["files"]["a-slide"][0]).obs
    assert table["excluded"].to_numpy().nonzero()[0].tolist() == [1]
    assert table["pinned"].to_numpy().nonzero()[0].tolist() == [2, 3]
    assert table["agreement"].between(0, 1).all()
    assert "cluster of all slides" in table


def test_names_and_merges_of_clusters_go_into_every_table(edited: Project, tmp_path: Path) -> None:
    slide = edited.slides()[0]
    labels = load_clusters(slide.current_clusters())[0]
    joint = load_clusters(slide.joint_clusters())[0]
    own = slide.legend(slide.current_clusters())
    own.edit(lambda legend: legend.renamed(1, "=stroma").recolored(1, "#102030").merged([1, 2]))
    slide.legend(slide.joint_clusters()).edit(lambda legend: legend.renamed(0, "tumour"))
    assert slide.legend(slide.joint_clusters()).path.is_relative_to(edited.root / "cohort")

    root = str(edited.root)
    verb("export", project=root, format="csv", out=str(tmp_path))
    with (tmp_path / "a-slide-patches.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["cluster"]) for row in rows] == labels.tolist(), "numbers stay as found"
    wanted = ["'=stroma" if one in (1, 2) else f"cluster {one}" for one in labels]
    assert [row["cluster name"] for row in rows] == wanted, "and no spreadsheet runs a name"
    wanted = ["tumour" if one == 0 else f"cluster {one}" for one in joint]
    assert [row["cluster of all slides name"] for row in rows] == wanted

    verb("export", project=root, format="geojson", out=str(tmp_path))
    tiles = list(read_polygons(tmp_path / "a-slide.geojson.gz"))
    # A mark goes before a cluster.
    unmarked = [one for one, row in zip(tiles, rows, strict=True) if not row["mark"]]
    merged = [one for one in unmarked if one.measurements["cluster"] in (1, 2)]
    assert {one.classification for one in merged} == {"=stroma"}
    assert {one.color for one in merged} == {(16, 32, 48)}
    assert {one.measurements["cluster"] for one in merged} == {1, 2}

    own.path.write_text('{"legends": 1}', encoding="utf-8")
    out = tmp_path / "out"
    result = verb("export", project=root, format="csv", out=str(out))
    assert "legend.json names other clusters" in result["failures"][0]["message"]
    assert not list(out.glob("*.csv"))
