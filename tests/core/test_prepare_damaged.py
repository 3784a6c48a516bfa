"""`prepare` on slides of which some patches, or all, cannot be read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder, registry
from src_core.patches.grid import PatchGrid
from src_core.patches.unreadable import Unreadable
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.provenance import file_fingerprint
from src_core.verbs import run_verb
from tests.core.plain_slides import prepare, write_slides


@pytest.fixture(scope="module")
def slide_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_slides(tmp_path_factory.mktemp("slides"))


def _damage_tile(path: Path, *, level: int, x: int, y: int) -> None:
    """Overwrite a compressed tile of a TIFF file, as a bad disk would."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        across = -(-page.imagewidth // page.tilewidth)  # type: ignore[union-attr]
        index = y // page.tilelength * across + x // page.tilewidth  # type: ignore[union-attr]
        start, length = page.dataoffsets[index], page.databytecounts[index]  # type: ignore[union-attr]
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\0" * length)


def _jpeg_slide(path: Path, source: Path, *, is_pyramid: bool) -> None:
    """Write the pixels of a synthetic slide as JPEG tiles, with one coarse level or none."""
    with tifffile.TiffFile(source) as file:
        pixels = file.pages[0].asarray()
    with tifffile.TiffWriter(path) as writer:
        kwargs: Any = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb"}
        scale: Any = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
        writer.write(pixels, **kwargs, **scale)
        if is_pyramid:
            writer.write(pixels[::4, ::4], subfiletype=1, **kwargs)


