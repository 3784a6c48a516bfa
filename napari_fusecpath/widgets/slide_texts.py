"""What the list of slides says of a slide, in marks and in words."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.slide_stages import SlideStages
from src_core.wording import counted

__all__ = ["STAGES", "marks_of", "state_tip"]

STAGES = ("prepared", "embedded", "clustered", "predicted", "marked")
"""In the order of the marks."""

_NONE, _SOME, _ALL = "○", "◐", "●"


def marks_of(slides: Sequence[SlideStages | None], encoders: Sequence[str]) -> str:
    """Return one mark a stage: full where all slides have it, half where something is there.

    Parameters
    ----------
    slides : sequence of SlideStages or None
        One slide, or those of a patient; None for one that is not read yet.
    encoders : sequence of str
        Patch encoders of the project: who has all of them is embedded.
    """
    known = [one for one in slides if one is not None]
    if len(known) < len(slides):
        return "…"
    shares = [[_shares(one, encoders)[stage] for one in known] for stage in range(len(STAGES))]
    return "".join(map(_mark, shares))


def state_tip(slide: SlideStages | None, encoders: Sequence[str]) -> str:
    """Return how far a slide has come, in words, a line a stage."""
    if slide is None:
        return "Being read …"
    if slide.problem:
        return slide.problem
    missing = [name for name in encoders if name not in slide.encoders]
    done = ", ".join((*slide.encoders, *slide.teachers))
    lacking = f" (not yet by {', '.join(missing)})" if missing and done else ""
    joint = ", also together with other slides" if slide.is_joint else ""
    marked = counted(slide.n_marks, "patch", "patches") if slide.n_marks else "No patches"
    lines = [
        "Prepared: it has patches" if slide.is_prepared else "Not prepared",
        f"Embedded by {done}{lacking}" if done else "Not embedded",
        f"Clustered{joint}" if slide.is_clustered else "Not clustered",
        "Predicted by the run in use" if slide.is_predicted else "Not predicted by the run in use",
        f"{marked} marked by reviewers",
    ]
    if slide.is_missing:
        lines.insert(0, f"Its file is no longer at {slide.path}: relocate it (right click).")
    return "\n".join(lines)


def _shares(slide: SlideStages, encoders: Sequence[str]) -> tuple[float, ...]:
    """Return how much of each stage a slide has, from 0 to 1."""
    done = sum(name in slide.encoders for name in encoders)
    other = 0.5 if slide.encoders else 0.0  # by encoders that the project no longer uses
    embedded = done / len(encoders) if done else other
    stages = (slide.is_clustered, slide.is_predicted, slide.n_marks > 0)
    return (float(slide.is_prepared), embedded, *map(float, stages))


def _mark(shares: Sequence[float]) -> str:
    if all(share == 1.0 for share in shares):
        return _ALL
    return _SOME if any(shares) else _NONE
