"""What an import says, refuses and passes over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from src_core.embeddings.extract import load_slide_embedding
from src_core.project import Project
from src_core.verbs import VERBS
from tests.core.exchange.helpers import embedded, verb, write_clam


def test_encoders_without_the_imported_patches_are_named(target: Project, features: Path) -> None:
    assert target.config.encoders == ("lite0", "texture")
    result = verb("import", project=str(target.root), files=[str(features)])
    (note,) = result["notes"]
    assert note.startswith("lite0 has no embeddings of the patches in use")
    assert note in VERBS["import"].describe(result).splitlines()
    remedy = note.removesuffix(".").partition("embed by all of ")[2].split()
    again = verb("prepare", project=str(target.root), encoders=remedy, device="cpu")
    assert not again["failures"]
    assert Project.open(target.root).config.encoders == ("texture", "lite0")
    assert verb("import", project=str(target.root), files=[str(features)])["notes"] == []


def write_vector(path: Path, value: float) -> Path:
    np.save(path, np.full(768, value, np.float32))
    return path


def write_stamp_cohort(path: Path, entries: dict[str, Any]) -> Path:
    """Write what STAMP 2.0 wrote: a dataset for each slide, and who made all of them."""
    with h5py.File(path, "w") as file:
        for name, vector in entries.items():
            file.create_dataset(name, data=vector)
        file.attrs.update(
            {"version": "2.1.0", "encoder": "mahmood-titan", "precision": "torch.float32"}
        )
    return path


def test_stamps_file_of_a_cohort_is_taken_slide_by_slide(target: Project, tmp_path: Path) -> None:
    vectors = {name: np.full(768, place, np.float32) for place, name in enumerate("ab")}
    path = write_stamp_cohort(
        tmp_path / "mahmood-titan-slide-0a1b2c3d.h5",
        {"a-slide": vectors["b"], "b-slide": vectors["a"]},
    )
    options: dict[str, Any] = {"project": str(target.root), "files": [str(path)]}
    result = verb("import", **options)
    assert result["failures"] == []
    (row,) = result["imported"]
    assert (row["slide_id"], row["tool"], row["encoder"]) == ("a-slide", "stamp", "titan")
    assert result["notes"] == [f"{path.name}: 1 of its 2 entries are of no slide here."]
    stored, meta = load_slide_embedding(target.slides()[0].slide_embedding("titan"))
    assert meta["imported"]["file"] == path.name
    np.testing.assert_array_equal(stored, vectors["b"])
    assert verb("import", **options, slide="a-slide")["notes"] == []
    (failure,) = verb("import", **options, format="clam")["failures"]
    assert "coords" in failure["message"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"patient-1": np.ones(768, "f4")}, "patient-1 and the like, and the project has none"),
        ({"a-slide": np.ones((2, 768), "f4")}, "a-slide is not one vector"),
        ({"a-slide": np.full(768, np.nan, "f4")}, "finite numbers"),
        ({"a-slide": np.ones(5, "f4")}, "not make that many"),
        ({"a-slide": np.ones(768, "i4")}, "a-slide is no embedding of a slide"),
        ({"a-slide": np.ones(768, "f4"), "a-slide.tiff": np.ones(768, "f4")}, "not clear which"),
    ],
)
def test_what_is_no_file_of_a_cohort_says_so(
    target: Project, tmp_path: Path, entries: dict[str, Any], words: str
) -> None:
    path = write_stamp_cohort(tmp_path / "mahmood-titan-slide-0a1b2c3d.h5", entries)
    result = verb("import", project=str(target.root), files=[str(path)])
    (failure,) = result["failures"]
    assert words in failure["message"]
    assert result["imported"] == []


def test_a_slides_embedding_is_not_replaced(target: Project, tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a-slide.npy", 1)
    options: dict[str, Any] = {
        "project": str(target.root), "files": [str(path)], "encoder": "titan",
    }  # fmt: skip
    assert not verb("import", **options)["failures"]
    folder = target.slides()[0].slide_embedding("titan")
    stored = {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}
    assert not verb("import", **options)["failures"]
    assert {one.name: one.stat().st_mtime_ns for one in folder.iterdir()} == stored
    write_vector(path, 2)
    (failure,) = verb("import", **options)["failures"]
    assert f"from another file; remove {folder} first" in failure["message"]
    assert load_slide_embedding(folder)[0][0] == 1
    (folder / "embedding.npy").write_bytes(b"torn")
    assert not verb("import", **options)["failures"], "what is damaged may be replaced"
    assert load_slide_embedding(folder)[0][0] == 2
    meta = json.loads((folder / "meta.json").read_text())
    del meta["imported"]
    (folder / "meta.json").write_text(json.dumps(meta))
    (failure,) = verb("import", **options)["failures"]
    assert "made here" in failure["message"]


@pytest.mark.parametrize("kind", ["slide", "patient"])
def test_the_embedding_of_a_patient_is_called_so(
    target: Project, tmp_path: Path, kind: str
) -> None:
    with h5py.File(tmp_path / "a-slide.h5", "w") as file:
        file["feats"] = np.ones(768, np.float32)
        file.attrs.update({"encoder": "titan", "feat_type": kind})
    result = verb("import", project=str(target.root), files=[str(tmp_path / "a-slide.h5")])
    assert not result["failures"]
    (row,) = result["imported"]
    told = ["it was made from all slides of a patient, not from this one alone"]
    assert list(row["notes"]) == (told if kind == "patient" else [])


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("name", ["cells.npy", "meta.json"])
def test_a_damaged_grid_is_passed_over_and_named(
    source: Project, features: Path, tmp_path: Path, name: str
) -> None:
    """The very grid that comes, as it is in use: it is written again."""
    copy = Project.open(shutil.copytree(source.root, tmp_path / "copy"))
    slide = copy.slides()[0]
    grid = slide.load_grid()
    spoil(slide.grid(grid.grid_id) / name)
    options = {"project": str(copy.root), "files": [str(features)]}
    result = verb("import", encoder="theirs", **options)
    assert not result["failures"]
    (note,) = result["imported"][0]["notes"]
    assert note.startswith("older patches were passed over: ")
    assert str(slide.grid(grid.grid_id) / name) in note
    assert slide.load_grid().grid_id == grid.grid_id
    np.testing.assert_array_equal(embedded(copy, "theirs")[1], embedded(source)[1])
    assert Project.open(copy.root).config.encoders == ("texture", "theirs")


def test_a_damaged_grid_of_another_slide_stops_no_import(
    target: Project, features: Path, slide_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tiff"
    other.write_bytes(slide_file.read_bytes() + b" ")
    slide = target.add_slide(other)
    verb("import", project=str(target.root), files=[str(features)], slide=slide.slide_id)
    path = slide.grid(slide.load_grid().grid_id) / "cells.npy"
    spoil(path)
    result = verb("import", project=str(target.root), files=[str(features)], encoder="mine")
    assert not result["failures"]
    (note,) = result["notes"]
    assert note.startswith(f"Slide {slide.slide_id!r}: {path} cannot be read")
    assert result["encoders"] == ["texture", "mine"], "its embeddings are still counted"


def test_new_settings_of_the_grid_say_what_moves_imported_patches(
    target: Project, features: Path
) -> None:
    verb("import", project=str(target.root), files=[str(features)])
    imported = target.slides()[0].load_grid().grid_id
    options = {"project": str(target.root), "embed": False}
    (failure,) = verb("prepare", set=["grid.patch_px=128"], **options)["failures"]
    assert failure["slide_id"] == "a-slide"
    assert "find the tissue again" in failure["message"]
    assert target.slides()[0].load_grid().grid_id == imported
    assert not verb("prepare", **options)["failures"], "it is said once"
    assert not verb("prepare", fresh_tissue=True, **options)["failures"]
    assert target.slides()[0].load_grid().lattice.patch_px == 128
    assert not verb("prepare", set=["grid.patch_px=256"], **options)["failures"]


@pytest.mark.parametrize("is_told", [True, False])
def test_clams_file_without_the_size_of_its_patches_says_what_they_are_taken_for(
    target: Project, tmp_path: Path, is_told: bool
) -> None:
    path = tmp_path / "clam" / "h5_files" / "a-slide.h5"
    coords = np.array([(256, 256), (512, 256), (512, 512), (256, 768)])
    write_clam(path, coords, np.ones((4, 8)), patch_size=256)
    if not is_told:
        (tmp_path / "clam" / "patches" / "a-slide.h5").unlink()
    result = verb("import", project=str(target.root), files=[str(path)], encoder="mine")
    assert not result["failures"]
    guesses = [one for one in result["imported"][0]["notes"] if "how large its patches are" in one]
    assert len(guesses) == (not is_told)
    for guess in guesses:
        assert "taken for 256 level-0 px" in guess
        assert guess in VERBS["import"].describe(result)


@pytest.mark.parametrize(
    "extractor", ["", "uni2", "STAMP-extract-v1.1.0_xiyuewang-ctranspath-7c998680"]
)
def test_an_encoder_that_is_guessed_is_named(
    target: Project, tmp_path: Path, extractor: str
) -> None:
    path = tmp_path / "ours" / "a-slide.h5"
    path.parent.mkdir()
    dim = 1536 if extractor == "uni2" else 768
    cells = np.array([(1, 1), (2, 1), (2, 2), (1, 3)])
    with h5py.File(path, "w") as file:
        file["coords"] = cells * 256.0
        file["feats"] = np.ones((4, dim), np.float16)
        file.attrs.update({"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224})
        if extractor:
            file.attrs["extractor"] = extractor
    result = verb("import", project=str(target.root), files=[str(path)])
    assert not result["failures"]
    (row,) = result["imported"]
    guessed = [note for note in row["notes"] if note.startswith("the file names no encoder")]
    if extractor:
        assert guessed == []
        assert row["encoder"] == ("uni2-h" if extractor == "uni2" else "ctranspath")
        return
    assert row["encoder"] == "ours"
    (note,) = guessed
    assert note.endswith("called as its folder is, ours; it may be given another name")
    named = verb("import", project=str(target.root), files=[str(path)], encoder="mine")
    assert not any("names no encoder" in note for note in named["imported"][0]["notes"])
