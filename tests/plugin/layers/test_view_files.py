"""Where the user looked last, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_fusecpath.layers.view import View
from napari_fusecpath.layers.view_files import (
    load_last_slide,
    load_view,
    store_last_slide,
    store_view,
    view_file,
)

VIEW = View((1234.5, -6.0), 0.25)


def test_a_view_comes_back_for_its_slide_only(tmp_path: Path) -> None:
    slide = tmp_path / "Jane Doe.svs"
    assert load_view(slide) is None
    store_view(slide, VIEW)
    assert load_view(slide) == VIEW
    assert load_view(tmp_path / "other.svs") is None
    (file,) = view_file(slide).parent.iterdir()
    assert "Jane" not in file.name + file.read_text()


def test_the_slide_comes_back_for_its_project_only(tmp_path: Path) -> None:
    project, ids = tmp_path / "project", ["Jane Doe", "other"]
    assert load_last_slide(project, ids) is None
    store_last_slide(project, "Jane Doe")
    assert load_last_slide(project, ids) == "Jane Doe"
    assert load_last_slide(project, ["other"]) is None, "it is there no more"
    assert load_last_slide(tmp_path / "another", ids) is None
    assert "Jane" not in view_file(project).read_text()
    for text in ("", "[]", "{}", '{"slide": ["Jane Doe"]}', '{"slide": "' + 5000 * "x" + '"}'):
        view_file(project).write_text(text)
        assert load_last_slide(project, ids) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"center_xy": [1, 2], "l0_per',
        '{"center_xy": [1, 2]}',
        '{"center_xy": 3, "l0_per_px": 1}',
        '{"center_xy": [1, 2], "l0_per_px": 0}',
        '{"center_xy": [1, 2], "l0_per_px": 1e-320}',
        '{"center_xy": [1, 2], "l0_per_px": 1e300}',
        '{"center_xy": [1, ' + "9" * 400 + '], "l0_per_px": 1}',
        '{"center_xy": [1e999, 2], "l0_per_px": 1}',
        '{"center_xy": [1, "x"], "l0_per_px": 1}',
        '{"center_xy": [1, 2], "l0_per_px": 1' + " " * 5000 + "}",
    ],
)
def test_a_damaged_file_is_no_view(tmp_path: Path, text: str) -> None:
    slide = tmp_path / "a.svs"
    store_view(slide, VIEW)
    view_file(slide).write_text(text)
    assert load_view(slide) is None


def test_a_folder_that_takes_nothing_costs_only_the_memory(tmp_path: Path) -> None:
    slide = tmp_path / "a.svs"
    view_file(slide).parent.parent.mkdir(parents=True)
    view_file(slide).parent.write_text("a file, where the folder should be")
    store_view(slide, VIEW)
    store_last_slide(slide, "a")
    assert load_view(slide) is None
    assert load_last_slide(slide, ["a"]) is None
