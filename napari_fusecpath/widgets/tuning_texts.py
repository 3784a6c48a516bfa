"""What a model would learn from review, what it has learned, and what that has cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from napari_fusecpath.widgets.result_texts import number
from src_core.review_outlook import Outlook
from src_core.tuned_runs import TunedRun

__all__ = ["button_text", "check_text", "learned_text", "outlook_text", "verdict_text"]

_FIGURES = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}


def button_text(outlook: Outlook | None) -> str:
    """Return what the button says that starts fine-tuning."""
    if outlook is None:
        return "Fine-tune"
    patches = _total(outlook.counts)
    what = number(patches, "marked patch", "marked patches")
    return f"Fine-tune ({what})" if patches else "Fine-tune (corrected labels)"


def outlook_text(run_id: str, outlook: Outlook) -> str:
    """Return what a run's model would learn from, as a sentence."""
    more = [number(len(outlook.corrected), "corrected label")] if outlook.corrected else []
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
    KeyError, TypeError, ValueError
        If the check is damaged.
    """
    check = tuned.check
    before, after = check["before"], check["after"]
    told = [
        f"{name} {_change(before[key]['value'], after[key]['value'])}"
        for key, name in _FIGURES.items()
        if before[key]["value"] is not None and after[key]["value"] is not None
    ]
    told.append(f"loss {_change(before['loss'], after['loss'])}")
    slides = number(int(check["n_slides"]), "slide")
    which = str(check["slides"]).removeprefix("slides ")
    few = " (there are too few others)" if which == _LEARNED else ""
    return f"On {slides} {which}{few}: {', '.join(told)}."


def verdict_text(tuned: TunedRun) -> str:
    """Return what the check comes to, and what is to be decided."""
    drop, tolerance = tuned.check.get("drop"), tuned.tolerance
    if not isinstance(drop, float):
        return "The slides of the check cannot tell what was forgotten: they are of one class."
    if tuned.is_candidate:
        few = "" if int(tuned.check.get("n_slides", 0)) >= 20 else _FEW
        over = "" if tolerance is None or drop <= tolerance else f", more than {tolerance:g}"
        return (
            f"The AUROC fell by {drop:.3f}{over}: {tuned.parent} stays the model in use until you "
            f"keep this one.{few}"
        )
    if drop <= 0:
        return "The AUROC did not fall there."
    return f"The AUROC fell by {drop:.3f} there."


_LEARNED = "it had learned from"
_FEW = " With so few slides a single one moves it by hundredths."


def _total(counts: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sum(told.values()) for told in counts.values())


def _of_slides(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return such as ``23 marked patches of 2 slides (12 tumour, 11 normal)``."""
    by_label: Counter[str] = Counter()
    for told in counts.values():
        by_label.update(told)
    labels = ", ".join(f"{count} {label}" for label, count in sorted(by_label.items()))
    patches = number(_total(counts), "marked patch", "marked patches")
    of = next(iter(counts)) if len(counts) == 1 else number(len(counts), "slide")
    return f"{patches} of {of} ({labels})"


def _change(before: Any, after: Any) -> str:
    return f"{float(before):.3f} → {float(after):.3f}"
