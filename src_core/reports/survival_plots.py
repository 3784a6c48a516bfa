"""Plots of a survival analysis: Kaplan-Meier curves with numbers at risk."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from src_core.reports.drawing import Plot, colour, draw
from src_core.reports.scored import ScoredSlides
from src_core.reports.survival import at_risk, kaplan_meier, log_rank, split_by_risk
from src_core.types import BoolArray, Float64, Int64

__all__ = ["survival_plots"]


def survival_plots(scored: ScoredSlides) -> tuple[Plot, ...]:
    """Return Kaplan-Meier curves of low and high risk with numbers at risk."""
    split = split_by_risk(scored)
    p = log_rank(scored.targets[:, 0], scored.events, split.high)
    test = f"no log-rank test ({p.reason})" if p.value is None else f"log-rank p {_p(p.value)}"
    sizes = f"{int((~split.high).sum())} low, {int(split.high.sum())} high"
    return (
        draw(
            partial(_paint, scored=scored),
            size=(8.4, 5.4),
            caption=(
                f"Kaplan-Meier curves of low and high risk, {split.words}; {test}. Bands: "
                f"pointwise 95 % intervals; ticks: censored; below: how many are still at risk."
            ),
            alt=f"Kaplan-Meier curves of {sizes}: {test}.",
        ),
    )


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"= {value:.4f}"


def _paint(figure: Any, *, scored: ScoredSlides) -> None:
    from matplotlib.ticker import MaxNLocator

    times, high = scored.targets[:, 0], split_by_risk(scored).high
    longest = float(times.max()) or 1.0
    ticks = np.asarray(MaxNLocator(nbins=6).tick_values(0.0, longest))
    ticks = ticks[(ticks >= 0) & (ticks <= longest)]
    axes, table = figure.subplots(2, 1, height_ratios=[5, 1], sharex=True)
    for number, (name, group) in enumerate((("low risk", ~high), ("high risk", high))):
        if group.any():
            _paint_curve(axes, times[group], scored.events[group], name, number)
        _paint_at_risk(table, at_risk(times[group], ticks), ticks, name, number)
    axes.set(ylim=(0, 1.03), xlim=(-0.02 * longest, 1.02 * longest), xticks=ticks)
    axes.set(ylabel="share without an event", xlabel="time")
    axes.tick_params(labelbottom=True)
    axes.grid(color="0.92")
    axes.legend(loc="lower left", fontsize=9)
    table.set_axis_off()


def _paint_curve(axes: Any, times: Float64, events: BoolArray, name: str, number: int) -> None:
    look, curve = colour(number), kaplan_meier(times, events)
    steps = {"where": "post", "lw": 2, "label": f"{name}, {len(times)}", **look}
    axes.step(curve.times, curve.surviving, **steps)
    band = {"step": "post", "alpha": 0.15, "lw": 0, "color": look["color"]}
    axes.fill_between(curve.times, curve.low, curve.high, **band)
    lost = np.sort(times[~events])
    left = curve.surviving[np.searchsorted(curve.times, lost, side="right") - 1]
    axes.plot(lost, left, "|", color=look["color"], ms=7)


def _paint_at_risk(table: Any, counts: Int64, ticks: Float64, name: str, number: int) -> None:
    y, look = 0.7 - 0.5 * number, {"va": "center", "fontsize": 9, "color": colour(number)["color"]}
    table.text(-0.01, y, name, transform=table.transAxes, ha="right", **look)
    for tick, count in zip(ticks, counts, strict=True):
        place = table.get_xaxis_transform()
        table.text(tick, y, str(count), transform=place, ha="center", **look)
