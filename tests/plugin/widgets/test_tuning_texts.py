"""What fine-tuning learned and cost, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_fusecpath.widgets.tuning_texts import (
    button_text,
    cancelled_text,
    check_text,
    learned_text,
    outlook_text,
    verdict_text,
)
from src_core.errors import ProjectError
from src_core.pipeline import Failure
from src_core.review_outlook import Outlook
from src_core.tuned_runs import CANDIDATE, TunedRun


def tuned(
    drop: float | None, *, run_id: str = "run-0002", n_slides: int = 30, learned: bool = False
) -> TunedRun:
    def skill(auroc: float | None) -> dict[str, object]:
        value = {"value": auroc, "reason": "" if auroc is not None else "one class"}
        return {"auroc": value, "balanced_accuracy": {"value": 0.75, "reason": ""}, "loss": 0.4}

    after = None if drop is None else 0.9 - drop
    what = "had learned from" if learned else "never learned from"
    return TunedRun(
        run_id=run_id,
        parent="run-0001",
        marks={"a": {"tumour": 12, "normal": 10}, "b": {"normal": 1}},
        check={
            "before": skill(None if drop is None else 0.9),
            "after": skill(after),
            "drop": drop,
            "n_slides": n_slides,
            "slides": f"slides it {what}",
        },
        tolerance=0.02,
    )


def test_what_was_learned_and_lost() -> None:
    run = tuned(0.01)
    assert learned_text(run) == (
        "run-0002 learned from 23 marked patches of 2 slides (11 normal, 12 tumour), beginning "
        "with run-0001."
    )
    assert check_text(run) == (
        "On 30 slides it never learned from: AUROC 0.900 → 0.890, balanced accuracy 0.750 → "
        "0.750, loss 0.400 → 0.400."
    )
    assert verdict_text(run) == "The AUROC fell by 0.010 there."
    assert verdict_text(tuned(-0.01)) == "The AUROC did not fall there."
    alone = tuned(0.0, n_slides=1, learned=True)
    assert check_text(alone).startswith(
        "On 1 slide it had learned from (there are too few others):"
    )
    assert "AUROC not known, balanced accuracy 0.750 → 0.750" in check_text(tuned(None))
    assert "cannot tell what was forgotten" in verdict_text(tuned(None))


def test_a_candidate_says_what_is_to_be_decided() -> None:
    text = verdict_text(tuned(0.083, run_id=f"{CANDIDATE}ab12"))
    assert text == (
        "The AUROC fell by 0.083, more than 0.02: run-0001 stays the model in use until you keep "
        "this one."
    )
    few = verdict_text(tuned(0.083, run_id=f"{CANDIDATE}ab12", n_slides=4))
    unknown = verdict_text(tuned(None, run_id=f"{CANDIDATE}ab12"))
    assert unknown.endswith("so run-0001 stays the model in use until you keep this one.")
    assert few == f"{text} With so few slides a single one moves it by hundredths."


HUGE = {"auroc": {"value": 10**400}}


@pytest.mark.parametrize(
    "wrong",
    [{"before": {}}, {"before": HUGE, "after": HUGE}, {"n_slides": "many"}, {"n_slides": None}],
)
def test_a_damaged_check_is_noticed(wrong: dict[str, object]) -> None:
    run = tuned(0.083, run_id=f"{CANDIDATE}ab12")
    damaged = replace(run, check={**run.check, **wrong})
    assert verdict_text(damaged).startswith("The AUROC fell by 0.083, more than 0.02:")
    with pytest.raises(ProjectError, match="The check of this fine-tuning is damaged"):
        check_text(damaged)


def test_what_would_be_learned() -> None:
    assert button_text(None) == "Fine-tune"
    one = Outlook(counts={"a": {"tumour": 1}}, corrected=(), failures=())
    assert button_text(one) == "Fine-tune (1 marked patch)"
    assert outlook_text("run-0001", one) == (
        "run-0001 goes on learning from 1 marked patch of a (1 tumour)."
    )
    failure = Failure(slide_id="b", message="b is held back.")
    both = Outlook(counts=one.counts, corrected=("c", "d"), failures=(failure,))
    assert outlook_text("run-0001", both) == (
        "run-0001 goes on learning from 1 marked patch of a (1 tumour) and 2 corrected labels. "
        "b is held back."
    )
    labels = Outlook(counts={}, corrected=("c",), failures=())
    assert button_text(labels) == "Fine-tune (corrected labels)"
    assert outlook_text("run-0001", labels) == "run-0001 goes on learning from 1 corrected label."


def test_of_a_cancelled_fine_tuning_it_is_said_what_is_there() -> None:
    assert cancelled_text("run-0001", []) == (
        "Cancelled: nothing was learned, and run-0001 stays as it is. Your marks are stored; "
        "Fine-tune begins anew."
    )
    assert cancelled_text("run-0001", ["run-0002"]) == (
        "The cancel came too late: run-0002 was finished, and is stored."
    )
    assert cancelled_text("run-0001", [f"{CANDIDATE}ab12"]).startswith("The cancel came too late")
