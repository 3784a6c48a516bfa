from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src_core.errors import ConfigError, ProjectError, SlideReadError
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "a slide.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(1024, 1024), seed=1))
    return path


def test_a_project_remembers_its_choices(tmp_path: Path) -> None:
    config = ProjectConfig(encoders=("texture",)).replace(grid={"mpp": 1.0})
    Project.create(tmp_path / "p", config)
    assert Project.open(tmp_path / "p").config == config
    assert Project.create(tmp_path / "p").config == config, "opening changes nothing"


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ProjectError, match="neither a project nor an empty folder"):
        Project.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not valid JSON"),
        ("[]", "named values"),
        ('{"format": 99}', "another version"),
        ('{"format": 1, "colour": "red"}', "colour"),
        ('{"format": 1, "grid": {"mpp": 1e9}}', "mpp"),
        ('{"format": 1, "encoders": "lite0"}', "encoders"),
        ('{"format": 1, "encoders": [["lite0"]]}', "encoders"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_damaged_project_is_one_sentence(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "project.json").write_text(content)
    with pytest.raises((ProjectError, ConfigError), match=match):
        Project.open(tmp_path)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", "", "nul", "x" * 200, "a\x00b", "a:b"]
)
def test_no_name_leads_out_of_the_project(tmp_path: Path, name: str) -> None:
    project = Project.create(tmp_path / "p")
    for path in (project.slide, project.run):
        with pytest.raises(ProjectError):
            path(name)
    with pytest.raises(ProjectError):
        project.prediction("run-0001", name)


@pytest.mark.parametrize("name", ["encoders", "teachers"])
def test_an_encoder_is_named_once(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is named twice in texture, texture"):
        ProjectConfig().replace(**{name: ("texture", "texture")})


def test_hostile_ids_in_a_record_are_refused(tmp_path: Path, slide_file: Path) -> None:
    project = Project.create(tmp_path / "p")
    slide = project.add_slide(slide_file)
    record = json.loads((slide.root / "slide.json").read_text())
    for changed in ({"grid_id": "../../../../etc"}, {"mpp": 1e300}, {"path": 3}, {"more": 1}):
        (slide.root / "slide.json").write_text(json.dumps({**record, **changed}))
        with pytest.raises(ProjectError, match=r"slide\.json is damaged"):
            slide.load_grid()
    (slide.root / "slide.json").write_text("{}")
    with pytest.raises(ProjectError, match=r"slide\.json is damaged: .*'slide_id'"):
        slide.load_grid()


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 300])
def test_no_encoder_leads_out_of_the_project(tmp_path: Path, name: str) -> None:
    slide = Project.create(tmp_path / "p").slide("a")
    with pytest.raises(ProjectError, match="cannot be the name of an encoder"):
        slide.slide_embedding(name)
    assert slide.slide_embedding("timm:../x").parent == slide.root / "slide_embeddings"


@pytest.mark.parametrize(
    "changed",
    [{"zzz": 1}, {"tissue": 3}, {"encoders": [1]}, {"encoders": []}, {"grid": {"mpp": 1e9}}],
)
def test_a_damaged_project_is_named(tmp_path: Path, changed: dict) -> None:
    path = Project.create(tmp_path / "p").root / "project.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(ProjectError, match=r"project\.json is damaged"):
        Project.open(tmp_path / "p")


def test_a_moved_slide_keeps_its_name_and_its_work(tmp_path: Path, slide_file: Path) -> None:
    project = Project.create(tmp_path / "p")
    first = tmp_path / "one.tiff"
    first.write_bytes(slide_file.read_bytes())
    slide = project.add_slide(first)
    slide.remember(tissue_id="abc", grid_id="def", clusters_id="ghi")
    moved = tmp_path / "elsewhere" / "renamed.tiff"
    moved.parent.mkdir()
    first.rename(moved)
    with pytest.raises(SlideReadError, match="no longer at"):
        slide.open()
    again = project.add_slide(moved)
    assert again == slide
    assert again.record.grid_id == "def"
    again.open().close()


def test_two_files_of_one_name_are_two_slides(tmp_path: Path, slide_file: Path) -> None:
    other = tmp_path / slide_file.name
    write_sample_slide(other, SyntheticSlide(size_px=(1024, 1024), seed=2))
    project = Project.create(tmp_path / "p")
    names = [project.add_slide(path).slide_id for path in (slide_file, other, slide_file)]
    assert names == ["a_slide", "a_slide-2", "a_slide"]
    with pytest.raises(ProjectError, match="Another file is slide"):
        project.add_slide(other, slide_id="a_slide")


