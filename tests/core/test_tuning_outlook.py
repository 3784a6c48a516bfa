"""What fine-tuning would learn: marks and labels that are new, and patches that are suggested."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cohorts import load_cohort
from src_core.errors import FusecpathError, ProjectError
from src_core.gathering import Bags
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.progress import never
from src_core.project import Project
from src_core.provenance import write_json
from src_core.review_outlook import Outlook, review_outlook
from src_core.reviewed import gather_review
from tests.core.marked_project import asked, mark, run, tune


@pytest.fixture
def project(trained_project: Path, tmp_path: Path) -> Project:
    """A copy of the trained project, to be marked."""
    return Project.open(shutil.copytree(trained_project, tmp_path / "project"))


def outlook(project: Project, run_id: str = "run-0001") -> Outlook:
    return review_outlook(project, run_id, checkpoint_meta(project.run(run_id) / "checkpoint"))


def test_what_would_be_learned_is_told_as_fine_tuning_tells_it(project: Project) -> None:
    def same_error(match: str) -> None:
        for ask in (outlook, tune):
            with pytest.raises(ProjectError, match=match):
                ask(project)

    same_error("No patch of any slide is marked with a class of label")
    held = asked(project)["held_back"][0]
    mark(project, held, "tumour")
    same_error(f"{held!r} are not learned from: it is held back")
    mark(project, "extra", "vessel", n=1)
    same_error("called 'vessel'")
    mark(project, "extra", "tumour")
    told = outlook(project)
    assert told.counts == {"extra": {"tumour": 3}}
    assert [one.slide_id for one in told.failures] == [held]
    tuned = tune(project)
    assert tuned.marks == told.counts

    with pytest.raises(ProjectError, match="run-0002 has learned from all of these marks already"):
        outlook(project, "run-0002")
    learned = asked(project)["trained_on"][0]
    before = {s.slide_id: s.target for s in load_cohort(project, "label")[0].slides}
    label = ("tumour", "normal")[before[learned]]
    run("relabel", project=str(project.root), slide=learned, label=label, reviewer="ada")
    told = outlook(project, "run-0002")
    assert told.corrected == (learned,), "another label is something new"
    assert told.counts == {"extra": {"tumour": 3}}
    run("relabel", project=str(project.root), slide=learned, reviewer="ada")
    mark(project, "extra", "not tumour", n=1, first=7)
    assert outlook(project, "run-0002").counts == {"extra": {"not tumour": 1, "tumour": 3}}


def is_offered(project: Project, run_id: str, bags: Bags) -> bool:
    """Tell whether fine-tuning is offered, which is as fine-tuning itself would have it."""
    meta = checkpoint_meta(project.run(run_id) / "checkpoint")
    of_run = asked(project, run_id)
    review = gather_review(project, meta, of_run, slides=(), stop=never)
    is_new = review.recipe() != of_run.get("review")
    for remembered in ({}, bags):
        if is_new:
            review_outlook(project, run_id, meta, bags=remembered)
        else:
            with pytest.raises(ProjectError, match=f"{run_id} has learned from all of these marks"):
                review_outlook(project, run_id, meta, bags=remembered)
    return is_new


def test_what_was_learned_with_edits_and_artefacts_is_not_offered_again(project: Project) -> None:
    first, second = asked(project)["trained_on"][:2]
    write_json(project.run("run-0001") / "config.json", {**asked(project), "inner": [second]})
    slide, other = project.slide(first), project.slide(second)
    grid, edits = slide.load_grid(), slide.selection
    mark(project, first, "artefact", n=2)
    mark(project, "extra", "tumour")
    edits.exclude(grid, [3, 4], reviewer="ada")
    edits.pin(grid, [7], reviewer="ada")
    assert is_offered(project, "run-0001", {})
    name, bags = tune(project).run_id, dict[str, Any]()
    assert not is_offered(project, name, bags), "it has just been learned, with all of its edits"

    for change in (
        partial(edits.exclude, grid, [5], reviewer="ada"),
        partial(edits.pin, grid, [8], reviewer="ada"),
        partial(edits.release, grid, [4], reviewer="ada"),
        partial(edits.release, grid, [7], reviewer="ada"),
        partial(edits.exclude, grid, np.arange(len(grid)), reviewer="ada"),
    ):
        change()
        assert is_offered(project, name, bags), f"{change.args} is of another bag"
        edits.undo(reviewer="ada")
        assert not is_offered(project, name, bags)
    edits.exclude(grid, [0, 1], reviewer="ada")
    assert not is_offered(project, name, bags), "as artefacts they are in no bag already"
    other.selection.exclude(other.load_grid(), [0], reviewer="ada")
    assert not is_offered(project, name, bags), "of the inner split no bag is learned from"
    with pytest.raises(ProjectError, match=f"{name} has learned from all of these marks already"):
        tune(project, run_id=name)

    third = project.slide(asked(project)["trained_on"][2]).corrections
    third.correct("label", "", reviewer="ada")
    assert is_offered(project, name, bags), "without a label the slide gives no bag"
    third.correct("label", None, reviewer="ada")
    assert not is_offered(project, name, bags)

    clusters = slide.grid(grid.grid_id) / "clusters"
    meta = checkpoint_meta(project.run(name) / "checkpoint")
    away = clusters.rename(clusters.with_name("away"))
    with pytest.raises(ProjectError, match="already"):  # what was read once is not read again
        review_outlook(project, name, meta, bags=bags)
    assert review_outlook(project, name, meta).counts, "without its clusters it is not as it was"
    away.rename(clusters)

    edits.pin(grid, [8], reviewer="ada")
    assert tune(project, run_id=name).run_id != name, "other bags are another model"


def test_a_corrected_label_is_learned_and_the_table_stays(project: Project) -> None:
    table = project.labels_path.read_bytes()
    learned = asked(project)["trained_on"][0]
    before = {s.slide_id: s.target for s in load_cohort(project, "label")[0].slides}
    other = ("tumour", "normal")[before[learned]]
    told = run(
        "relabel", project=str(project.root), slide=learned, label=other, reviewer="ada"
    )  # fmt: skip
    assert told["corrections"] == {"label": other}
    after = {s.slide_id: s.target for s in load_cohort(project, "label")[0].slides}
    assert {name for name in after if after[name] != before[name]} == {learned}
    assert tune(project).run_id == "run-0002", "a corrected label is worth learning alone"
    run("relabel", project=str(project.root), slide=learned, reviewer="ada")
    assert {s.slide_id: s.target for s in load_cohort(project, "label")[0].slides} == before
    assert project.labels_path.read_bytes() == table
    for wrong, sentence in (
        ({"label": "vessel"}, "never 'vessel'"),
        ({"reviewer": " "}, "reviewer is empty"),
        ({"comment": "c" * 2001}, "comment is longer than 2000 characters"),
        ({"target": "stage"}, "no target column 'stage'"),
    ):
        with pytest.raises(FusecpathError, match=sentence):
            run(
                "relabel",
                **{"project": str(project.root), "slide": learned, "reviewer": "ada"} | wrong,
            )


def relabelled(project: Project, slide_id: str, label: str = "tumour") -> None:
    run("relabel", project=str(project.root), slide=slide_id, label=label, reviewer="ada")


def test_a_label_given_to_a_slide_that_was_not_learned_from_makes_it_learned_from(
    project: Project,
) -> None:
    inner, trained_on = asked(project)["trained_on"][:2], asked(project)["trained_on"]
    write_json(project.run("run-0001") / "config.json", {**asked(project), "inner": inner})
    table = project.labels_path
    table.write_text(f"{table.read_text()}extra,../../extra.tiff,{inner[0]},,\n")
    relabelled(project, "extra")
    relabelled(project, asked(project)["held_back"][0])
    told = outlook(project)
    assert told.corrected == ("extra",)
    meta = checkpoint_meta(project.run("run-0001") / "checkpoint")
    review = gather_review(project, meta, asked(project), slides=(), stop=never)
    classes = {slide.slide_id: slide.target for slide in review.train.slides}
    assert classes["extra"] == meta.classes.index("tumour")
    assert review.check is not None
    assert [slide.slide_id for slide in review.check.slides] == inner[1:], "its patient's is none"
    assert [one.message.split(":")[0] for one in review.failures] == [
        f"The corrected label of slide {asked(project)['held_back'][0]!r} is not learned from"
    ]
    assert tune(project).run_id == "run-0002"
    stored = asked(project, "run-0002")
    assert stored["trained_on"] == [*trained_on, "extra"]
    assert stored["inner"] == inner
    assert stored["reviewed"] == ["extra"]
    for ask in (outlook, lambda project, name: tune(project, run_id=name)):
        with pytest.raises(ProjectError, match="run-0002 has learned from all of these marks"):
            ask(project, "run-0002")


def test_a_label_of_a_slide_that_is_not_ready_is_not_passed_over_in_silence(
    project: Project,
) -> None:
    table = project.labels_path
    table.write_text(f"{table.read_text()}extra,../../extra.tiff,,,\n")
    relabelled(project, "extra")
    extra = project.slide("extra")
    shutil.rmtree(extra.clusters(extra.load_grid().grid_id, "any").parent)
    for ask in (outlook, tune):
        with pytest.raises(ProjectError, match="Slide 'extra' is not clustered"):
            ask(project)
    mark(project, asked(project)["trained_on"][0], "artefact", n=1)
    assert "Slide 'extra' is not clustered" in outlook(project).failures[-1].message
    tuned = tune(project)
    assert "extra" in [one.slide_id for one in tuned.failures]
    assert asked(project, tuned.run_id)["trained_on"] == asked(project)["trained_on"]
    with pytest.raises(ProjectError, match=r"already; mark more\. .*'extra' is not clustered"):
        tune(project, run_id=tuned.run_id)


def test_suggested_patches_are_unmarked_ones_of_a_predicted_slide(project: Project) -> None:
    root = str(project.root)
    told = run("suggest", project=root, slides=["extra"])
    assert "run Predict" in told["failures"][0]["message"]
    run("predict", project=root, slides=["extra"], device="cpu")
    mark(project, "extra", "tumour", n=4)
    told = run("suggest", project=root, slides=["extra"], n=5)
    grid = project.slide("extra").load_grid()
    rows = [one["row"] for one in told["suggestions"]["extra"]]
    assert len(set(rows)) == 5
    assert min(rows) >= 4
    corners = [[one["x"], one["y"]] for one in told["suggestions"]["extra"]]
    np.testing.assert_array_equal(corners, grid.coords_xy[rows])
    assert {one["reason"] for one in told["suggestions"]["extra"]} == {
        "evidence", "doubt", "coverage",
    }  # fmt: skip
    project.slide("extra").selection.exclude(grid, rows[:2], reviewer="ada")
    told = run("suggest", project=root, slides=["extra"], n=100)
    left = [one["row"] for one in told["suggestions"]["extra"]]
    assert sorted(left) == sorted({*range(4, len(grid))} - {*rows[:2]})
    mark(project, "extra", "tumour", n=len(grid))
    told = run("suggest", project=root, slides=["extra"])
    assert "are marked or excluded" in told["failures"][0]["message"]
    assert json.dumps(told)
    folder = project.prediction("run-0001", "extra")
    nothing = {"probabilities": np.zeros(0), "operating_point": None}
    Prediction.load(folder).replace(task="regression", **nothing).save(folder)
    told = run("suggest", project=root, slides=["extra"])
    assert "knows no classes that a patch could be of" in told["failures"][0]["message"]
