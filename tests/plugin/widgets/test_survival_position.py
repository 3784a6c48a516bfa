"""Where a patient lies among others: sentences and curves of planted scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtGui import QColor

from napari_fusecpath.widgets.stored_curves import HeldBackCurves, curves_in, held_back_curves
from napari_fusecpath.widgets.survival_plot import SurvivalPlot, time_ticks
from napari_fusecpath.widgets.survival_texts import (
    curves_text,
    known_text,
    missing_text,
    position_text,
)
from src_core.models.checkpoint_meta import CheckpointMeta, EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.learned_risks import LearnedRisks
from src_core.project import Project
from src_core.provenance import write_json
from tests.plugin.widgets.outlived import figures_of


def model_of(n: int | None, **changes: Any) -> CheckpointMeta:
    """Return a model that learned from patients with the risks 0 to n - 1."""
    risks = None if n is None else np.arange(n, dtype=float)
    given: dict[str, Any] = {
        "student": StudentConfig(input_dim=8, n_outputs=1, task="survival"),
        "encoders": (EmbeddingSource(name="e", dim=8, licence="MIT"),),
        "target_name": "months, dead",
        "target_columns": ("months", "dead"),
        "classes": ("log-hazard",),
        "per": "patient",
        "median_risk": None if risks is None else float(np.median(risks)),
        "learned_risks": None if risks is None else LearnedRisks.of(risks),
    }
    return CheckpointMeta(**{**given, **changes})


@pytest.fixture
def curves() -> HeldBackCurves:
    found = curves_in(figures_of())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("n", "risk", "words"),
    [
        (40, 30.5, "Higher risk than 31 of the 40 patients that the model learned from: in the "),
        (40, 99.0, "Higher risk than all 40 patients that"),
        (40, -1.0, "No higher risk than any of the 40 patients that"),
        (1001, 780.0, "Higher risk than 78% of the 1,001 patients that"),
        (1001, 0.01, "Higher risk than 1% of the 1,001 patients that"),
        (1001, 999.99, "Higher risk than 99% of the 1,001 patients that"),
    ],
)
def test_the_rank_among_those_learned_from(n: int, risk: float, words: str) -> None:
    text = position_text(risk, model_of(n), was_learned=False)
    assert text.startswith(words)
    half = "in the half above their median." if risk > (n - 1) / 2 else "in the half up to their"
    assert half in text
    assert "no test" in position_text(risk, model_of(n), was_learned=True)


def test_older_models_say_what_they_know() -> None:
    assert position_text(1.0, model_of(None), was_learned=False) == ""
    older = model_of(4, learned_risks=None)
    assert position_text(1.5, older, was_learned=False).startswith("Low risk: up to the median")
    assert position_text(1.6, older, was_learned=False).startswith("High risk: above the median")


def test_the_curves_say_of_whom_they_are(curves: HeldBackCurves) -> None:
    assert (curves.low.n, curves.high.n) == (26, 14)
    assert curves.high.at_risk_at(0) == 14
    assert curves.high.at_risk_at(3.0) == 13, "one was gone before, one goes now"
    assert curves.high.at_risk_at(1e9) == 0
    assert curves.low.surviving_at(29) == 1
    text = curves_text(curves, "run-0001", is_high=True, is_among_them=True)
    assert text.startswith(
        "Kaplan-Meier curves, the share without an event, of 40 patients that run"
    )
    assert "log-rank p < 0.0001" in text
    assert "on the thick side, high risk, and one of them." in text
    assert "mostly chance" not in text
    none = replace(curves, p=None, reason="one of the groups is empty")
    few = replace(none, high=replace(none.high, events=0), low=replace(none.low, events=9))
    text = curves_text(few, "run-0001", is_high=False, is_among_them=False)
    assert "no log-rank test (one of the groups is empty)" in text
    assert "low risk. Numbers below the axis" in text
    assert text.endswith("With fewer than 10 events the curves are mostly chance.")


def test_without_curves_the_way_to_them_is_said() -> None:
    def said(**how: bool) -> str:
        return missing_text("run-0001", "/data/a", **{"is_newest": True, "holds_back": True, **how})

    assert said().endswith("press Score the slides held back in 5 Train.")
    assert said(is_newest=False).endswith('run fusecpath evaluate "/data/a" --run run-0001.')
    assert "held nobody back" in said(holds_back=False)
    found = curves_in(figures_of(known=["p1", "p2"]))
    assert found is not None
    assert "of 2 patients that were held back other slides were learned from" in known_text(found)


def _in(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    *way, last = place.split(".")

    def change(figures: dict[str, Any]) -> None:
        inner = figures["sets"]["test"]
        for name in way:
            inner = inner[name]
        inner[last] = value

    return change


@pytest.mark.parametrize(
    "damage",
    [
        _in("curves", []),
        _in("curves.low", None),
        _in("curves.low.n", -1),
        _in("curves.low.n", 10**400),
        _in("curves.low.events", 27),
        _in("curves.high.times", [0.0] * 100_000),
        _in("curves.high.times", {"0": 1}),
        _in("curves.high.at_risk", ["a"] * 15),
        _in("curves.high.surviving", [1.0]),
        _in("curves.median_risk", "0"),
        _in("log_rank_p", {"value": 2.0, "reason": ""}),
        _in("log_rank_p", {"value": None, "reason": 3}),
        lambda figures: figures.update(level=["patient"]),
        lambda figures: figures.update(provenance=None),
        lambda figures: figures.update(sets=[1]),
        lambda figures: figures["sets"]["test"]["curves"]["high"]["times"].reverse(),
        lambda figures: figures["sets"]["test"]["curves"]["high"]["surviving"].reverse(),
        lambda figures: figures["sets"]["test"]["curves"]["high"]["at_risk"].reverse(),
    ],
)
def test_curves_that_cannot_be_are_a_sentence(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    project, figures = Project.create(tmp_path / "p"), figures_of()
    path = project.run("run-0001") / "report" / "figures.json"
    assert held_back_curves(project, "run-0001", 25.0) == (None, "")
    write_json(path, figures)
    assert held_back_curves(project, "run-0001", 25.0)[0] == curves_in(figures_of())
    none, why = held_back_curves(project, "run-0001", 24.0)
    assert none is None
    assert why.endswith("figures.json is of another model; score the slides held back again.")
    damage(figures)
    write_json(path, figures)
    none, why = held_back_curves(project, "run-0001", 25.0)
    assert none is None
    assert why == f"{path} is damaged; score the slides held back again."


def test_reports_of_before_have_no_curves() -> None:
    figures = figures_of()
    del figures["sets"]["test"]["curves"]
    assert curves_in(figures) is None
    assert curves_in({"sets": {"external": {}}}) is None


@pytest.mark.parametrize(
    ("longest", "ticks"),
    [
        (0.0, [0]),
        (1e-300, [0]),
        (4.0, [0, 1, 2, 3, 4]),
        (37.0, [0, 10, 20, 30]),
        (9.9, [0, 2.5, 5, 7.5]),
        (1e12, [0, 2.5e11, 5e11, 7.5e11, 1e12]),
    ],
)
def test_ticks_are_round(longest: float, ticks: list[float]) -> None:
    assert time_ticks(longest) == pytest.approx(ticks)


def test_the_own_side_is_drawn_stronger(qtbot: Any, curves: HeldBackCurves) -> None:
    plot = SurvivalPlot()
    qtbot.addWidget(plot)
    plot.resize(320, plot.height())

    def inked(is_high: bool) -> tuple[int, int]:
        """Return how many pixels are in the hue of high and of low risk."""
        plot.show_curves(curves, is_high=is_high)
        picture = plot.grab().toImage()
        hues = [
            QColor(picture.pixelColor(x, y)).hsvHue()
            for x in range(picture.width())
            for y in range(picture.height())
            if picture.pixelColor(x, y).hsvSaturation() > 100
        ]
        return sum(20 <= hue <= 50 for hue in hues), sum(190 <= hue <= 220 for hue in hues)

    (high, other_low), (other_high, low) = inked(is_high=True), inked(is_high=False)
    assert high > 1.5 * other_high > 0
    assert low > 1.5 * other_low > 0
    assert plot.words() == (
        "high risk: 14 patients, 9 events; low risk: 26 patients, 17 events; "
        "drawn thicker: low risk"
    )
    assert plot.words_at(3.0).startswith("time 3: high risk 93% without an event, 13 at risk; low")
    nobody = replace(curves, high=replace(curves.high, n=0, events=0, times=(), surviving=()))
    plot.show_curves(nobody, is_high=True)
    assert not plot.grab().isNull()
    assert plot.words_at(3.0).startswith("time 3: low risk 100%")
    plot.show_curves(None, is_high=True)
    assert plot.isHidden()
