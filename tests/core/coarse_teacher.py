"""A slide encoder that reads patches of its own, and slides that it embeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from src_core.embeddings.extract import load_slide_embedding
from src_core.encoders import encoder_card, register_encoder, registry
from src_core.patches.grid import PatchGrid
from src_core.progress import ignore, never
from src_core.project import Project, SlideFolder
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb

__all__ = ["COARSE", "files", "own_grid", "prepared", "register_coarse", "run", "write_slide"]

COARSE = "coarse-texture"
"""Reads texture on patches of 224 px at 1.0 µm a pixel."""


def run(verb: str, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=ignore, stop=never)


def register_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register `COARSE` for one test."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    card = dataclasses.replace(
        encoder_card("mean-texture"), name=COARSE, own_lattice=True, patch_px=224, mpp=1.0
    )
    register_encoder(card, loader="src_core.encoders.slide_encoders:load_mean")


def write_slide(folder: Path) -> Path:
    path = folder / "a.tiff"
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
