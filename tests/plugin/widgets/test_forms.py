"""A form says what its declaration says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from qtpy.QtWidgets import QComboBox, QLabel

from napari_fusecpath.widgets.forms import ConfigForm, Fold, label_of
from src_core.clustering.result import ClusterConfig
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.patches.grid import GridConfig
from src_core.tissue.segment import TissueConfig
from src_core.training.config import TrainConfig
from src_core.verbs.models import TrainOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything(Config):
    count: Annotated[int, Range(1, 8), Help("How many")] = 4
    large: Annotated[int, Range(0, 2**32 - 1), Help("A seed")] = 2**32 - 1
    rate: Annotated[float, Range(0, 1), Help("How fast")] = 5e-5
    on: Annotated[bool, Help("Whether")] = True
    kind: Annotated[Literal["a", "b"], Help("Which")] = "b"
    names: Annotated[tuple[str, ...], Help("Who")] = ("x", "y")
    perhaps: Annotated[float | None, Range(0, 5), Help("If any", advanced=True)] = None


@pytest.mark.parametrize(
    "config", [Everything, ClusterConfig, GridConfig, TissueConfig, TrainConfig]
)
def test_defaults_come_from_the_declaration(qtbot: Any, config: type[Config]) -> None:
    form = ConfigForm(config)
    qtbot.addWidget(form)
    assert config.from_dict(form.values()) == config()


def test_values_there_and_back(qtbot: Any) -> None:
    form = ConfigForm(Everything)
    qtbot.addWidget(form)
    values = {
        "count": 7,
        "large": 3_000_000_000,
        "rate": 0.00012,
        "on": False,
        "kind": "a",
        "names": ["p", "q"],
        "perhaps": 2.5,
    }
    with qtbot.waitSignal(form.changed):
        form.set_values(values)
    assert form.values() == values


def test_a_choice_may_be_left_to_the_engine_and_a_field_may_have_another_name(qtbot: Any) -> None:
    form = ConfigForm(TrainOptions, only=("per", "task"), names={"per": "Labels of each"})
    qtbot.addWidget(form)
    assert form.values() == {"task": "classification", "per": None}
    labels = [label.text() for label in form.findChildren(QLabel)]
    assert labels == ["Task", "Labels of each"]
    (box,) = (one for one in form.findChildren(QComboBox) if one.findText("patient") >= 0)
    assert [box.itemText(row) for row in range(box.count())] == ["automatic", "slide", "patient"]
    box.setCurrentText("patient")
    assert form.values()["per"] == "patient"
    form.set_values({"per": None})
    assert box.currentText() == "automatic"


def test_what_is_no_value_is_one_sentence(qtbot: Any) -> None:
    form = ConfigForm(Everything)
    qtbot.addWidget(form)
    form._fields["perhaps"].widget.setText("plenty")  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="Perhaps is 'plenty'; give a number"):
        form.values()


def test_a_switch_may_be_left_to_the_engine(qtbot: Any) -> None:
    form = ConfigForm(TrainConfig, only=("weight_by_cluster_size",))
    qtbot.addWidget(form)
    for value in (None, True, False):
        form.set_values({"weight_by_cluster_size": value})
        assert form.values() == {"weight_by_cluster_size": value}


def test_advanced_settings_are_folded(qtbot: Any) -> None:
    form = ConfigForm(Everything)
    qtbot.addWidget(form)
    form.show()
    (fold,) = form.findChildren(Fold)
    assert not fold.content.isVisible()
    fold.button.click()
    assert fold.content.isVisible()
    assert form._fields["perhaps"].widget.isVisible()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("min_area_um2", "Min area, µm²"),
        ("patch_px", "Patch, px"),
        ("mpp", "µm per pixel"),
        ("n_clusters", "Clusters"),
        ("n_iter", "Rounds"),
    ],
)
def test_labels_are_words_with_units(name: str, label: str) -> None:
    assert label_of(name) == label
