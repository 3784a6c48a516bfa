"""Teachers over slides: each on its own patches, what is stored kept, one failure alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src_core import teachers
from src_core.cohorts import load_cohort
from src_core.embeddings.extract import embed_patches, load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import (
    encoder_card,
    register_encoder,
    registry,
    remote_code,
    remote_slides,
)
from src_core.encoders.remote_code import agree
from src_core.encoders.slide_encoders import MeanSlideEncoder
from src_core.errors import (
    ConfigError,
    EncoderScaleError,
    GridMismatchError,
    JobCancelled,
    ProjectError,
    UnknownEncoderError,
)
from src_core.patches.grid import Lattice, PatchGrid
from src_core.pipeline import embed_slides
from src_core.preparing import paint_tissue
from src_core.progress import Progress, ignore, never
from src_core.project import Project, SlideFolder
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.teacher_grids import check_lattice, thinned, uncovered
from src_core.teacher_imports import import_slide_embedding
from src_core.verbs import run_verb

COARSE = "coarse-texture"
"""Reads texture on patches of 224 px at 1.0 µm a pixel."""


def run(verb: str, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=ignore, stop=never)


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register `COARSE` for one test."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    card = dataclasses.replace(
        encoder_card("mean-texture"), name=COARSE, own_lattice=True, patch_px=224, mpp=1.0
    )
    register_encoder(card, loader="src_core.encoders.slide_encoders:load_mean")


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "a.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(1792, 1792), seed=1))
    return path


def prepared(tmp_path: Path, slide_file: Path, **options: Any) -> tuple[Project, SlideFolder, dict]:
    asked = {"encoders": ["texture"], "teachers": [COARSE, "mean-texture"], **options}
    root = str(tmp_path / "project")
    result = run("prepare", project=root, slides=[str(slide_file)], device="cpu", **asked)
    project = Project.open(root)
    return project, project.slides()[0], result


def own_grid(slide: SlideFolder) -> PatchGrid:
    meta = load_slide_embedding(slide.slide_embedding(COARSE))[1]
    return PatchGrid.load(slide.grid(meta["grid_id"]))


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


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


def test_one_teacher_that_fails_leaves_the_others(tmp_path: Path, slide_file: Path) -> None:
    project, slide, result = prepared(
        tmp_path, slide_file, teachers=["chief", "titan", COARSE, "mean-texture"]
    )
    messages = [one["message"] for one in result["failures"]]
    assert len(messages) == 2
    assert "chief is not run here" in messages[0]
    assert "titan" in messages[1]
    for name in (COARSE, "mean-texture"):
        assert (slide.slide_embedding(name) / "meta.json").is_file()
    assert slide.load_grid()
    assert project.config.teachers == ("chief", "titan", COARSE, "mean-texture")


def test_an_import_is_kept_and_is_learned_from(tmp_path: Path, slide_file: Path) -> None:
    project, slide, _ = prepared(tmp_path, slide_file, teachers=["mean-texture"])
    source = tmp_path / "theirs.h5"
    source.write_bytes(b"numbers")
    vector: Any = np.linspace(-1, 1, 768)
    folder = import_slide_embedding(slide, "titan", vector[None], source)
    stored, meta = load_slide_embedding(folder)
    np.testing.assert_array_equal(stored, vector.astype(np.float32))
    digest = hashlib.sha256(b"numbers").hexdigest()
    assert meta["imported"] == {"file": "theirs.h5", "sha256": digest, "tool": None}
    before = files(folder)
    _, _, result = prepared(tmp_path, slide_file, teachers=["titan", "mean-texture"])
    assert result["failures"] == [], "titan needs no code, no consent and no grid of its own"
    assert files(folder) == before

    run("cluster", project=str(project.root), n_clusters=2)
    table = tmp_path / "labels.csv"
    table.write_text(f"slide_id,path,label\n{slide.slide_id},{slide_file},yes\nb,b.tiff,no\n")
    project.import_labels(table)
    cohort, _ = load_cohort(Project.open(project.root), "label")
    np.testing.assert_array_equal(cohort.slides[0].teachers["titan"], stored)


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(767, np.float32),
        np.zeros((2, 768), np.float32),
        np.zeros(768, np.int32),
        np.full(768, np.nan),
        np.full(768, 1e300),
        np.zeros(0),
    ],
)
def test_what_is_no_embedding_of_the_encoder_is_not_imported(
    tmp_path: Path, slide_file: Path, vector: Any
) -> None:
    slide = Project.create(tmp_path / "p").add_slide(slide_file)
    with pytest.raises(ProjectError, match=r"not the 768 finite numbers"):
        import_slide_embedding(slide, "titan", vector, slide_file)
    with pytest.raises(ProjectError, match="name the slide encoder"):
        import_slide_embedding(slide, "texture", vector, slide_file)
    assert not (slide.root / "slide_embeddings").exists()


def test_memory_is_asked_for_before_anything_is_embedded(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "_free_bytes", lambda _: 4 * 3 * 8 * 2560)
    _, slide, result = prepared(tmp_path, slide_file, teachers=[COARSE])
    (failure,) = result["failures"]
    assert "set max_patches to 4 or less" in failure["message"]
    assert "import its embedding" in failure["message"]
    assert (failure["teacher"], failure["max_patches"]) == (COARSE, 4)
    assert len(list((slide.root / "lattices").iterdir())) == 1
    _, slide, result = prepared(tmp_path, slide_file, teachers=[COARSE], max_patches=4)
    assert result["failures"] == []


def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the coarse teacher and its patch encoder be networks, of 3 and 2 MB."""
    patches = dataclasses.replace(encoder_card("texture"), name="heavy", parameters_m=0.5)
    register_encoder(patches, loader="src_core.encoders.texture:load_texture")
    teacher = dataclasses.replace(
        encoder_card(COARSE), name="heavy-teacher", patch_encoder="heavy", download_mb=3
    )
    register_encoder(teacher, loader="src_core.encoders.slide_encoders:load_mean")


