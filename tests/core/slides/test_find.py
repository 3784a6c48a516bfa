from __future__ import annotations

from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.slides.find import find_slides


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, **options: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_slides(root, **options)]


def test_slides_at_any_depth_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.svs", "a.TIFF", "x/c.ndpi", "x/y/d.mrxs", "x/y/d/Slidedat.ini", "x/e.vms")
    make(tmp_path, "thumb.png", "x/e-1.jpg", "notes.csv", ".b.svs", ".trash/f.svs")
    assert found(tmp_path) == ["a.TIFF", "b.svs", "x/c.ndpi", "x/e.vms", "x/y/d.mrxs"]


def test_a_folder_of_dicom_files_and_a_zarr_are_one_slide_each(tmp_path: Path) -> None:
    make(tmp_path, "one/1.dcm", "one/2.DCM", "one/4.svs", "two.zarr/0/c.tiff", "three.svs")
    assert found(tmp_path) == ["three.svs", "one", "one/4.svs", "two.zarr"]
    assert found(tmp_path / "one") == [".", "4.svs"]
    assert found(tmp_path / "two.zarr") == ["."]


def test_a_project_and_links_to_folders_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.svs", "project/sample_slides/b.tiff")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert found(tmp_path, without=tmp_path / "project") == ["a.svs"]


def test_a_folder_without_slides_is_a_sentence(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    with pytest.raises(ProjectError, match=r"holds no slide \(\.bif"):
        find_slides(tmp_path)
