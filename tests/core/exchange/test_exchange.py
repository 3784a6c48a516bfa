"""Embeddings go out of one project and into another, through the files of other programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from src_core.clustering.result import load_clusters
from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.interchange.names import differences
from src_core.embeddings.store import EmbeddingStore
from src_core.embeddings.writer import EmbeddingWriter
from src_core.encoders import encoder_card
from src_core.errors import JobCancelled, ProjectError
from src_core.geojson import read_polygons
from src_core.project import Project
from src_core.verbs import VERBS, run_verb
from tests.core.exchange.helpers import embedded, verb, write_clam


def test_trident_there_and_back_is_the_same(source: Project, target: Project, features) -> None:
    assert features.parent.name == "features_texture"
    result = verb("import", project=str(target.root), files=[str(features.parents[2])])
    assert not result["failures"]
    assert result["encoders"] == ["texture"]
    (row,) = result["imported"]
    assert (row["tool"], row["encoder"], row["displacement_px"]) == ("trident", "texture", 0)
    grid, numbers = embedded(source)
    again, same = embedded(target)
    assert again.grid_id == grid.grid_id
    np.testing.assert_array_equal(again.coords_xy, grid.coords_xy)
    np.testing.assert_array_equal(same, numbers)
    verb("cluster", project=str(target.root))
    here, there = (load_clusters(p.slides()[0].current_clusters())[0] for p in (source, target))
    np.testing.assert_array_equal(here, there)


def test_the_file_is_what_trident_writes(source: Project, features: Path) -> None:
    grid, numbers = embedded(source)
    lattice = grid.lattice
    for path in (features, features.parents[1] / "patches" / "a-slide_patches.h5"):
        with h5py.File(path) as file:
            about = dict(file["coords"].attrs)
            assert file["coords"].dtype == np.int64
            np.testing.assert_array_equal(file["coords"][:], grid.coords_xy)
    assert set(about) == {
        "patch_size", "patch_size_level0", "level0_magnification", "target_magnification",
        "overlap", "level0_width", "level0_height", "name", "savetodir",
    }  # fmt: skip
    assert about["patch_size"] == 256
    side = about["patch_size_level0"]
    assert side == round(lattice.patch_l0) == 272
    assert about["level0_magnification"] == 20
    assert about["target_magnification"] == 20 * 256 / 272, "what TRIDENT reads 272 px by"
    assert (about["level0_width"], about["level0_height"]) == (2048, 1800)
    with h5py.File(features) as file:
        assert file["features"].chunks == (1, 91)
        assert file["features"].attrs["encoder"] == "texture"
        np.testing.assert_array_equal(file["features"][:], numbers)


def test_an_import_can_be_run_again_and_is_not_replaced(target, features: Path) -> None:
    first = verb("import", project=str(target.root), files=[str(features)])
    again = verb("import", project=str(target.root), files=[str(features)])
    assert {**again, "notes": []} == {**first, "notes": []}
    with h5py.File(features, "r+") as file:
        file["features"][0] = 7
    result = verb("import", project=str(target.root), files=[str(features)])
    assert "from another file" in result["failures"][0]["message"]
    assert embedded(target)[1][0, 0] != 7


def test_a_killed_import_goes_on_with_its_own_file_alone(
    target: Project, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of two files never meet under one name, wherever the first import was cut off."""
    other = tmp_path / "other" / "a-slide.h5"
    other.parent.mkdir()
    shutil.copy(features, other)
    with h5py.File(other, "r+") as file:
        file["features"][:] = 7

    def die(writer: EmbeddingWriter) -> None:
        if writer._held:
            writer.flush()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingWriter, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            verb("import", project=str(target.root), files=[str(features)])
    result = verb("import", project=str(target.root), files=[str(other)])
    assert "from another file; remove" in result["failures"][0]["message"]
    assert not verb("import", project=str(target.root), files=[str(features)])["failures"]
    with h5py.File(features) as file:
        np.testing.assert_array_equal(embedded(target)[1], file["features"][:])


def test_an_import_waits_for_a_run_that_writes_to_the_store(target, features: Path) -> None:
    verb("import", project=str(target.root), files=[str(features)])
    slide = target.slides()[0]
    folder = slide.embeddings(slide.load_grid().lattice_id)
    stages: list[str] = []
    options = {"project": str(target.root), "files": [str(features)]}
    with EmbeddingStore(folder).locked(), pytest.raises(JobCancelled):
        run_verb(
            "import", options,
            report=lambda progress: stages.append(progress.stage),
            stop=lambda: "Waiting for another run" in stages,
        )  # fmt: skip


