"""A slide of several files is known by their content, wherever they lie."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from src_core.errors import SlideReadError
from src_core.project import Project
from src_core.provenance import file_fingerprint
from src_core.slides.identity import slide_files, slide_fingerprint


@pytest.fixture
def series(shared_data: Path, tmp_path: Path) -> Path:
    """A copy of a real series: four files, of which one is level 0."""
    folder = shared_data / "slides" / "dicom-CMU-1-Small-Region"
    return Path(shutil.copytree(folder, tmp_path / "series"))


def mrxs(root: Path) -> Path:
    companions = root / "a"
    companions.mkdir(parents=True)
    for name in ("Slidedat.ini", "Index.dat", "Data0000.dat"):
        (companions / name).write_bytes(name.encode() * 9000)
    (root / "a.mrxs").write_bytes(b"a small picture of the label")
    return root / "a.mrxs"


def vms(root: Path) -> Path:
    root.mkdir()
    for name in ("a.jpg", "a(1,0).jpg", "a.opt", "other.jpg"):
        (root / name).write_bytes(name.encode())
    keys = "[Virtual Microscope Specimen]\r\nImageFile=a.jpg\r\nImageFile(1,0)=a(1,0).jpg\r\n"
    (root / "a.vms").write_text(keys + "OptimisationFile=a.opt\r\nMacroImage=../other.jpg\r\n")
    return root / "a.vms"


def zarr(root: Path) -> Path:
    for level, side in (("0", 8), ("1", 2)):
        for row in range(side):
            (root / level / "0" / str(row)).mkdir(parents=True)
            for column in range(side):
                (root / level / "0" / str(row) / str(column)).write_bytes(bytes([row, column]))
        (root / level / ".zarray").write_text("{}")
    picture = {"datasets": [{"path": "0"}, {"path": "1"}]}
    (root / ".zattrs").write_text(json.dumps({"multiscales": [picture]}))
    return root


def change(path: Path) -> None:
    """Give a file another content of the same length and time, as a careless copy may."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    ("make", "part", "foreign"),
    [
        (mrxs, "a/Data0000.dat", "a/.DS_Store"),
        (mrxs, "a.mrxs", "a.txt"),
        (vms, "a(1,0).jpg", "other.jpg"),
        (vms, "a.opt", "b.opt"),
        (zarr, "1/0/1/0", "labels"),
        (zarr, ".zattrs", "1/.DS_Store"),
    ],
)
def test_a_slide_of_several_files_is_known_by_all_of_them(
    tmp_path: Path, make: Callable[[Path], Path], part: str, foreign: str
) -> None:
    slide = make(tmp_path / "disk")
    known = slide_fingerprint(slide)
    other = shutil.copytree(tmp_path / "disk", tmp_path / "other", copy_function=shutil.copyfile)
    (other / foreign).write_bytes(b"somebody else's")
    copied = other / slide.relative_to(tmp_path / "disk")
    assert slide_fingerprint(copied) == known != file_fingerprint(tmp_path / "disk" / part)
    change(other / part)
    assert slide_fingerprint(copied) != known


def test_a_series_is_one_slide_by_its_folder_and_by_its_files(
    series: Path, shared_data: Path
) -> None:
    known = slide_fingerprint(series)
    files = sorted(series.iterdir())
    assert {slide_fingerprint(file) for file in files} == {known}
    strangers = sorted((shared_data / "slides" / "openslide-python").glob("boxes_*.dcm"))
    for file in strangers:
        shutil.copyfile(file, series / file.name)
    files[0].rename(series / "renamed")
    assert slide_fingerprint(series) == known
    assert slide_fingerprint(series / strangers[0].name) != known
    change(max(files[1:], key=lambda file: file.stat().st_size))
    assert slide_fingerprint(series) != known


def test_a_replaced_series_is_refused_and_a_copied_one_is_known(
    series: Path, tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project")
    slide = project.add_slide(series)
    moved = series.rename(tmp_path / "moved")
    assert project.add_slide(moved).slide_id == slide.slide_id
    slide.open().close()
    change(max(moved.iterdir(), key=lambda file: file.stat().st_size))
    with pytest.raises(SlideReadError, match=r"is no longer what slide 'series' .*forget series"):
        slide.open()


def test_of_very_many_files_a_bounded_number_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = mrxs(tmp_path / "disk")
    for number in range(300):
        (slide.with_suffix("") / f"Data{number:04}.dat").write_bytes(b"x")
    read: list[Path] = []

    def told(path: Path, **how: int) -> str:
        read.append(path)
        return file_fingerprint(path, **how)

    monkeypatch.setattr("src_core.slides.identity.file_fingerprint", told)
    known = slide_fingerprint(slide)
    assert len(slide_files(slide)) == 303
    assert len(read) <= 256
    (slide.with_suffix("") / "Data0300.dat").write_bytes(b"x")
    assert slide_fingerprint(slide) != known, "their number counts too"


def test_an_array_outside_its_folder_is_not_followed(tmp_path: Path) -> None:
    slide = zarr(tmp_path / "a.zarr")
    picture = {"datasets": [{"path": "../b"}]}
    (slide / ".zattrs").write_text(json.dumps({"multiscales": [picture]}))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.0").write_bytes(b"x")
    assert slide_files(slide) == [slide / ".zattrs"]
