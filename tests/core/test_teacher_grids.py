"""The patches of slide encoders: those that others cut for them, and those that are there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch import Tensor

from src_core.embeddings.extract import load_slide_embedding
from src_core.encoders import (
    encoder_card,
    register_encoder,
    registry,
    remote_code,
    remote_slides,
)
from src_core.encoders.remote_code import agree
from src_core.patches.lattice import Lattice
from src_core.progress import ignore, never
from src_core.project import Project, SlideFolder
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.teacher_grids import fits
from src_core.verbs import run_verb

MPP = 0.2527
"""Of an Aperio at 40x; half of it, 20x, is 0.5054."""


def run(verb: str, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=ignore, stop=never)


@pytest.fixture
def like_titan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TITAN's code be agreed to, and be a mean."""

    class Mean:
        def to(self, device: Any) -> Mean:
            return self

        def encode_slide_from_patch_features(self, rows: Tensor, *_: Any) -> Tensor:
            return rows.mean(dim=1)

    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(tmp_path / "trusted.json"))
    monkeypatch.setattr(remote_code, "version", lambda _: "4.57.6")
    monkeypatch.setattr(remote_slides, "load_remote_model", lambda card: Mean())
    agree(encoder_card("titan"))


@pytest.mark.parametrize(
    ("mpp", "patch_px", "overlap", "expected"),
    [
        (0.5, 512, 0.0, True),
        (0.5054, 512, 0.0, True),
        (0.45, 512, 0.0, True),
        (0.55, 512, 0.0, True),
        (0.449, 512, 0.0, False),
        (0.56, 512, 0.0, False),
        (0.5, 256, 0.0, False),
        (0.5, 511, 0.0, False),
        (0.5, 512, 1.0, False),
    ],
)
def test_a_scale_may_be_a_tenth_off_and_nothing_else(
    mpp: float, patch_px: int, overlap: float, expected: bool
) -> None:
    side = patch_px * mpp / 0.25
    lattice = Lattice((0.0, 0.0), side - overlap, side, (9, 9), patch_px, mpp, 0.25)
    assert fits(encoder_card("titan"), lattice) == expected


def test_titan_reads_the_patches_that_trident_cut_for_it(tmp_path: Path, like_titan: None) -> None:
    slide_file, root = tmp_path / "a.tiff", str(tmp_path / "p")
    write_sample_slide(slide_file, SyntheticSlide(size_px=(3072, 3072), mpp=MPP, seed=1))
    run("prepare", project=root, slides=[str(slide_file)], encoders=["texture"], embed=False)
    corners = np.array([[0, 0], [1024, 0], [0, 1024], [1024, 1024]])
    rows = np.random.default_rng(0).normal(size=(4, 768)).astype(np.float32)
    about = {"patch_size": 512, "patch_size_level0": 1024, "level0_magnification": 40}
    about |= {"target_magnification": 20, "overlap": 0, "level0_width": 3072, "level0_height": 3072}
    path = tmp_path / "20x_512px_0px_overlap" / "features_conch_v15" / "a.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = rows, corners
        file["features"].attrs.update({"name": "a", "encoder": "conch_v15"})
        file["coords"].attrs.update({**about, "name": "a"})
    assert run("import", project=root, files=[str(path)])["failures"] == []
    project = Project.open(root)
    slide = project.slides()[0]
    grid = slide.load_grid()
    assert grid.lattice.mpp == pytest.approx(2 * MPP, rel=1e-6)

    result = run("prepare", project=root, teachers=["titan"], device="cpu")
    assert result["failures"] == []
    vector, meta = load_slide_embedding(slide.slide_embedding("titan"))
    assert meta["grid_id"] == grid.grid_id
    assert len(list((slide.root / "lattices").iterdir())) == 1, "no second grid is laid"
    np.testing.assert_allclose(vector, rows.mean(axis=0), atol=2e-3)


COARSE = "coarse-texture"
"""Reads texture on patches of 224 px at 1.0 µm a pixel."""


def coarse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> SlideFolder:
    """Prepare a slide by a teacher with patches of its own."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    card = encoder_card("mean-texture")
    card = dataclasses.replace(card, name=COARSE, own_lattice=True, patch_px=224, mpp=1.0)
    register_encoder(card, loader="src_core.encoders.slide_encoders:load_mean")
    path, root = tmp_path / "a.tiff", tmp_path / "p"
    write_sample_slide(path, SyntheticSlide(size_px=(1792, 1792), seed=1))
    options |= {"encoders": ["texture"], "teachers": [COARSE], "device": "cpu"}
    assert run("prepare", project=str(root), slides=[str(path)], **options)["failures"] == []
    return Project.open(root).slides()[0]


@pytest.mark.parametrize("max_patches", [None, 3])
def test_a_slide_that_a_teacher_has_done_may_be_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_patches: int | None
) -> None:
    slide = coarse(tmp_path, monkeypatch, max_patches=max_patches)
    before = load_slide_embedding(slide.slide_embedding(COARSE))
    (tmp_path / "a.tiff").rename(tmp_path / "unplugged.tiff")
    assert run("prepare", project=str(tmp_path / "p"), device="cpu")["failures"] == []
    again = load_slide_embedding(slide.slide_embedding(COARSE))
    assert again[1] == before[1]
    changed = {"project": str(tmp_path / "p"), "set": ["grid.min_tissue=0.7"], "device": "cpu"}
    (failure,) = run("prepare", **changed)["failures"]
    assert "no longer at" in failure["message"], "other patches are read from the slide"


def test_a_teachers_grid_that_is_damaged_is_laid_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = coarse(tmp_path, monkeypatch)
    (meta,) = slide.root.glob("teacher_grids/*/meta.json")
    sound = meta.read_bytes()
    meta.write_text("{}")
    assert run("prepare", project=str(tmp_path / "p"), device="cpu")["failures"] == []
    assert meta.read_bytes() == sound


def test_a_card_without_a_scale_fits_no_lattice() -> None:
    card = dataclasses.replace(encoder_card("mean-texture"), mpp=None)
    lattice = Lattice((0.0, 0.0), 256.0, 256.0, (9, 9), card.patch_px, 0.5, 0.5)
    assert not fits(card, lattice)
