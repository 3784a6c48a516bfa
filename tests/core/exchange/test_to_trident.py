"""What TRIDENT's folders get beside patches: slide features, and its own names of encoders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.patches.grid import PatchGrid
from src_core.project import Project
from tests.core.exchange.helpers import embedded, verb


@pytest.fixture
def taught(source: Project, tmp_path: Path) -> Project:
    """A copy of the source with a mean, embeddings under UNI's name, and two imports."""
    copy = Project.open(shutil.copytree(source.root, tmp_path / "taught"))
    result = verb("prepare", project=str(copy.root), teachers=["mean-texture"])
    assert not result["failures"]
    slide = copy.slides()[0]
    writer = EmbeddingStore(slide.embeddings(slide.load_grid().lattice_id)).open_writer(
        "uni", {"encoder": "uni", "imported": "clam"}, 1024
    )
    grid = slide.load_grid()
    writer.append(grid.cells, np.ones((len(grid), 1024), np.float32))
    writer.commit()
    for name in ("gigapath-slide", "theirs/own"):
        np.save(tmp_path / "a-slide.npy", np.linspace(0, 1, 768, dtype=np.float32) * len(name))
        files = [str(tmp_path / "a-slide.npy")]
        assert not verb("import", project=str(copy.root), files=files, encoder=name)["failures"]
    return Project.open(copy.root)


def exported(project: Project, out: Path) -> tuple[dict[str, Path], list[str]]:
    result = verb("export", project=str(project.root), format="trident", out=str(out))
    assert not result["failures"]
    files = [Path(one) for one in result["files"]["a-slide"]]
    return {path.parent.name: path for path in files}, result["notes"]


def test_slide_features_are_written_as_trident_writes_them(taught: Project, tmp_path: Path) -> None:
    files, notes = exported(taught, tmp_path / "job")
    assert set(files) == {
        "patches", "features_texture", "features_uni_v1", "slide_features_mean-texture",
        "slide_features_gigapath", "slide_features_theirs_own",
    }  # fmt: skip
    slide, (grid, _) = taught.slides()[0], embedded(taught)
    with h5py.File(files["features_uni_v1"]) as file:
        assert file["features"].attrs["encoder"] == "uni_v1"
    with h5py.File(files["features_texture"]) as file:
        about: dict[str, Any] = dict(file["coords"].attrs)
    with h5py.File(files["slide_features_mean-texture"]) as file:
        assert (file["features"].shape, file["features"].dtype) == ((91,), np.float32)
        stored = load_slide_embedding(slide.slide_embedding("mean-texture"))[0]
        np.testing.assert_array_equal(file["features"][:], stored)
        np.testing.assert_array_equal(file["coords"][:], grid.coords_xy)
        told = dict(file["coords"].attrs)
        assert told.pop("savetodir") == file["features"].attrs["savetodir"]
        assert told == {key: value for key, value in about.items() if key != "savetodir"}
        assert file["features"].attrs["name"] == "a-slide"
    for name, ours in (("gigapath", "gigapath-slide"), ("theirs_own", "theirs/own")):
        with h5py.File(files[f"slide_features_{name}"]) as file:
            assert list(file) == ["features"]
        assert f"a-slide: {ours} is written without coords" in " ".join(notes)


def test_they_come_in_again_under_their_own_names(
    taught: Project, target: Project, tmp_path: Path
) -> None:
    exported(taught, tmp_path / "job")
    result = verb("import", project=str(target.root), files=[str(tmp_path / "job")])
    assert result["failures"] == []
    assert {row["encoder"] for row in result["imported"]} == {
        "texture", "uni", "mean-texture", "gigapath-slide", "theirs/own",
    }  # fmt: skip
    assert result["encoders"] == ["texture", "uni"]
    there, here = taught.slides()[0], target.slides()[0]
    assert here.slide_encoders() == there.slide_encoders()
    for name in there.slide_encoders():
        one, other = (load_slide_embedding(each.slide_embedding(name))[0] for each in (there, here))
        np.testing.assert_array_equal(one, other)


def test_features_go_with_the_patches_that_their_encoder_has_read(
    taught: Project, tmp_path: Path
) -> None:
    """A teacher's own patches are of another scale than the project's."""
    slide = taught.slides()[0]
    grid = slide.load_grid()
    lattice = grid.lattice
    own = PatchGrid(
        type(lattice).from_dict({**lattice.to_dict(), "patch_px": 128, "mpp": lattice.mpp * 2}),
        grid.cells[:1],
        grid.tissue_id,
    )
    own.save(slide.grid(own.grid_id))
    meta = slide.slide_embedding("mean-texture") / "meta.json"
    meta.write_text(meta.read_text().replace(grid.grid_id, own.grid_id))
    files, _ = exported(taught, tmp_path / "job")
    path = files["slide_features_mean-texture"]
    assert path.parents[1].name == "10x_128px_0px_overlap"
    with h5py.File(path) as file:
        assert file["coords"].shape == (2,), "squeezed"
    result = verb("import", project=str(taught.root), files=[str(path)], encoder="again")
    assert result["failures"] == []


def test_what_is_damaged_is_left_out_with_a_note(taught: Project, tmp_path: Path) -> None:
    slide = taught.slides()[0]
    (slide.slide_embedding("mean-texture") / "embedding.npy").write_bytes(b"torn")
    files, notes = exported(taught, tmp_path / "job")
    assert "slide_features_mean-texture" not in files
    (note,) = (one for one in notes if "mean-texture" in one)
    assert note.startswith("a-slide: mean-texture is left out: ")
    assert note.count(".npy") == 1