@pytest.mark.parametrize(
    ("left", "told", "most"),
    [
        (4 * 3 * 8 * 2560, "set max_patches to 4 or less, import its embedding", 4),
        (0, "too little for a single patch; close other programs, choose another device", 0),
        (-1_000_000, "too little for a single patch; close other programs", 0),
    ],
)
def test_weights_that_are_still_to_be_loaded_take_memory_too(
    tmp_path: Path,
    slide_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    told: str,
    most: int,
) -> None:
    heavy(monkeypatch)
    monkeypatch.setattr(teachers, "_free_bytes", lambda _: 5_000_000 + left)
    loaded: list[str] = []
    plain = registry.create_encoder

    def create(name: str, **options: Any) -> Any:
        loaded.append(name)
        return plain(name, **options)

    monkeypatch.setattr(teachers, "create_encoder", create)
    _, slide, result = prepared(tmp_path, slide_file, teachers=["heavy-teacher"])
    (failure,) = result["failures"]
    assert told in failure["message"]
    assert "of it for the weights of heavy-teacher and heavy) for the" in failure["message"]
    assert "max_patches to 0" not in failure["message"]
    assert (failure["teacher"], failure["max_patches"]) == ("heavy-teacher", most)
    assert loaded == []
    if most:
        done = prepared(tmp_path, slide_file, teachers=["heavy-teacher"], max_patches=most)[2]
        assert done["failures"] == []
        assert loaded == ["heavy-teacher", "heavy"]
        assert (slide.slide_embedding("heavy-teacher") / "meta.json").is_file()


def test_what_is_loaded_or_embedded_already_needs_no_memory_for_weights(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy(monkeypatch)
    project, slide, result = prepared(tmp_path, slide_file, teachers=["heavy-teacher"])
    assert result["failures"] == []
    slide.slide_embedding("heavy-teacher").joinpath("meta.json").unlink()
    grid = teachers.Teachers(project.config, "cpu")._grid(slide, encoder_card("heavy-teacher"))[0]
    enough = 3_000_000 + len(grid) * 3 * 8 * 2560
    for free, is_enough in ((enough, True), (enough - 1, False)):
        slide.slide_embedding("heavy-teacher").joinpath("meta.json").unlink(missing_ok=True)
        monkeypatch.setattr(teachers, "_free_bytes", lambda _, free=free: free)
        done = embed_slides(project, [slide], device="cpu", report=ignore, stop=never)
        assert (done.failures == []) == is_enough, "the patches are there, their encoder is not"


def test_what_torch_holds_and_does_not_use_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "pick_device", lambda _: torch.device("cuda"))
    held = {"mem_get_info": (1000, 9000), "memory_reserved": 700, "memory_allocated": 200}
    for name, value in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert teachers._free_bytes("cuda") == 1500


def test_a_mean_is_not_helped_by_fewer_patches(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "_free_bytes", lambda _: 4 * 3 * 8 * 2560)
    _, _, result = prepared(tmp_path, slide_file, teachers=["mean-texture"])
    (failure,) = result["failures"]
    assert "max_patches" not in failure["message"]
    assert "close other programs" in failure["message"]
    assert failure["max_patches"] == 0, "which the window does not offer"


