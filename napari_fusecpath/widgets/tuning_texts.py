"""What a model would learn from review, what it has learned, and what that has cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from src_core.review_outlook import Outlook
from src_core.tuned_runs import TunedRun
from src_core.tuning_check import check_text as told_check
from src_core.tuning_check import drop_of
from src_core.wording import counted

__all__ = [
    "button_text",
    "cancelled_text",
    "check_text",
    "learned_text",
    "outlook_text",
    "verdict_text",
    "waiting_text",
]


def button_text(outlook: Outlook | None) -> str:
    """Return what the button says that starts fine-tuning."""
    if outlook is None:
        return "Fine-tune"
    patches = _total(outlook.counts)
    what = counted(patches, "marked patch", "marked patches")
    return f"Fine-tune ({what})" if patches else "Fine-tune (corrected labels)"


def outlook_text(run_id: str, outlook: Outlook) -> str:
    """Return what a run's model would learn from, as a sentence."""
    more = [counted(len(outlook.corrected), "corrected label")] if outlook.corrected else []
    marks = [_of_slides(outlook.counts)] if outlook.counts else []
    text = f"{run_id} goes on learning from {' and '.join([*marks, *more])}."
    left = outlook.failures
    return f"{text} {left[0].message}" if left else text


def learned_text(tuned: TunedRun) -> str:
    """Return what a model has learned from, as a sentence."""
    what = _of_slides(tuned.marks) if tuned.marks else "corrected labels"
    return f"{tuned.run_id} learned from {what}, beginning with {tuned.parent}."


def check_text(tuned: TunedRun) -> str:
    """Return what the model knew before and knows now of the slides it was checked on.

    Raises
    ------
    ProjectError
        If the check is damaged.
    """
    return told_check(tuned.check)


def verdict_text(tuned: TunedRun) -> str:
    """Return what the check comes to, and what is to be decided."""
    drop, tolerance = drop_of(tuned.check), tuned.tolerance
    stays = f"{tuned.parent} stays the model in use until you keep this one."
    if drop is None:
        told = "The slides of the check cannot tell what was forgotten: a class is missing"
        return f"{told}, so {stays}" if tuned.is_candidate else f"{told}."
    if tuned.is_candidate:
        count = tuned.check.get("n_slides")
        few = "" if isinstance(count, int) and count >= 20 else _FEW
        over = "" if tolerance is None or drop <= tolerance else f", more than {tolerance:g}"
        return f"The AUROC fell by {drop:.3f}{over}: {stays}{few}"
    if drop <= 0:
        return "The AUROC did not fall there."
    return f"The AUROC fell by {drop:.3f} there."


def waiting_text(tuned: TunedRun) -> str:
    """Return where a candidate is decided about, for a run that has nothing to do with it."""
    return f"{tuned.run_id} waits to be kept or dropped: choose {tuned.parent} in Predict."


def cancelled_text(run_id: str, made: Sequence[str]) -> str:
    """Return what is left of a fine-tuning that was cancelled.

    Parameters
    ----------
    run_id : str
        The run that was to go on learning.
    made : sequence of str
        The runs that are there since: a cancel may come too late.
    """
    if made:
        return f"The cancel came too late: {made[-1]} was finished, and is stored."
    return (
        f"Cancelled: nothing was learned, and {run_id} stays as it is. Your marks are stored; "
        "Fine-tune begins anew."
    )


_FEW = " With so few slides a single one moves it by hundredths."


def _total(counts: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sum(told.values()) for told in counts.values())


def _of_slides(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return such as ``23 marked patches of 2 slides (12 tumour, 11 normal)``."""
    by_label: Counter[str] = Counter()
    for told in counts.values():
        by_label.update(told)
    labels = ", ".join(f"{count} {label}" for label, count in sorted(by_label.items()))
    patches = counted(_total(counts), "marked patch", "marked patches")
    of = next(iter(counts)) if len(counts) == 1 else counted(len(counts), "slide")
    return f"{patches} of {of} ({labels})"
