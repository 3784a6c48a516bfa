"""The patches that a teacher has for itself: on which lattice, how many, and where."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core import teachers
from src_core.embeddings.extract import embed_patches, load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder
from src_core.errors import EncoderScaleError, GridMismatchError
from src_core.patches.grid import Lattice, PatchGrid
from src_core.pipeline import embed_slides
from src_core.preparing import paint_tissue
from src_core.progress import ignore, never
from src_core.teacher_grids import check_lattice, thinned, uncovered
from tests.core.coarse_teacher import (
    COARSE,
    files,
    own_grid,
    prepared,
    register_coarse,
    write_slide,
)


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    register_coarse(monkeypatch)


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides"))


def test_a_teacher_has_a_grid_of_its_own_beside_the_projects(
    tmp_path: Path, slide_file: Path
) -> None:
    _, slide, result = prepared(tmp_path, slide_file, encoders=["texture", "lite0"])
    assert result["failures"] == []
    grid, own = slide.load_grid(), own_grid(slide)
    assert own.lattice_id != grid.lattice_id
    assert (own.lattice.patch_px, own.lattice.mpp, own.lattice.patch_l0) == (224, 1.0, 448)
    assert own.tissue_id == grid.tissue_id
    store = EmbeddingStore(slide.embeddings(own.lattice_id))
    assert store.encoders() == ("texture",), "only what the teacher reads is embedded there"
    vector, meta = load_slide_embedding(slide.slide_embedding(COARSE))
    rows = store.view("texture", own.cells).array()
    np.testing.assert_allclose(vector, rows.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert meta["grid_id"] == own.grid_id
    mean, meta = load_slide_embedding(slide.slide_embedding("mean-texture"))
    assert meta["grid_id"] == grid.grid_id
    here = EmbeddingStore(slide.embeddings(grid.lattice_id)).view("texture", grid.cells).array()
    np.testing.assert_allclose(mean, here.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert not np.allclose(mean, vector)

    before = files(slide.root)
    prepared(tmp_path, slide_file)
    after = files(slide.root)
    changed = {name for name in after if before.get(name) != after[name]}
    assert not any("lattices" in one or "slide_embeddings" in one for one in changed), changed
    assert {name: content for name, (_, content) in before.items()} == {
        name: content for name, (_, content) in after.items()
    }


def test_a_painted_mask_embeds_only_new_patches(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, slide, _ = prepared(tmp_path, slide_file, teachers=[COARSE])
    old = own_grid(slide)
    mask = slide.load_tissue()
    grown = mask.mask.copy()
    grown[: len(grown) // 2] = True
    paint_tissue(project, slide, mask.edited(grown))
    read: list[int] = []
    embed = embed_patches

    def count(reader: Any, grid: Any, encoders: Any, store: Any, **options: Any) -> Any:
        read.append(int(store.missing("texture", grid.cells).sum()))
        return embed(reader, grid, encoders, store, **options)

    monkeypatch.setattr(teachers, "embed_patches", count)
    embed_slides(project, [slide], device="cpu", report=ignore, stop=never)
    new = own_grid(slide)
    added = {tuple(cell) for cell in new.cells.tolist()} - {tuple(c) for c in old.cells.tolist()}
    assert read == [len(added)]
    assert 0 < len(added) < len(new)


def test_a_teacher_of_the_projects_own_lattice_reuses_its_embeddings(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = dataclasses.replace(encoder_card(COARSE), name="fine-texture", patch_px=256, mpp=0.5)
    register_encoder(card, loader="src_core.encoders.slide_encoders:load_mean")
    monkeypatch.setattr(teachers, "embed_patches", None)
    _, slide, result = prepared(tmp_path, slide_file, teachers=["fine-texture"])
    assert result["failures"] == []
    meta = load_slide_embedding(slide.slide_embedding("fine-texture"))[1]
    assert meta["grid_id"] == slide.record.grid_id
    assert len(list((slide.root / "lattices").iterdir())) == 1


def test_at_most_so_many_patches_spread_over_the_tissue(tmp_path: Path, slide_file: Path) -> None:
    _, slide, _ = prepared(tmp_path, slide_file, max_patches=4)
    few = own_grid(slide)
    assert len(few) == 4
    meta = load_slide_embedding(slide.slide_embedding(COARSE))[1]
    assert meta["max_patches"]["max_patches"] == 4
    store = EmbeddingStore(slide.embeddings(few.lattice_id))
    assert len(np.load(store.folder / "texture" / "cells.npy")) == 4, "no other is embedded"
    mean = load_slide_embedding(slide.slide_embedding("mean-texture"))[1]
    assert "max_patches" not in mean
    whole = slide.load_grid()
    assert len(thinned(whole, 10_000)) == len(whole)
    less = PatchGrid(whole.lattice, whole.cells[3:], whole.tissue_id)
    shared = np.array(
        [cell in thinned(whole, 9).cells.tolist() for cell in thinned(less, 9).cells.tolist()]
    )
    assert shared.sum() >= 6, "a mask that changes a little changes few of the chosen"


def test_grids_that_a_teacher_was_not_made_for_are_refused(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, slide, _ = prepared(tmp_path, slide_file, teachers=[COARSE])
    card, own = encoder_card(COARSE), own_grid(slide)
    check_lattice(card, own)
    for change in ({"mpp": 0.5}, {"patch_px": 256}, {"stride_l0": 224.0}):
        other = dataclasses.replace(own.lattice, **change)
        with pytest.raises(EncoderScaleError, match=r"224 px at 1\.0 µm"):
            check_lattice(card, PatchGrid(other, own.cells, own.tissue_id))
    moved = dataclasses.replace(own, cells=own.cells)
    corners = own.coords_xy
    corners[1] += [448, 0]
    monkeypatch.setattr(PatchGrid, "coords_xy", property(lambda _: corners))
    with pytest.raises((GridMismatchError, EncoderScaleError)):
        check_lattice(card, moved)


def test_a_teachers_own_patches_keep_to_the_region_of_interest(
    tmp_path: Path, slide_file: Path
) -> None:
    _, slide, _ = prepared(tmp_path, slide_file, teachers=[COARSE])
    whole = own_grid(slide)
    x, y = (int(one) for one in whole.coords_xy[len(whole) // 2])
    ring = [[x, y], [x + 460, y], [x + 460, y + 460], [x, y + 460], [x, y]]
    outline = tmp_path / "roi.geojson"
    outline.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    _, slide, result = prepared(tmp_path, slide_file, teachers=[COARSE], roi=str(outline))
    assert result["failures"] == []
    inside, meta = own_grid(slide), load_slide_embedding(slide.slide_embedding(COARSE))[1]
    assert inside.coords_xy.tolist() == [[x, y]]
    assert meta["roi_id"] == slide.record.roi_id
    _, slide, _ = prepared(tmp_path, slide_file, teachers=[COARSE], whole_slide=True)
    assert own_grid(slide).grid_id == whole.grid_id
    assert "roi_id" not in load_slide_embedding(slide.slide_embedding(COARSE))[1]


def test_a_teachers_own_patches_touch_the_region_where_glass_is_wanted_too(
    tmp_path: Path, slide_file: Path
) -> None:
    ring = [[100, 100], [500, 100], [500, 300], [100, 300], [100, 100]]
    outline = tmp_path / "roi.geojson"
    outline.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    options = {"teachers": [COARSE], "set": ["grid.min_tissue=0"], "roi": str(outline)}
    _, slide, result = prepared(tmp_path, slide_file, **options)
    assert result["failures"] == []
    assert slide.load_grid().coords_xy.tolist() == [[0, 0], [256, 0], [0, 256], [256, 256]]
    assert own_grid(slide).coords_xy.tolist() == [[0, 0], [448, 0]]


def test_a_teachers_own_patches_leave_out_what_flaws_exclude(
    tmp_path: Path, slide_file: Path
) -> None:
    _, slide, _ = prepared(tmp_path, slide_file, teachers=[COARSE])
    whole, candidates = own_grid(slide), slide.load_grid()
    corner = whole.coords_xy[0]
    under = np.abs(candidates.coords_xy + 128 - corner - 224).max(axis=1) < 224 + 128
    (folder,) = slide.grid(slide.record.candidates_id or "").glob("quality/*")
    measures = np.array(np.load(folder / "quality.npy"))
    measures[under, 1] = 1.0  # all of it under a pen
    np.save(folder / "quality.npy", measures)
    options = {"teachers": [COARSE], "set": ["quality.exclude=pen"]}
    _, slide, result = prepared(tmp_path, slide_file, **options)
    assert result["failures"] == []
    assert slide.load_grid().cells.tolist() == candidates.cells[~under].tolist()
    left = {tuple(one) for one in own_grid(slide).coords_xy.tolist()}
    assert tuple(corner.tolist()) not in left
    assert left
    assert "excluded" in load_slide_embedding(slide.slide_embedding(COARSE))[1]


@pytest.mark.parametrize(("stride", "patch"), [(256.0, 256.0), (128.0, 256.0), (512.0, 256.0)])
def test_a_patch_is_left_out_by_the_area_that_excluded_ones_cover(
    stride: float, patch: float
) -> None:
    lattice = Lattice((0.0, 0.0), stride, patch, (8, 8), 256, 0.5, 0.5)
    own = Lattice((0.0, 0.0), 512.0, 512.0, (2, 2), 512, 0.5, 0.5)
    cells = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.int32)
    grid = PatchGrid(own, cells, "t")

    def left(*excluded: tuple[int, int]) -> int:
        chosen = np.array(sorted(excluded, key=lambda cell: cell[::-1]), np.int32)
        return len(uncovered(grid, PatchGrid(lattice, chosen, "t")))

    truth = np.zeros((1024, 1024), bool)
    taken = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    for column, row in taken:
        x, y = int(column * stride), int(row * stride)
        truth[y : y + int(patch), x : x + int(patch)] = True
    shares = [truth[y : y + 512, x : x + 512].mean() for y in (0, 512) for x in (0, 512)]
    assert left(*taken) == sum(share <= 0.5 for share in shares)