def test_another_scale_drops_the_patches_but_not_the_mask(tmp_path: Path, slide_file: Path) -> None:
    project = Project.create(tmp_path / "p")
    slide = project.add_slide(slide_file)
    slide.remember(tissue_id="abc", grid_id="def", clusters_id="ghi")
    project.add_slide(slide_file, slide_mpp=0.25)
    record = slide.record
    assert (record.mpp, record.mpp_source) == (0.25, "user")
    assert (record.tissue_id, record.grid_id, record.clusters_id) == ("abc", None, None)
    project.add_slide(slide_file)
    assert slide.record.mpp == 0.25, "what a person has typed is remembered"


def test_slides_inside_the_project_move_with_it(tmp_path: Path, slide_file: Path) -> None:
    project = Project.create(tmp_path / "p")
    inside = project.root / "files" / "slide.tiff"
    inside.parent.mkdir()
    inside.write_bytes(slide_file.read_bytes())
    project.add_slide(inside)
    project.root.rename(tmp_path / "q")
    Project.open(tmp_path / "q").slides()[0].open().close()


def test_labels_are_taken_in_with_their_paths(tmp_path: Path, slide_file: Path) -> None:
    table = slide_file.parent / "labels.csv"
    table.write_text(f"path,label\n{slide_file.name},yes\n")
    project = Project.create(tmp_path / "p")
    (row,) = project.import_labels(table)
    assert project.add_slide(row.path, slide_id=row.slide_id).slide_id == "a slide"
    (stored,) = project.labels().rows
    assert stored.path.resolve() == slide_file.resolve()
    assert stored.labels == {"label": "yes"}


def test_a_damaged_table_leaves_the_old_one(tmp_path: Path, slide_file: Path) -> None:
    project = Project.create(tmp_path / "p")
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(f"path,label\n{slide_file},yes\n")
    bad.write_text("nothing\n")
    project.import_labels(good)
    with pytest.raises(ProjectError, match=r"bad\.csv"):
        project.import_labels(bad)
    assert len(project.labels().rows) == 1


def test_the_table_before_can_be_taken_in_again(tmp_path: Path, slide_file: Path) -> None:
    project = Project.create(tmp_path / "p")
    good, other = tmp_path / "good.csv", tmp_path / "other.csv"
    good.write_text(f"path,label\n{slide_file},yes\n")
    other.write_text(f"path,label\n{slide_file},\n")
    project.import_labels(good)
    for _ in range(2):  # the second time nothing changes, and what is kept stays
        project.import_labels(other)
        assert not any(project.labels().rows[0].labels.values())
    project.import_labels(project.labels_before_path)
    (row,) = project.labels().rows
    assert row.labels == {"label": "yes"}
    assert row.path.resolve() == slide_file.resolve()


def test_a_replaced_file_is_refused_and_can_be_taken_anew(tmp_path: Path, slide_file: Path) -> None:
    path = tmp_path / "z.tiff"
    path.write_bytes(slide_file.read_bytes())
    root, options = tmp_path / "project", {"embed": False}

    def prepare(**more: Any) -> dict[str, Any]:
        asked = {"project": str(root), **options, **more}
        return run_verb("prepare", asked, report=ignore, stop=never)

    prepare(slides=[str(path)])
    project = Project.open(root)
    slide = project.slide("z")
    slide.open().close()
    prediction = project.prediction("run-0001", "z")
    prediction.mkdir(parents=True)
    write_sample_slide(path, SyntheticSlide(size_px=(1024, 1024), seed=9))
    with pytest.raises(SlideReadError, match=r"z\.tiff is no longer what .*prepare forget z "):
        slide.open()
    (failure,) = prepare(fresh_tissue=True)["failures"]
    assert "let prepare forget z " in failure["message"]
    old = (slide.root / "slide.json").read_bytes()
    assert prepare(slides=[str(path)], forget=["z"])["failures"] == []
    slide.open().close()
    assert [one.slide_id for one in project.slides()] == ["z"]
    assert (root / "forgotten" / "z-1" / "slide" / "slide.json").read_bytes() == old
    assert (root / "forgotten" / "z-1" / "predictions" / "run-0001").is_dir()
    assert not prediction.exists()
    path.write_bytes(slide_file.read_bytes())
    prepare(slides=[str(path)], forget=["z"])
    assert (root / "forgotten" / "z-2" / "slide" / "slide.json").is_file()
    with pytest.raises(ProjectError, match="no slide 'y' to forget"):
        prepare(forget=["y"])
