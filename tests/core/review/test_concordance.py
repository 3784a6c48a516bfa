"""Two reviewers compared: what counts, what the numbers are, what the command says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.errors import ConfigError, ProjectError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.review.concordance import labels_by, measure_concordance
from src_core.review.marks import MarkStore
from src_core.review.raster import squares_of
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import VERBS, run_verb


def grid_of(n_rows: int, n_cols: int) -> PatchGrid:
    rows, cols = np.indices((n_rows, n_cols)).reshape(2, -1)
    lattice = Lattice((0.0, 0.0), 256.0, 256.0, (n_rows, n_cols), 256, 0.5, 0.5)
    return PatchGrid(lattice, np.stack([cols, rows], axis=1).astype(np.int32), "t")


def test_kappa_and_agreement_are_those_of_the_textbook() -> None:
    # Cohen's example: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no; po 0.7, pe 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = measure_concordance([*first, "yes", ""], [*second, "", "no"])
    assert (found.n_first, found.n_second, found.n_both, found.n_same) == (51, 51, 50, 35)
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    told = [(one.label, one.first, one.second, one.both) for one in found.labels]
    assert told == [("no", 25, 20, 15), ("yes", 25, 30, 20)]
    assert [one.agreement for one in found.labels] == pytest.approx([30 / 45, 40 / 55])


def test_kappa_is_not_defined_without_a_choice() -> None:
    nothing = measure_concordance(["a", ""], ["", "b"])
    assert (nothing.n_both, nothing.agreement, nothing.kappa) == (0, None, None)
    always = measure_concordance(["a", "a"], ["a", "a"])
    assert (always.agreement, always.kappa) == (1.0, None)
    never_alike = measure_concordance(["a", "a"], ["b", "b"])
    assert (never_alike.agreement, never_alike.kappa) == (0.0, 0.0)


def test_labels_of_a_reviewer_ignore_those_of_others_and_capitals(tmp_path: Path) -> None:
    grid, store = grid_of(2, 3), MarkStore(tmp_path / "marks.jsonl")
    store.add(squares_of(grid.lattice, [0, 0], [0, 1]), label="Tumour ", reviewer="ada")
    store.add(squares_of(grid.lattice, [0], [0]), label="normal", reviewer="bob")
    assert labels_by(store, "ada", grid) == ["tumour", "tumour", "", "", "", ""]
    assert labels_by(store, "bob", grid) == ["normal", "", "", "", "", ""]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    path = tmp_path / "small.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(512, 512), seed=1), downsamples=())
    project = Project.create(tmp_path / "project")
    for name in ("a", "b"):
        slide = project.add_slide(path, slide_id=name)
        grid = grid_of(2, 2)
        grid.save(slide.grid(grid.grid_id))
        slide.remember(grid_id=grid.grid_id)
    return project


def agree(project: Project, **options: object) -> dict:
    asked = {"project": str(project.root), **options}
    return run_verb("agree", asked, report=ignore, stop=never)


def test_the_command_compares_each_with_each_over_all_slides(project: Project) -> None:
    lattice = grid_of(2, 2).lattice
    for name, reviewer, rows, cols, label in [
        ("a", "ada", [0, 0, 1], [0, 1, 0], "tumour"),
        ("a", "bob", [0, 0], [0, 1], "tumour"),
        ("b", "ada", [0, 1], [0, 0], "normal"),
        ("b", "bob", [0], [0], "normal"),
        ("b", "bob", [1], [0], "tumour"),
        ("b", "eve", [1], [1], "normal"),
    ]:
        marks = project.slide(name).marks
        marks.add(squares_of(lattice, rows, cols), label=label, reviewer=reviewer)
    told = agree(project)
    assert told["failures"] == []
    assert told["reviewers"] == ["ada", "bob", "eve"]
    pairs = {(pair["first"], pair["second"]): pair for pair in told["pairs"]}
    assert list(pairs) == [("ada", "bob"), ("ada", "eve"), ("bob", "eve")]
    pair = pairs["ada", "bob"]
    assert (pair["n_first"], pair["n_second"], pair["n_both"], pair["n_same"]) == (5, 4, 4, 3)
    assert pair["differ"] == {"b": [2]}
    assert told["grids"] == dict.fromkeys("ab", grid_of(2, 2).grid_id)
    assert pairs["ada", "eve"]["n_both"] == 0
    text = VERBS["agree"].describe(told)
    assert (
        "ada (5 patches) and bob (4): 4 marked by both, 75.0 % the same label, kappa 0.50" in text
    )
    assert "bob (4 patches) and eve (1): no patch is marked by both" in text
    only = agree(project, slides=["a"], between=["bob", "ada"])["pairs"]
    assert [(pair["first"], pair["n_both"], pair["kappa"]) for pair in only] == [("bob", 2, None)]


def test_who_cannot_be_compared_is_one_sentence(project: Project) -> None:
    with pytest.raises(ProjectError, match=r"^Nobody is there to be compared; two reviewers mark"):
        agree(project)
    square = squares_of(grid_of(2, 2).lattice, [0], [0])
    project.slide("a").marks.add(square, label="tumour", reviewer="ada")
    with pytest.raises(ProjectError, match=r"^Only ada is there to be compared"):
        agree(project)
    with pytest.raises(ConfigError, match=r"^'bob' has marked none .* choose among ada\.$"):
        agree(project, between=["ada", "bob"])
    for number in range(10):
        project.slide("a").marks.add(square, label="tumour", reviewer=f"r{number}")
    with pytest.raises(ConfigError, match=r"^11 reviewers have marked these slides"):
        agree(project)
