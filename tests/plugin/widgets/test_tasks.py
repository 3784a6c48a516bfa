"""Every task goes the same way in a window: values and survival, learned and explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.survival_texts import position_text
from src_core.bags.targets import Target
from src_core.inference.explanation import Explanation
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.project import Project
from src_core.provenance import read_json, write_json
from tests.plugin.widgets.outlived import figures_of
from tests.plugin.widgets.small_cohort import copied

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

pytestmark = pytest.mark.slow


@pytest.fixture
def project(trained_cohort: Path, tmp_path: Path) -> Project:
    return copied(trained_cohort, tmp_path)


@pytest.mark.parametrize(
    "target",
    [Target(("share", "months"), "regression"), Target(("months", "dead"), "survival")],
    ids=lambda target: target.task,
)
def test_every_task_goes_the_same_way(
    window: Open, until_idle: Wait, project: Project, target: Target
) -> None:
    dock = window(project.root)
    train: Any = dock.panels["train"]
    predict: Any = dock.panels["predict"]
    viewer = dock.session.viewer
    dock.go("train")
    train.choice.choose(target)
    dock.session.refresh()
    train.main.click()
    until_idle(dock)
    assert train.warning.text() == ""
    assert f"run-0002: {target.task} of {target.name}" in train.run_text.text()
    dock.run("predict")
    until_idle(dock)
    assert predict.warning.text() == ""
    stored = Prediction.load(project.prediction("run-0002", "s0"))
    names = [predict.table.item(row, 0).text() for row in range(predict.table.rowCount())]
    assert names == list(stored.classes)
    is_of_patients = target.task == "survival"
    assert predict.patient.isHidden() != is_of_patients
    if is_of_patients:
        _look_at_the_patient(dock, project, float(stored.logits[0]))
        _look_at_the_position(dock, project, float(stored.logits[0]))
    assert predict.position.isHidden() == predict.position.rank.isHidden() != is_of_patients
    assert float(predict.table.item(0, 1).text()) == pytest.approx(stored.logits[0], rel=1e-3)
    assert {role_of(layer) for layer in viewer.layers if layer.visible} == {"slide", "contribution"}
    assert [predict.map_box.itemText(row) for row in range(predict.map_box.count())] == [
        "Contribution",
        "Attention",
        "Clusters",
    ]
    layer: Any = find_layer(viewer, "contribution")
    cells = project.slide("s0").load_grid().cells
    last = len(stored.classes) - 1
    predict.table.selectRow(last)
    assert stored.classes[last] in layer.name
    shown = layer.data[cells[:, 1], cells[:, 0]]
    assert np.array_equal(shown, stored.map_contributions[:, last], equal_nan=True)

    predict.reasons.ask.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    found = Explanation.load(project.prediction("run-0002", "s0") / "explanation.json")
    sizes = [abs(one.change[last]) for one in found.without]
    assert predict.reasons.table.rowCount() == len(sizes)
    first = predict.reasons.table.item(0, 3).text().split(" ± ")[0]
    assert abs(float(first)) == pytest.approx(max(sizes), rel=1e-3)

    again: Any = window(project.root).panels["train"]
    assert again.choice.target() == target, "a project is shown as it was trained last"


def _look_at_the_patient(dock: FuseCPathWidget, project: Project, risk: float) -> None:
    """What is said of all slides of a patient, unless the model has not seen them as they are."""
    patient: Any = dock.panels["predict"].patient  # type: ignore[attr-defined]
    said = f"Patient p0: log-hazard {risk:.4g} over 1 slide."
    assert patient.text() == said
    path = project.prediction("run-0002", "s0") / "prediction.json"
    whole = read_json(path)
    write_json(path, {**whole, "edits_id": "other"})
    dock.session.refresh()
    assert patient.isHidden(), "it was made before patches were excluded"
    write_json(path, whole)
    dock.session.refresh()
    assert patient.text() == said


def _look_at_the_position(dock: FuseCPathWidget, project: Project, risk: float) -> None:
    """Of a survival model: the rank at once, and curves when those held back are scored."""
    position: Any = dock.panels["predict"].position  # type: ignore[attr-defined]
    run = project.run("run-0002")
    meta: Any = checkpoint_meta(run / "checkpoint")
    was_learned = "s0" in read_json(run / "config.json")["trained_on"]
    assert position.rank.text() == position_text(risk, meta, was_learned=was_learned)
    assert position.rank.text().count("patients that the model learned from: in the half") == 1
    assert position.caption.text().endswith("press Score the slides held back in 5 Train.")
    assert position.plot.isHidden()
    write_json(run / "report" / "figures.json", figures_of(meta.median_risk))
    dock.session.refresh()
    assert "of 40 patients that run-0002 held back and did not" in position.caption.text()
    assert ("and one of them" in position.caption.text()) != was_learned
    assert not position.plot.isHidden()
    side = "high risk" if risk > meta.median_risk else "low risk"
    assert position.plot.words().endswith(f"drawn thicker: {side}")
    write_json(run / "report" / "figures.json", figures_of(meta.median_risk, known=["p0"]))
    dock.session.refresh()
    assert position.plot.isHidden()
    assert not position.rank.isHidden()
    assert "the curves would flatter the model" in position.caption.text()