@pytest.mark.parametrize("encoder", ["uni", "ctranspath", "mine"])
def test_what_was_imported_is_prepared_without_weights(
    source: Project, target: Project, features: Path, tmp_path: Path, encoder: str
) -> None:
    """By a gated encoder, one that is not built here, and one of which there is only the name."""
    theirs = tmp_path / "theirs" / "a-slide.h5"
    dim = encoder_card(encoder).dim if encoder != "mine" else 5
    with h5py.File(features) as file:
        side = int(file["coords"].attrs["patch_size_level0"])
        coords = file["coords"][:-2] + 16  # on no lattice of this program's own
    numbers = np.arange(len(coords) * dim).reshape(-1, dim) % 97
    write_clam(tmp_path / "theirs" / "h5_files" / theirs.name, coords, numbers, patch_size=side)
    result = verb(
        "import", project=str(target.root), files=[str(theirs.parent)], encoder=encoder
    )  # fmt: skip
    assert not result["failures"]
    slide = target.slides()[0]
    imported = slide.load_grid()
    for options in ({}, {"set": ["tissue.mpp=16"]}, {}):
        again = verb("prepare", project=str(target.root), **options)
        assert not again["failures"]
        assert slide.load_grid().grid_id == imported.grid_id
        assert again["patches"] == {"a-slide": len(coords)}
    own = verb("prepare", project=str(target.root), fresh_tissue=True, embed=False)
    assert not own["failures"]
    assert slide.load_grid().lattice_id == source.slides()[0].load_grid().lattice_id


def test_the_name_of_a_slide_encoder_is_refused_for_patches(target, features: Path) -> None:
    result = verb("import", project=str(target.root), files=[str(features)], encoder="mean-texture")
    assert "mean-texture reads whole slides" in result["failures"][0]["message"]


def test_an_encoder_that_trident_shows_other_colours_is_noted(target, features: Path) -> None:
    with h5py.File(features, "r+") as file:
        del file["features"]
        file["features"] = np.ones((len(file["coords"]), 384), np.float32)
        file["features"].attrs["encoder"] = "lunit-vits8"
    (row,) = verb("import", project=str(target.root), files=[str(features)])["imported"]
    assert row["encoder"] == "lunit-vits8"
    assert any("scales the colours" in note for note in row["notes"])
    assert differences("lunit-vits8", tool="stamp") == differences("uni", tool="trident") == ()


@pytest.mark.parametrize("form", ["trident", "anndata"])
def test_an_encoder_that_lacks_patches_is_left_out_with_a_note(
    source: Project, tmp_path: Path, form: str
) -> None:
    """Of two encoders by one file: AnnData has to have something to write."""
    if form == "anndata":
        pytest.importorskip("anndata")
    copy = Project.open(shutil.copytree(source.root, tmp_path / "copy"))
    slide = copy.slides()[0]
    store = slide.embeddings(slide.load_grid().lattice_id)
    shutil.copytree(store / "texture", store / "whole")
    path = store / "texture" / "cells.npy"
    np.save(path, np.load(path)[:-2])
    result = verb("export", project=str(copy.root), format=form, out=str(tmp_path / "out"))
    names = " ".join(result["files"]["a-slide"])
    assert "whole" in names
    assert "texture" not in names
    *others, note = result["notes"]
    assert note.startswith("a-slide: texture is left out, for 2 of ")
    assert note.endswith("have no embedding by it; run Embed.")
    assert note in VERBS["export"].describe(result).splitlines()
    told = [one.startswith("a-slide: the side of a patch is no whole") for one in others]
    assert told == [True] * (form == "trident")  # of patches of 272.34 px


