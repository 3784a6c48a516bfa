"""Kaplan-Meier curves of patients that a run held back, as ``evaluate`` has stored them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import isclose
from pathlib import Path
from typing import Any

from src_core.errors import FusecpathError
from src_core.plain_text import one_line
from src_core.project import Project
from src_core.provenance import read_json, stat_sign

__all__ = ["HeldBackCurves", "SideCurve", "curves_in", "held_back_curves"]

_MOST_STEPS = 1000
_MOST_PATIENTS = 10**9
_LONGEST = 1e12
_LONGEST_REASON = 200
_SET = "test"
"""Of the report's sets the one that the run held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCurve:
    """The Kaplan-Meier curve of those on one side of the median risk."""

    n: int
    events: int
    times: tuple[float, ...]
    """Rising from 0, in the unit of the labels table; empty where nobody is on this side."""
    surviving: tuple[float, ...]
    at_risk: tuple[int, ...]
    """Who is left just before each time."""

    def surviving_at(self, time: float) -> float:
        """Return the share without an event up to and including a time."""
        return self.surviving[max(0, bisect_right(self.times, time) - 1)]

    def at_risk_at(self, time: float) -> int:
        """Return how many have neither had an event nor been lost before a time."""
        step = bisect_left(self.times, time)
        return self.at_risk[step] if step < len(self.times) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBackCurves:
    """Both sides of the split, and whether they differ more than by chance."""

    low: SideCurve
    high: SideCurve
    median_risk: float | None
    """Where they are split; None where not at the one median of the training."""
    p: float | None
    """Of the log-rank test."""
    reason: str
    """Why there is no `p`."""
    n_known: int
    """Patients of whom other slides were learned from."""


def held_back_curves(
    project: Project, run_id: str, median_risk: float
) -> tuple[HeldBackCurves | None, str]:
    """Return the stored curves of a run that are split at its model's median risk.

    Returns
    -------
    curves : HeldBackCurves or None
        None also where the run was not scored, or by a version that stored none.
    trouble : str
        A sentence if something is stored, but cannot be used.
    """
    path = project.run(run_id) / "report" / "figures.json"
    found, trouble = _found(path, stat_sign(path))
    if found is None or found.median_risk is None:
        return None, trouble
    if not isclose(found.median_risk, median_risk, rel_tol=1e-9, abs_tol=1e-12):
        return None, f"{path} is of another model; score the slides held back again."
    return found, ""


@lru_cache(maxsize=8)
def _found(path: Path, sign: object) -> tuple[HeldBackCurves | None, str]:
    """Read a report's figures; `sign` is that of the file, None if there is none."""
    if sign is None:
        return None, ""
    try:
        return curves_in(read_json(path)), ""
    except FusecpathError as error:
        return None, str(error)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, f"{path} is damaged; score the slides held back again."


def curves_in(figures: Mapping[str, Any]) -> HeldBackCurves | None:
    """Return the curves in a report's figures, None if it has none.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        If they are none that a report could have: a run may come from anywhere.
    """
    told = figures["sets"].get(_SET)
    if told is None or "curves" not in told:
        return None
    curves, test = told["curves"], told["log_rank_p"]
    median, p, reason = curves["median_risk"], test["value"], test["reason"]
    _require(figures["level"] == "patient" and isinstance(reason, str))
    _require(median is None or _is_number(median, -1e30, 1e30))
    _require(p is None or _is_number(p, 0, 1))
    known = figures["provenance"].get("known patients", [])
    _require(isinstance(known, list))
    low, high = (_side(curves[name]) for name in ("low", "high"))
    _require(low.n + high.n > 0)
    return HeldBackCurves(
        low=low,
        high=high,
        median_risk=median,
        p=p,
        reason=one_line(reason, _LONGEST_REASON),
        n_known=len(known),
    )


def _side(told: Mapping[str, Any]) -> SideCurve:
    n, events = told["n"], told["events"]
    lists = [told[name] for name in ("times", "surviving", "at_risk")]
    _require(_is_count(n, _MOST_PATIENTS) and _is_count(events, n))
    _require(all(isinstance(one, list) for one in lists))
    times, surviving, left = lists
    _require(len(times) == len(surviving) == len(left) <= min(_MOST_STEPS, n + 1))
    _require(bool(times) == bool(n))
    if n:
        _require(all(_is_number(one, 0, _LONGEST) for one in times) and times[0] == 0)
        _require(all(_is_number(one, 0, 1) for one in surviving) and surviving[0] == 1)
        _require(all(_is_count(one, n) for one in left) and left[0] == n)
    _require(all(a <= b for a, b in pairwise(times)))
    _require(all(a >= b for one in (surviving, left) for a, b in pairwise(one)))
    return SideCurve(
        n=n, events=events, times=tuple(times), surviving=tuple(surviving), at_risk=tuple(left)
    )


def _is_number(value: object, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _require(is_so: bool) -> None:
    if not is_so:
        raise ValueError("no curves of ours")
