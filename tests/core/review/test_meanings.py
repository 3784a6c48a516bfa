"""Reviewers' words for patches, as a model understands them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.errors import ProjectError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.review.marks import MarkStore
from src_core.review.meanings import ARTEFACT, SILENT, UNMARKED, kinds_of, meanings, palette
from src_core.review.raster import squares_of


@pytest.mark.parametrize(
    ("label", "classes", "expected"),
    [
        ("tumour", ("normal", "tumour"), 1),
        ("Tumour ", ("normal", "tumour"), 1),
        ("not tumour", ("normal", "tumour"), 0),
        ("not tumour", ("Normal", "carcinoma"), 0),
        ("none", ("benign", "carcinoma"), 0),
        ("not tumour", ("aca", "scc"), SILENT),
        ("not aca", ("aca", "scc"), SILENT),
        ("normal", ("aca", "scc"), SILENT),
        ("Artifact", ("aca", "scc"), ARTEFACT),
        ("artefact", ("artefact", "tissue"), 0),
        ("high", ("aca", "scc"), UNMARKED),
    ],
)
def test_a_label_means_a_class_nothing_or_an_artefact(label, classes, expected) -> None:
    assert meanings([label], classes, others={"high", "low"}) == {label: expected}


@pytest.mark.parametrize("label", ["vessel", "not sure", "not normal", "TUMOUR"])
def test_a_label_that_means_nothing_is_refused_by_one_sentence(label: str) -> None:
    classes = ("normal", "tumour", "Tumour") if label == "TUMOUR" else ("normal", "tumour")
    with pytest.raises(ProjectError, match=f"called {label!r}, as patches are marked; rename"):
        meanings([label, "tumour"], classes)


@pytest.mark.parametrize(
    "classes", [("nodule", "normal"), ("normal", "tumour"), ("aca", "scc"), ("normal", "benign")]
)
def test_the_words_that_a_refusal_names_all_mean_something(classes: tuple[str, ...]) -> None:
    with pytest.raises(ProjectError) as refused:
        meanings(["vessel"], classes)
    words = str(refused.value).partition(" to one of ")[2].removesuffix(", or wipe it.").split(", ")
    assert set(classes) < set(words)
    assert set(meanings(words, classes)) == set(words)


def _grid(stride: float) -> PatchGrid:
    side = round(800 / stride)
    rows, cols = np.indices((side, side)).reshape(2, -1)
    lattice = Lattice((0.0, 0.0), stride, stride, (side, side), 256, 0.5, 0.25)
    return PatchGrid(lattice, np.stack([cols, rows], axis=1).astype(np.int32), "t")


def test_marks_hold_on_another_grid_and_the_later_one_wins(tmp_path: Path) -> None:
    fine, coarse, store = _grid(100.0), _grid(200.0), MarkStore(tmp_path / "marks.jsonl")
    meaning = {"tumour": 1, "artefact": ARTEFACT}
    store.add(squares_of(fine.lattice, [0, 0, 1, 1], [0, 1, 0, 1]), label="tumour", reviewer="ada")
    store.add(squares_of(fine.lattice, [0], [1]), label="artefact", reviewer="eve")
    kinds = kinds_of(fine, store.current(), meaning)
    assert kinds[:3].tolist() == [1, ARTEFACT, UNMARKED]
    store.add(squares_of(coarse.lattice, [0], [0]), label="artefact", reviewer="ada")
    assert kinds_of(fine, store.current(), meaning)[:2].tolist() == [ARTEFACT, ARTEFACT]
    assert kinds_of(coarse, store.current(), meaning)[:2].tolist() == [ARTEFACT, UNMARKED]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("normal", "tumour"), ("normal", "tumour", "artefact")),
        (("LUAD", "LUSC"), ("LUAD", "LUSC", "none", "artefact")),
        (("Benign", "Artefact"), ("Benign", "Artefact")),
    ],
)
def test_the_words_that_are_offered_all_mean_something(
    classes: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert palette(classes) == words
    assert set(meanings(words, classes)) == set(words)
