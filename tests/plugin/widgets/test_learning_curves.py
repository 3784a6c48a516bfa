"""Curves of a training."""

from __future__ import annotations

from typing import Any

from napari_fusecpath.widgets.learning_curves import LearningCurves, curves_of


def test_what_is_no_number_leaves_a_gap() -> None:
    rows = [{"epoch": 0.0, "loss": float("nan"), "inner_r2": -1.0}, {"epoch": 1.0, "loss": 2.0}]
    losses, skills = curves_of(rows)
    assert [(one.name, one.points) for one in losses] == [("learning", ((2, 2.0),))]
    assert [(one.name, one.points) for one in skills] == [("R²", ((1, -1.0),))]


def test_an_earlier_epoch_begins_another_training(qtbot: Any) -> None:
    curves = LearningCurves()
    qtbot.addWidget(curves)
    for number in (0.0, 1.0, 0.0):
        curves.add({"epoch": number, "loss": 1.0})
    assert curves.n_epochs == 1


def test_both_plots_are_drawn_each_in_its_colour(qtbot: Any) -> None:
    curves = LearningCurves()
    qtbot.addWidget(curves)
    curves.resize(300, 110)
    rows = [
        {"epoch": float(k), "loss": 1 / (k + 1), "inner_loss": 0.5 + (k - 2) ** 2, "inner_auroc": k}
        for k in range(6)
    ]
    plain = curves.grab().toImage()
    curves.show_rows(rows)
    drawn = curves.grab().toImage()
    changed = [
        x
        for x in range(drawn.width())
        for y in range(40, 90)
        if drawn.pixelColor(x, y) != plain.pixelColor(x, y)
    ]
    assert min(changed) < 30
    assert max(changed) > 270
    assert curves.words().endswith("best at epoch 3")
