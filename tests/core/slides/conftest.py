"""Slides that are drawn once for all tests of the readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.slides.synthetic import write_square_slide


@pytest.fixture(scope="session")
def square_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1501 x 1103 px with levels 4 and 16, tissue from (300, 200) to (940, 712), mpp 0.5."""
    path = tmp_path_factory.mktemp("square") / "square.tiff"
    write_square_slide(path, size_px=(1501, 1103), square_xywh=(300, 200, 640, 512))
    return path


@pytest.fixture(scope="session")
def bounded_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1500 x 1100 px with the same tissue, scanned from level-0 pixel (2000, 4000) on."""
    path = tmp_path_factory.mktemp("bounded") / "bounded.scn"
    write_square_slide(path, square_xywh=(300, 200, 640, 512), bounds_xy=(2000, 4000))
    return path