def test_own_embeddings_are_never_mixed_with_imported_ones(source, features, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(source.root, copy)
    result = verb("import", project=str(copy), files=[str(features)])
    assert "were made here" in result["failures"][0]["message"]
    result = verb("import", project=str(copy), files=[str(features)], encoder="texture-trident")
    assert not result["failures"]
    assert result["encoders"] == ["texture", "texture-trident"]
    project = Project.open(copy)
    np.testing.assert_array_equal(embedded(project)[1], embedded(project, "texture-trident")[1])
    assert not verb("cluster", project=str(copy))["failures"]  # the two fuse


def test_two_tools_meet_on_one_lattice(target: Project, features: Path, tmp_path: Path) -> None:
    """TRIDENT's file, and one of some of its patches in another order as CLAM keeps them."""
    verb("import", project=str(target.root), files=[str(features)])
    with h5py.File(features) as file:
        coords = file["coords"][:][::-1][:-3]
        side = int(file["coords"].attrs["patch_size_level0"])
    clam = tmp_path / "clam" / "h5_files" / "a-slide.h5"
    write_clam(clam, coords, np.arange(len(coords) * 5).reshape(-1, 5), patch_size=side)
    result = verb("import", project=str(target.root), files=[str(clam)], encoder="mine")
    assert not result["failures"]
    assert result["imported"][0]["tool"] == "clam"
    assert result["encoders"] == ["texture", "mine"]
    grid, numbers = embedded(target, "mine")
    assert len(grid) == len(coords)
    order = {tuple(corner): row for row, corner in enumerate(coords.tolist())}
    rows = [order[tuple(corner)] for corner in grid.coords_xy.tolist()]
    np.testing.assert_array_equal(numbers[:, 0], np.array(rows) * 5)
    assert len(embedded(target)[0]) == len(grid)
    assert not verb("cluster", project=str(target.root))["failures"]


def test_a_whole_slides_embedding_comes_in(target: Project, tmp_path: Path) -> None:
    folder = tmp_path / "20x" / "slide_features_titan"
    folder.mkdir(parents=True)
    vector = np.linspace(0, 1, 768, dtype=np.float32)
    with h5py.File(folder / "a-slide.h5", "w") as file:
        file["features"] = vector
        file["coords"] = np.zeros((4, 2))
    np.save(tmp_path / "a-slide.npy", vector)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "a-slide.csv").write_text(",".join(map(str, vector)))
    for path, encoder in (
        (folder / "a-slide.h5", None),
        (tmp_path / "a-slide.npy", "mine"),
        (tmp_path / "csv" / "a-slide.csv", "other"),
    ):
        extra = {} if encoder is None else {"encoder": encoder}
        result = verb("import", project=str(target.root), files=[str(path)], **extra)
        assert not result["failures"]
        stored = target.slides()[0].slide_embedding(encoder or "titan")
        found, meta = load_slide_embedding(stored)
        np.testing.assert_array_equal(found, vector)
        assert meta["imported"]["file"] == path.name
    with h5py.File(folder / "a-slide.h5", "w") as file:
        file["features"] = np.empty(0, np.float32)
    result = verb("import", project=str(target.root), files=[str(folder)])
    assert "had no patches" in result["failures"][0]["message"]


def test_a_file_of_no_slide_is_a_failure_beside_the_others(target, features, tmp_path) -> None:
    stray = tmp_path / "stray" / "unknown.h5"
    stray.parent.mkdir()
    with h5py.File(features) as source, h5py.File(stray, "w") as file:
        source.copy("coords", file)
        source.copy("features", file)
        file["coords"].attrs["name"] = "unknown"
    result = verb("import", project=str(target.root), files=[str(stray), str(features)])
    assert len(result["imported"]) == 1
    (failure,) = result["failures"]
    assert failure["slide_id"] == "unknown.h5"
    assert "say which slide it is of" in failure["message"]
    result = verb(
        "import", project=str(target.root), files=[str(stray)], slide="a-slide", encoder="x"
    )
    assert not result["failures"]


def test_qupath_gets_a_tile_a_patch(source: Project, tmp_path: Path) -> None:
    slide = source.slides()[0]
    grid, _ = embedded(source)
    side = grid.lattice.patch_l0
    corner = [float(value) for value in grid.coords_xy[0]]
    slide.marks.add([(*corner, side, side)], label="tumour", reviewer="ada")
    result = verb("export", project=str(source.root), format="geojson", out=str(tmp_path))
    polygons = list(read_polygons(Path(result["files"][slide.slide_id][0])))
    labels = load_clusters(slide.current_clusters())[0]
    assert len(polygons) == len(grid)
    assert [one.measurements["cluster"] for one in polygons] == labels.tolist()
    assert polygons[0].classification == "tumour"
    assert polygons[1].classification == f"cluster {labels[1]}"
    np.testing.assert_array_equal(polygons[1].exterior[0], grid.coords_xy[1])
    np.testing.assert_allclose(polygons[1].exterior[2], grid.coords_xy[1] + side)


@pytest.mark.parametrize("form", ["geojson", "anndata", "figure"])
def test_a_run_that_is_not_there_is_an_error(source: Project, tmp_path: Path, form: str) -> None:
    with pytest.raises(ProjectError, match="has no run 'typo'; it has none"):
        verb("export", project=str(source.root), format=form, run="typo", out=str(tmp_path))


def test_anndata_reads_the_table(source: Project, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    result = verb("export", project=str(source.root), format="anndata", out=str(tmp_path))
    (path,) = result["files"]["a-slide"]
    table = anndata.read_h5ad(path)
    grid, numbers = embedded(source)
    np.testing.assert_array_equal(table.X, numbers)
    np.testing.assert_array_equal(table.obs[["col", "row"]], grid.cells)
    np.testing.assert_array_equal(table.obs[["x", "y"]], grid.coords_xy)
    middle = grid.coords_xy + grid.lattice.patch_l0 / 2
    np.testing.assert_allclose(table.obsm["spatial"], middle)
    labels = load_clusters(source.slides()[0].current_clusters())[0]
    assert table.obs["cluster"].astype(int).tolist() == labels.tolist()


def test_the_result_is_json(target: Project, features: Path) -> None:
    json.dumps(verb("import", project=str(target.root), files=[str(features)]))