@pytest.mark.parametrize("calls", [0, 2, 4])
def test_a_stop_is_heard_and_the_next_run_goes_on(
    tmp_path: Path, slide_file: Path, calls: int
) -> None:
    project, slide, _ = prepared(tmp_path, slide_file, teachers=["mean-texture"])
    project = project.reconfigured(project.config.replace(teachers=[COARSE]))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    with pytest.raises(JobCancelled):
        embed_slides(project, [slide], device="cpu", report=ignore, stop=stop)
    assert not (slide.slide_embedding(COARSE) / "meta.json").exists()
    seen: list[Progress] = []
    done = embed_slides(project, [slide], device="cpu", report=seen.append, stop=never)
    assert done.failures == []
    assert seen[-1].stage == "Embedding the slide"
    assert seen[-1].detail == COARSE
    assert load_slide_embedding(slide.slide_embedding(COARSE))[0].shape == (91,)


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


def test_names_are_checked_before_any_work(tmp_path: Path, slide_file: Path) -> None:
    with pytest.raises(ConfigError, match="add that encoder"):
        prepared(tmp_path, slide_file, teachers=["mean-lite0"])
    with pytest.raises(ConfigError, match="is a patch encoder"):
        prepared(tmp_path, slide_file, teachers=["lite0"])
    with pytest.raises(UnknownEncoderError):
        prepared(tmp_path, slide_file, teachers=["titian"])
    assert not (tmp_path / "project").exists()


def test_consent_is_an_option_of_prepare(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "trusted.json"
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(listed))
    prepared(tmp_path, slide_file, teachers=["mean-texture"], trust_remote_code=["titan"])
    assert json.loads(listed.read_text()) == {"titan": encoder_card("titan").revision}
    with pytest.raises(ConfigError, match="prism@COMMIT"):
        prepared(tmp_path, slide_file, trust_remote_code=["prism"])


def test_what_lacked_consent_is_made_after_it_and_again_for_another_commit(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "trusted.json"
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(listed))
    monkeypatch.setattr(remote_code, "version", lambda _: "4.57.6")
    like_titan = dataclasses.replace(
        encoder_card(COARSE),
        name="titan",
        weights="hub:MahmoodLab/TITAN",
        repository="MahmoodLab/TITAN",
        revision="d" * 40,
    )
    loader = "src_core.encoders.remote_slides:load_titan"
    registry._entries["titan"] = registry._Entry(like_titan, loader)
    monkeypatch.setattr(remote_slides, "load_remote_model", lambda card: None)
    monkeypatch.setattr(
        remote_slides, "TitanSlideEncoder", lambda card, model, *, device: MeanSlideEncoder(card)
    )

    def made_at() -> str:
        meta = load_slide_embedding(slide.slide_embedding("titan"))[1]
        return str(meta["encoder"]["weights"])

    _, slide, result = prepared(tmp_path, slide_file, teachers=["titan"])
    assert "agree to it (trust_remote_code titan)" in result["failures"][0]["message"]
    assert not slide.slide_embedding("titan").exists()
    for commit in ("d" * 40, "e" * 40):
        agree(encoder_card("titan"), commit)
        assert prepared(tmp_path, slide_file, teachers=["titan"])[2]["failures"] == []
        assert made_at() == f"hub:MahmoodLab/TITAN@{commit}"
    listed.unlink()
    before = files(slide.slide_embedding("titan"))
    assert prepared(tmp_path, slide_file, teachers=["titan"])[2]["failures"] == []
    assert files(slide.slide_embedding("titan")) == before, "what is stored needs no code"


def test_an_encoder_that_is_only_imported_is_refused_until_it_was(
    tmp_path: Path, slide_file: Path
) -> None:
    with pytest.raises(ConfigError, match=r"hibou-b is not run here.*fusecpath import"):
        prepared(tmp_path, slide_file, encoders=["texture", "hibou-b"], teachers=[])
    assert not (tmp_path / "project").exists()
    project, slide, _ = prepared(tmp_path, slide_file, teachers=[])
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    recipe = {"encoder": "hibou-b", "imported": {"file": "a.h5"}}
    rows = np.ones((len(grid), 768), np.float32)
    writer = store.open_writer("hibou-b", recipe, 768)
    writer.append(grid.cells, rows)
    writer.commit()
    names = ["texture", "hibou-b"]
    assert prepared(tmp_path, slide_file, encoders=names, teachers=[])[2]["failures"] == []
    assert Project.open(project.root).config.encoders == tuple(names)


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
