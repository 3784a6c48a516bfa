from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.slides import open_slide
from src_core.slides.find import find_slides, told


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, **options: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_slides(root, **options).slides]


def test_slides_at_any_depth_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.svs", "a.TIFF", "x/c.ndpi", "x/y/d.mrxs", "x/y/d/Slidedat.ini", "x/e.vms")
    make(tmp_path, "thumb.png", "x/e-1.jpg", "notes.csv", ".b.svs", ".trash/f.svs")
    assert found(tmp_path) == ["a.TIFF", "b.svs", "x/c.ndpi", "x/e.vms", "x/y/d.mrxs"]


def test_a_folder_of_dicom_files_and_a_zarr_are_one_slide_each(tmp_path: Path) -> None:
    make(tmp_path, "one/1.dcm", "one/2.DCM", "one/4.svs", "two.zarr/0/c.tiff", "three.svs")
    assert found(tmp_path) == ["three.svs", "one", "one/4.svs", "two.zarr"]
    assert found(tmp_path / "one") == [".", "4.svs"]
    assert found(tmp_path / "two.zarr") == ["."]


def test_what_is_passed_over_is_counted_without_the_parts_of_slides(tmp_path: Path) -> None:
    make(tmp_path, "a.svs", "b.vsi", "_b_/stack1/frame.ets", "c.CZI", "d.jpg", "x/e.czi", "README")
    make(tmp_path, "m.mrxs", "m/Data0000.dat", "m/Slidedat.ini", "v/w.vms", "v/w-0.jpg", "v/w.opt")
    make(tmp_path, "d/1.dcm", "d/notes.txt", ".hidden/a.czi", "z.zarr/0/c.bin", "project/a.json")
    counted = find_slides(tmp_path, without=tmp_path / "project").passed_over
    assert counted == {
        ".czi": 2, ".vsi": 1, ".ets": 1, ".jpg": 1, "without suffix": 1, ".txt": 1,
    }  # fmt: skip
    many = Counter({f".{number}": 1 for number in range(20)} | {".czi": 5})
    assert (told(many)[".czi"], told(many)["others"], len(told(many))) == (5, 9, 13)


def test_dicom_files_of_several_series_in_one_folder_are_several_slides(
    tmp_path: Path, shared_data: Path
) -> None:
    slides = shared_data / "slides"
    real = sorted((slides / "dicom-CMU-1-Small-Region").glob("*.dcm"))
    for file in (*real, *(slides / "openslide-python").glob("boxes_*.dcm")):
        shutil.copy(file, tmp_path)
    largest = max(real, key=lambda path: path.stat().st_size)
    names = found(tmp_path)
    assert names == sorted([largest.name, "boxes_1.dcm"])
    sizes = [open_slide(tmp_path / name).properties.dimensions for name in names]
    assert sorted(sizes) == [(16, 16), (2220, 2967)]


def test_a_project_and_links_to_folders_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.svs", "project/sample_slides/b.tiff")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert found(tmp_path, without=tmp_path / "project") == ["a.svs"]


def test_a_folder_without_slides_is_a_sentence(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    with pytest.raises(ProjectError, match=r"holds no slide \(\.bif.*, but 1 \.png; name"):
        find_slides(tmp_path)
