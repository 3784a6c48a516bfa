"""Three slides of synthetic tissue, and `prepare` with the options of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src_core.progress import ignore, never
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb

__all__ = ["prepare", "write_slides"]


def prepare(root: Path, *slides: Path, **options: Any) -> dict[str, Any]:
    given = {"project": str(root), "slides": [str(slide) for slide in slides]}
    given |= {"encoders": ["texture"], "device": "cpu", **options}
    return run_verb("prepare", given, report=options.pop("report", ignore), stop=never)


def write_slides(folder: Path) -> list[Path]:
    paths = [folder / f"s{number}.tiff" for number in range(3)]
    for number, path in enumerate(paths):
        write_sample_slide(path, SyntheticSlide(size_px=(1536, 1536), seed=number))
    return paths
