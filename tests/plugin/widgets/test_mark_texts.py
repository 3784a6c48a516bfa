"""What is said of marks and of reviewers, in words, and the name that is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_fusecpath.reviewer import remember_reviewer, reviewer_name, user_name
from napari_fusecpath.widgets.mark_texts import annotations_text, latest_text, said_text
from napari_fusecpath.widgets.suggestion_texts import verdict_label
from napari_fusecpath.widgets.two_reviewers import pair_text
from src_core.review.acts import Act, Mark
from tests.plugin.widgets.test_prediction_texts import prediction_of

_SQUARE = (0.0, 0.0, 1.0, 1.0)


def mark(reviewer: str, comment: str = "", time: str = "2026-01-31T12:00:00.000+00:00") -> Mark:
    return Mark(
        square=_SQUARE, label="tumour", reviewer=reviewer, time=time, id="i", comment=comment
    )


def test_the_latest_act_is_told() -> None:
    act = Act(id="i", kind="mark", time="t", reviewer="ada", squares=(_SQUARE,), label="tumour")
    assert latest_text(None) == ""
    assert latest_text(act) == "Last: tumour, 1 patch."
    wiped = replace(act, label=None, squares=(_SQUARE,) * 1200)
    assert latest_text(wiped) == "Last: wiped, 1,200 patches."
    assert latest_text(replace(act, comment="edge")) == "Last: tumour, 1 patch, “edge”."
    assert latest_text(replace(act, renames="label 1")) == "Last: label 1 is called tumour."


def test_one_patch_of_annotations_is_told_as_one() -> None:
    made = {"counts": {"tumour": 1}, "otherwise": 1, "others": 0, "known": 1, "unclassified": 0}
    assert annotations_text([made]) == (
        "1 tumour patch marked, 1 of them you had called otherwise; 1 patch was so before."
    )


def test_what_each_reviewer_said_is_told_the_latest_first() -> None:
    assert said_text(()) == ""
    first, second = said_text([mark("ada", "edge"), mark("bob", time="whenever")]).splitlines()
    assert first == "bob: tumour (whenever)"
    assert first != second
    assert second.startswith("ada: tumour (2026-01-31 ") or "2026-02-01" in second
    assert second.endswith("), “edge”")
    assert said_text([mark(f"r{number}") for number in range(7)]).endswith("and 2 more")


def test_the_name_is_remembered_unless_its_file_is_damaged(tmp_path: Path) -> None:
    assert reviewer_name() == user_name()
    remember_reviewer("Ada")
    assert reviewer_name() == "Ada"
    (path,) = (tmp_path / "state").rglob("reviewer.json")
    for damage in ('{"name": 3}', '{"name": " "}', "[]", "{", " " * 20_000):
        path.write_text(damage, encoding="utf-8")
        assert reviewer_name() == user_name()


@pytest.mark.parametrize(
    ("classes", "best", "agreed", "rejected"),
    [
        (("normal", "nodule"), 1, "nodule", "normal"),
        (("normal", "nodule"), 0, "normal", "nodule"),
        (("aca", "normal", "scc"), 0, "aca", "not aca"),
        (("aca", "normal", "scc"), 1, "normal", None),
    ],
)
def test_to_agree_or_not_is_a_label(
    classes: tuple[str, ...], best: int, agreed: str, rejected: str | None
) -> None:
    n = len(classes)
    odds = np.full((4, n), 0.1, np.float32)
    odds[2, best], odds[3] = 0.8, np.nan
    prediction = prediction_of(*[1 / n] * n, classes=classes, patch_probabilities=odds)
    assert verdict_label(prediction, 2, is_right=True) == agreed
    assert verdict_label(prediction, 2, is_right=False) == rejected
    assert verdict_label(prediction, 3, is_right=True) is None


def test_a_pair_of_reviewers_in_sentences() -> None:
    pair = {
        "first": "ada",
        "second": "bob",
        "n_first": 1200,
        "n_second": 40,
        "n_both": 40,
        "n_same": 35,
        "agreement": 0.875,
        "kappa": 0.744,
    }
    assert pair_text(pair) == (
        "ada has marked 1,200 patches, bob 40, 40 by both. The same label for 35 of these "
        "(87.5 %); Cohen's kappa 0.74."
    )
    assert "kappa is not defined" in pair_text({**pair, "kappa": None})
    assert pair_text({**pair, "n_both": 0}).endswith("bob 40; none is marked by both.")
