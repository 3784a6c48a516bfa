"""How much of what reviewers have said is heard: by acts, of all whose labels are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.exchange.script_then import Then
from src_core.hearing import Heard
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

LATER = "2999-01-01T00:00:00.000+00:00"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two slides, and a third of the table that has no files."""
    project = Project.create(tmp_path / "p")
    lines = ["slide_id,path,patient_id,label"]
    for name in ("a", "b"):
        path = tmp_path / f"{name}.tiff"
        write_sample_slide(path, SyntheticSlide(size_px=(256, 256), seed=len(lines)))
        project.add_slide(path)
        lines.append(f"{name},{path},p,normal")
    lines.append(f"c,{tmp_path / 'c.tiff'},p,normal")
    project.labels_path.parent.mkdir(parents=True, exist_ok=True)
    project.labels_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("a", "b", "c"):
        project.slide(name).corrections.correct("label", "tumour", reviewer="ada")
    return project


def test_corrections_are_heard_of_all_rows_and_noted_whoever_was_learned_from(
    project: Project,
) -> None:
    project.slide("a").marks.add([(0, 0, 8, 8)], label="tumour", reviewer="ada")
    project.slide("b").marks.add([(0, 0, 8, 8)], label="tumour", reviewer="ada")
    for heard in (Heard.now(project, ["a"]), Heard.by_time(project, ["a"], LATER)):
        assert set(heard.labels) == {"a", "b", "c"}
        assert heard.corrections_of(project.slide("c")) == {"label": "tumour"}
        noted = heard.to_dict(["a"])
        assert {name: set(told) for name, told in noted.items()} == {  # type: ignore[arg-type]
            "a": {"marks", "labels"},
            "b": {"labels"},
            "c": {"labels"},
        }
        again = Heard.noted(noted, heard.until)
        again.require_same(project, "run-0002")
        project.slide("c").corrections.correct("label", "normal", reviewer="ada")
        assert again.corrections_of(project.slide("c")) == {"label": "tumour"}


def test_damaged_marks_end_what_they_teach_and_nothing_else(project: Project) -> None:
    for name in ("a", "b"):
        project.slide(name).marks.add([(0, 0, 8, 8)], label="tumour", reviewer="ada")
    project.slide("b").marks.path.write_text("{}\n", encoding="utf-8")
    for teaching in (["a"], ["a", "b"]):
        for hear in (
            lambda names: Heard.now(project, names),
            lambda names: Heard.by_time(project, names, LATER),
        ):
            if "b" in teaching:
                with pytest.raises(ProjectError, match=r"marks\.jsonl"):
                    hear(teaching)
            else:
                assert set(hear(teaching).marks) == {"a"}


def test_a_script_puts_in_place_what_was_heard_and_not_what_clocks_say(project: Project) -> None:
    store = project.slide("a").marks
    store.add([(0, 0, 8, 8)], label="tumour", reviewer="ada")
    first = store.path.read_bytes()
    heard = Heard.now(project, ["a"])
    store.add([(8, 0, 8, 8)], label="tumour", reviewer="bob")
    store.undo(reviewer="bob")
    lines = [json.loads(line) for line in store.path.read_bytes().splitlines()]
    for line, year in zip(lines, (2026, 2030, 2020), strict=True):  # bob's clock is set back
        line["time"] = f"{year}-01-01T00:00:00.000+00:00"
    store.path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    store = project.slide("a").marks
    by_acts = Then("2027", heard).lines("a", "marks", store)
    assert json.loads(by_acts)["id"] == json.loads(first)["id"]
    # What is left of the time alone is no undo without its mark.
    assert Then("2027").lines("a", "marks", store).count(b"\n") == 1
    assert Then("2027", heard).lines("b", "marks", store) == b""
    assert Then(None).lines("a", "marks", store).count(b"\n") == 3