def _inside_a_patch(root: Path) -> tuple[int, int]:
    slide = Project.open(root).slide("jpeg")
    grid = slide.load_grid()
    x, y = grid.coords_xy[len(grid) // 2].tolist()
    return x + 100, y + 100


def _as_it_is(root: Path) -> None:
    """Let the project know its slide by what the file holds now, be it damaged or mended."""
    for slide in Project.open(root).slides():
        slide.remember(fingerprint=file_fingerprint(root / slide.record.path))


@pytest.mark.parametrize("is_pyramid", [True, False])
def test_a_damaged_tile_costs_its_patches_and_is_told(
    slide_files: list[Path], tmp_path: Path, is_pyramid: bool
) -> None:
    path, root = tmp_path / "jpeg.tiff", tmp_path / "p"
    _jpeg_slide(path, slide_files[0], is_pyramid=is_pyramid)
    sound = path.read_bytes()
    prepared = prepare(root, path, embed=False)
    whole = prepared["patches"]["jpeg"]
    slide = Project.open(root).slide("jpeg")
    x, y = _inside_a_patch(root)
    _damage_tile(path, level=0, x=x, y=y)
    _as_it_is(root)
    result = prepare(root, encoders=["texture", "lite0"])
    assert result.pop("embedding")["patches"] > 0
    (failure,) = result["failures"]
    assert failure["slide_id"] == "jpeg"
    lost = result["unreadable"]["jpeg"]
    assert 1 <= lost <= 4
    assert failure["message"].startswith(f"{lost} patches cannot be read")
    assert str(path) in failure["message"]
    assert result["patches"]["jpeg"] == whole - lost
    grid = slide.load_grid()
    noted = Unreadable.load(slide.grid(grid.grid_id), grid)
    assert noted is not None
    corners = grid.lattice.corners(noted.cells)
    side = grid.lattice.patch_l0
    assert ((corners <= (x, y)) & (corners + side > (x, y))).all(axis=1).any(), "the very place"
    assert f"({corners[0][0]}, {corners[0][1]})" in failure["message"]
    flagged = result["flagged"]["jpeg"]
    assert flagged == prepared["flagged"]["jpeg"], "what cannot be read has no flaw"
    run_verb("cluster", {"project": str(root), "n_clusters": 2}, report=ignore, stop=never)
    clusters = slide.record.clusters_id
    assert clusters is not None, "what is behind works on the patches that are there"
    assert prepare(root, encoders=["texture", "lite0"]) == result, "told until it is mended"
    assert slide.record.clusters_id == clusters
    path.write_bytes(sound)
    _as_it_is(root)
    mended = prepare(root, encoders=["texture", "lite0"])
    assert (mended["failures"], mended["patches"]) == ([], {"jpeg": whole})
    assert "unreadable" not in mended
    grid = slide.load_grid()
    for name in ("texture", "lite0"):
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        assert len(store.view(name, grid.cells)) == whole


@pytest.mark.parametrize("teacher", ["mean-texture", "coarse-texture"])
def test_a_mean_is_of_the_patches_that_can_be_read(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: str
) -> None:
    """On the project's patches, and on those of 224 px at 1 µm that a teacher has for itself."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    card = dataclasses.replace(
        encoder_card("mean-texture"), name="coarse-texture", own_lattice=True, patch_px=224, mpp=1.0
    )
    register_encoder(card, loader="src_core.encoders.slide_encoders:load_mean")
    path, root = tmp_path / "jpeg.tiff", tmp_path / "p"
    _jpeg_slide(path, slide_files[0], is_pyramid=True)
    sound = path.read_bytes()
    prepare(root, path, embed=False)
    x, y = _inside_a_patch(root)
    _damage_tile(path, level=0, x=x, y=y)
    _as_it_is(root)

    def mean() -> tuple[PatchGrid, NDArray[np.float32]]:
        vector, meta = load_slide_embedding(slide.slide_embedding(teacher))
        grid = PatchGrid.load(slide.grid(meta["grid_id"]))
        rows = EmbeddingStore(slide.embeddings(grid.lattice_id)).view("texture", grid.cells).array()
        np.testing.assert_allclose(vector, rows.mean(axis=0, dtype=np.float64), rtol=1e-6)
        return grid, vector

    result = prepare(root, encoders=["texture"], teachers=[teacher])
    slide = Project.open(root).slide("jpeg")
    own = [one["message"] for one in result["failures"] if one["message"].startswith(teacher)]
    assert len(own) == int(teacher == "coarse-texture")
    assert all("cannot be read" in one["message"] for one in result["failures"])
    partly, vector = mean()
    corners, side = partly.coords_xy, partly.lattice.patch_l0
    assert not ((corners <= (x, y)) & (corners + side > (x, y))).all(axis=1).any()
    again = prepare(root, encoders=["texture"], teachers=[teacher])
    assert len(again["failures"]) == len(result["failures"]), "told until it is mended"
    mean()
    path.write_bytes(sound)
    _as_it_is(root)
    assert prepare(root, encoders=["texture"], teachers=[teacher])["failures"] == []
    whole, mended = mean()
    assert len(whole) > len(partly)
    assert not np.array_equal(mended, vector)


def test_a_slide_whose_pixels_cannot_be_read_at_all(
    shared_data: Path, slide_files: list[Path], tmp_path: Path
) -> None:
    """OpenSlide opens this file and fails to decode it."""
    bad = shared_data / "slides" / "openslide-python" / "unreadable.svs"
    if not bad.is_file():
        pytest.skip(f"{bad} is missing")
    table = tmp_path / "slides.csv"
    table.write_text(f"path,mpp\n{bad},0.5\n{slide_files[0]},\n")
    result = prepare(tmp_path / "p", table)
    assert list(result["patches"]) == ["s0"]
    (failure,) = result["failures"]
    assert "unreadable" in failure["message"]


@pytest.mark.parametrize(
    "cells", [3, [[1]], [[1, 2, 3]], [["1", "2"]], [[-1, 0]], [[0, 10**6]], [[True, 0]]]
)
def test_a_damaged_note_is_refused(slide_files: list[Path], tmp_path: Path, cells: Any) -> None:
    from src_core.errors import ProjectError

    prepare(tmp_path / "p", slide_files[0], embed=False)
    slide = Project.open(tmp_path / "p").slide("s0")
    grid = slide.load_grid()
    values = {"tissue_id": grid.tissue_id, "cells": cells, "reason": "x"}
    folder = slide.grid(grid.grid_id)
    (folder / "unreadable.json").write_text(json.dumps(values))
    with pytest.raises(ProjectError, match=r"unreadable\.json is damaged"):
        Unreadable.load(folder, grid)
    (folder / "unreadable.json").write_text(json.dumps({**values, "tissue_id": "other"}))
    assert Unreadable.load(folder, grid) is None, "of another mask"


def test_what_is_left_out_and_taken_back_is_the_same_grid(
    slide_files: list[Path], tmp_path: Path
) -> None:
    prepare(tmp_path / "p", slide_files[0], embed=False)
    grid = Project.open(tmp_path / "p").slide("s0").load_grid()
    some = grid.cells[[0, 3, len(grid) - 1]]
    less = grid.without(some)
    assert len(less) == len(grid) - 3
    assert less.grid_id != grid.grid_id
    assert less.joined(some).grid_id == less.joined(np.flip(some, axis=0)).grid_id == grid.grid_id


def test_tissue_is_found_around_damage(slide_files: list[Path], tmp_path: Path) -> None:
    """A slide of one level, damaged before anything is known of it: each tile is read twice."""
    path, root = tmp_path / "jpeg.tiff", tmp_path / "p"
    _jpeg_slide(path, slide_files[0], is_pyramid=False)
    sound = prepare(tmp_path / "sound", path, embed=False)
    x, y = _inside_a_patch(tmp_path / "sound")
    _damage_tile(path, level=0, x=x, y=y)
    result = prepare(root, path)
    (failure,) = result["failures"]
    assert "patches cannot be read" in failure["message"]
    lost = result["unreadable"]["jpeg"]
    assert 1 <= lost <= 4
    assert result["patches"]["jpeg"] + lost >= sound["patches"]["jpeg"]
    mask = Project.open(root).slide("jpeg").load_tissue()
    assert 0 < mask.recipe["unreadable_px"] < 0.1 * mask.mask.size
