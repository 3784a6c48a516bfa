"""Where a patient lies among others by a survival model, in sentences."""

from __future__ import annotations

from napari_fusecpath.widgets.stored_curves import HeldBackCurves
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.models.learned_risks import LearnedRisks
from src_core.wording import counted

__all__ = ["SPREAD_NOTE", "curves_text", "known_text", "missing_text", "position_text", "side_name"]

SPREAD_NOTE = (
    "A model spreads the risks of those that it learned from further apart than those of others: "
    "new patients lie nearer to the middle."
)
_FEWEST_EVENTS = 10
"""As in the cautions of a report."""


def side_name(*, is_high: bool) -> str:
    """Return what a side of the median is called."""
    return "high risk" if is_high else "low risk"


def position_text(risk: float, model: CheckpointMeta, *, was_learned: bool) -> str:
    """Return where a risk lies among those of the training; empty where the model knows none.

    Parameters
    ----------
    risk : float
        The mean log-hazard of the patient's slides.
    model : CheckpointMeta
    was_learned : bool
        The patient's outcome was used in the training.
    """
    if model.median_risk is None:
        return ""
    is_high = risk > model.median_risk
    half = "above" if is_high else "up to"
    if model.learned_risks is None:
        side = side_name(is_high=is_high).capitalize()
        text = f"{side}: {half} the median of the patients that the model learned from."
    else:
        than = _rank(risk, model.learned_risks)
        text = f"{than} that the model learned from: in the half {half} their median."
    if was_learned:
        text += " This patient's own outcome was used in the training: that is no test."
    return text


def curves_text(curves: HeldBackCurves, run_id: str, *, is_high: bool, is_among_them: bool) -> str:
    """Return of whom the curves are, whether they differ, and on which side this one is."""
    n, events = curves.low.n + curves.high.n, curves.low.events + curves.high.events
    text = (
        f"Kaplan-Meier curves, the share without an event, of {counted(n, 'patient')} that "
        f"{run_id} held back and did not learn from ({counted(events, 'event')}), split at the "
        f"training patients' median risk: {_test(curves)}. This patient is on the thick side, "
        f"{side_name(is_high=is_high)}{', and one of them' * is_among_them}. Numbers below the "
        "axis: still at risk."
    )
    if events < _FEWEST_EVENTS:
        text += f" With fewer than {_FEWEST_EVENTS} events the curves are mostly chance."
    return text


def known_text(curves: HeldBackCurves) -> str:
    """Return why curves that are stored are not drawn."""
    return (
        f"No Kaplan-Meier curves: of {counted(curves.n_known, 'patient')} that were held back "
        "other slides were learned from, so the curves would flatter the model."
    )


def missing_text(run_id: str, project: str, *, is_newest: bool, holds_back: bool) -> str:
    """Return how to come by curves where none are stored."""
    if not holds_back:
        return (
            f"No Kaplan-Meier curves: {run_id} held nobody back, and those of the patients that it "
            "learned from would flatter it."
        )
    way = (
        "press Score the slides held back in 5 Train"
        if is_newest
        else f'run fusecpath evaluate "{project}" --run {run_id}'
    )
    return f"For Kaplan-Meier curves of patients that {run_id} did not learn from, {way}."


def _rank(risk: float, learned: LearnedRisks) -> str:
    share, of = learned.share_below(risk), counted(learned.n, "patient")
    if share in {0, 1}:
        return f"{'Higher risk than all' if share else 'No higher risk than any of the'} {of}"
    if learned.is_whole:
        return f"Higher risk than {round(share * learned.n)} of the {of}"
    return f"Higher risk than {min(99, max(1, round(100 * share)))}% of the {of}"


def _test(curves: HeldBackCurves) -> str:
    if curves.p is None:
        return f"no log-rank test ({curves.reason})"
    return f"log-rank p {'< 0.0001' if curves.p < 1e-4 else f'= {curves.p:.4f}'}"
