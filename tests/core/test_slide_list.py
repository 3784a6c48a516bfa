"""What a list of a project's slides shows and changes: stages, thumbnails, labels, places."""

from __future__ import annotations

import csv
import io
import os
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from src_core.errors import FusecpathError, ProjectError
from src_core.labelling import correct_labels, export_labels, set_labels
from src_core.project import Project
from src_core.provenance import write_json
from src_core.relocating import relocate_slides
from src_core.slide_stages import SlideStages, StageReader
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.thumbnails import THUMBNAIL_PX, slide_thumbnail
from src_core.verbs import run_verb
from tests.core.cohort_files import clustered_project, write_cohort


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two slides, as files that a test may move."""
    project = Project.create(tmp_path / "p")
    first = tmp_path / "files" / "a.tiff"
    write_sample_slide(first, SyntheticSlide(size_px=(512, 512), seed=4))
    project.add_slide(first)
    other = tmp_path / "files" / "b.tiff"
    write_sample_slide(other, SyntheticSlide(size_px=(1024, 512), seed=5))
    project.add_slide(other)
    return project


def stages_of(
    reader: StageReader, project: Project, run_id: str | None = None
) -> list[SlideStages]:
    return list(reader.read(project, run_id=run_id))


def test_stages_are_those_that_are_stored(project: Project) -> None:
    reader = StageReader()
    a, b = stages_of(reader, project)
    assert (a.slide_id, b.slide_id) == ("a", "b")
    assert not any((a.is_prepared, a.is_clustered, a.is_missing, a.encoders, a.n_marks))

    slide = project.slide("a")
    slide.marks.add([(0, 0, 8, 8), (8, 0, 8, 8)], label="tumour", reviewer="ada")
    slide.marks.undo(reviewer="ada")
    slide.marks.add([(0, 0, 8, 8)], label="tumour", reviewer="ada")
    slide.corrections.correct("label", "tumour", reviewer="ada")
    slide.remember(clusters_id="c")
    write_json(project.prediction("run-0001", "a") / "prediction.json", {})
    assert b.path is not None
    b.path.unlink()
    a, b = stages_of(reader, project, "run-0001")
    assert a.n_marks == 1, "what was undone is no mark"
    assert a.corrections == (("label", "tumour"),)
    assert (a.is_clustered, a.is_predicted) == (True, True)
    assert b.is_missing
    assert not stages_of(reader, project)[0].is_predicted, "of another run, or none"

    (project.slide("b").root / "slide.json").write_text("{")
    assert "slide.json" in stages_of(reader, project)[1].problem


def test_an_encoder_counts_on_the_lattice_in_use(tmp_path: Path) -> None:
    table = write_cohort(tmp_path, [0.2], side_px=768)
    project = Project.open(clustered_project(tmp_path, table))
    reader = StageReader()
    (before,) = stages_of(reader, project)
    assert before.encoders == ("texture",)
    assert (before.is_prepared, before.is_clustered, before.is_joint) == (True, True, False)
    assert stages_of(reader, project) == [before]


def test_a_thumbnail_shows_the_slide_and_is_kept(project: Project) -> None:
    slide = project.slide("b")
    made = slide_thumbnail(slide)
    assert made is not None
    assert made.shape == (THUMBNAIL_PX // 2, THUMBNAIL_PX, 3)
    reader = slide.open()
    whole = np.asarray(reader.levels()[-1])[..., :3]
    reader.close()
    assert np.allclose(made.mean((0, 1)), whole.mean((0, 1)), atol=2), "the same tissue on glass"

    (project.root / slide.record.path).unlink()
    kept = slide_thumbnail(slide)
    assert kept is not None
    assert np.array_equal(kept, made), "it needs the file no more"
    (stored,) = slide.root.glob("thumbnail/*.png")
    PIL.Image.new("RGB", (4000, 4000)).save(stored)
    with pytest.raises(FusecpathError, match="no longer at"):
        slide_thumbnail(slide)  # what lies there is none of ours


def test_no_hostile_thumbnail_stops_anything(project: Project) -> None:
    slide = project.slide("b")
    made = slide_thumbnail(slide)
    assert made is not None
    (stored,) = slide.root.glob("thumbnail/*.png")
    plain = stored.read_bytes()
    size = (40_000).to_bytes(4, "big") * 2
    head = b"IHDR" + size + plain[24:29]
    bomb = plain[:12] + head + zlib.crc32(head).to_bytes(4, "big") + plain[33:]
    for content in (bomb, plain[:60], b"", plain[:200] + bytes(200)):
        stored.write_bytes(content)
        np.testing.assert_array_equal(slide_thumbnail(slide), made)  # it is made again
        assert stored.read_bytes() == plain
    if hasattr(os, "mkfifo"):
        stored.unlink()
        os.mkfifo(stored)
        np.testing.assert_array_equal(slide_thumbnail(slide), made)  # a pipe is not waited for
    slide.remember(fingerprint="../../a")
    with pytest.raises(ProjectError, match="is no artifact of the project"):
        slide_thumbnail(slide)


def test_a_label_is_stored_at_once(project: Project) -> None:
    set_labels(project, "label", {"b": " Tumour "}, by="ada")
    rows = {row.slide_id: row for row in project.labels().rows}
    assert set(rows) == {"b"}, "the table is begun by the slide that has a label"
    assert rows["b"].labels == {"label": "Tumour"}
    assert rows["b"].path.resolve() == (project.root / project.slide("b").record.path).resolve()

    set_labels(project, "label", {"a": "tumour"}, by="ada")
    set_labels(project, "grade", {"a": "2", "b": "3"}, by="ada")
    rows = {row.slide_id: row for row in project.labels().rows}
    assert rows["a"].labels == {"label": "Tumour", "grade": "2"}, "one class is written one way"
    set_labels(project, "label", {"a": "", "b": "tumour"}, by="ada")
    rows = {row.slide_id: row for row in project.labels().rows}
    assert [rows[name].labels["label"] for name in "ab"] == ["", "tumour"]


@pytest.mark.parametrize("label", ["=1+1", "NA", "a\u200bb", "x" * 201])
def test_what_is_no_label_changes_nothing(project: Project, label: str) -> None:
    set_labels(project, "label", {"a": "benign"}, by="ada")
    before = project.labels_path.read_bytes()
    with pytest.raises(ProjectError):
        set_labels(project, "label", {"a": label}, by="ada")
    with pytest.raises(ProjectError):
        set_labels(project, "path", {"a": "benign"}, by="ada")
    with pytest.raises(ProjectError, match="not in project"):
        set_labels(project, "label", {"zzz": "benign"}, by="ada")
    assert project.labels_path.read_bytes() == before


def test_the_last_word_holds(project: Project) -> None:
    set_labels(project, "label", {"a": "benign", "b": "tumour"}, by="ada")
    store = project.slide("a").corrections
    store.correct("label", "tumour", reviewer="bob")
    set_labels(project, "label", {"a": "atypical"}, by="ada")
    assert store.current() == {}
    assert [one.reviewer for one in store.history()] == ["bob", "ada"]


def test_all_slides_of_a_patient_are_corrected_or_none(project: Project) -> None:
    set_labels(project, "label", {"a": "benign", "b": "tumour"}, by="ada")
    before = project.labels_path.read_bytes()
    stores = [project.slide(name).corrections for name in ("a", "b")]
    for slides, label in ((["a", "zzz"], "tumour"), (["a", "b"], "vessel")):
        with pytest.raises(FusecpathError, match=r"no slide 'zzz'|never 'vessel'"):
            correct_labels(project, "label", slides, label, by="bob")
    stores[1].path.parent.mkdir(parents=True, exist_ok=True)
    stores[1].path.write_text("{}", encoding="utf-8")
    with pytest.raises(ProjectError, match=r"labels\.json is damaged"):
        correct_labels(project, "label", ["a", "b"], "tumour", by="bob")
    stores[1].path.unlink()
    assert [store.current() for store in stores] == [{}, {}]
    correct_labels(project, "label", ["a", "b"], "tumour", by="bob", comment="seen again")
    assert [store.current() for store in stores] == [{"label": "tumour"}] * 2
    correct_labels(project, "label", ["b"], None, by="bob")
    assert [store.current() for store in stores] == [{"label": "tumour"}, {}]
    assert project.labels_path.read_bytes() == before


def test_exported_labels_come_back(project: Project, tmp_path: Path) -> None:
    set_labels(project, "label", {"b": "tumour, in part"}, by="ada")
    out = tmp_path / "out" / "labels.csv"
    out.parent.mkdir()
    assert export_labels(project, out) == 2
    (head, *rows) = csv.reader(io.StringIO(out.read_text()))
    assert head == ["slide_id", "path", "patient_id", "label"]
    assert {row[0]: row[3] for row in rows} == {"a": "", "b": "tumour, in part"}
    again = Project.create(tmp_path / "again")
    again.import_labels(out)
    assert [row.slide_id for row in again.labels().rows] == ["b", "a"]
    with pytest.raises(ProjectError, match="no slides yet"):
        export_labels(Project.create(tmp_path / "empty"), out)


def test_a_moved_slide_is_found_by_its_content(project: Project, tmp_path: Path) -> None:
    set_labels(project, "label", {"b": "tumour"}, by="ada")
    path = project.root / project.slide("b").record.path
    with pytest.raises(ProjectError, match=r"No slide of .* is missing"):
        relocate_slides(project, tmp_path)
    moved = tmp_path / "disk" / "deep" / "renamed.tiff"
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    write_sample_slide(path.with_name("c.tiff"), SyntheticSlide(size_px=(512, 512), seed=6))
    with pytest.raises(ProjectError, match="None of the slides"):
        relocate_slides(project, path.parent)
    with pytest.raises(ProjectError, match="its content is another"):
        relocate_slides(project, path.with_name("c.tiff"), slides=("b",))
    options = {"project": str(project.root), "place": str(tmp_path / "disk")}
    result = run_verb("relocate", options, report=lambda _: None, stop=lambda: False)
    assert result["relocated"] == {"b": str(moved)}
    project.slide("b").open().close()
    assert [row.path for row in project.labels().rows] == [moved]


def test_a_moved_picture_is_found_by_its_name_and_content(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "files" / "käse [1].png"
    pixels = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    slide = project.add_slide(path, slide_mpp=0.5)
    assert project.slide_at(path) == slide
    moved = tmp_path / "pictures" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert relocate_slides(project, moved.parent).found == {slide.slide_id: moved}
    assert project.slide_at(moved) == slide
    assert project.slide_at(path) is None
