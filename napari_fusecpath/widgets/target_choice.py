"""What is learned, and of which columns of the labels table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.widgets.forms import ConfigForm
from src_core.bags.targets import Labelled, Target
from src_core.errors import ConfigError
from src_core.types import Json, Task
from src_core.verbs.models import TrainOptions
from src_core.wording import counted

__all__ = ["TargetChoice", "labelled_text", "left_out_text"]

_SHOWN_ROWS = 4
_SHOWN_VALUES = 3


class TargetChoice(QWidget):
    """The task, its columns, and whose the labels are.

    Parameters
    ----------
    parent : QWidget, optional
        Usual.

    Signals
    -------
    changed()
        The user has chosen something else.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = ConfigForm(
            TrainOptions, only=("task", "per"), names={"per": "Labels of each"}, parent=self
        )
        self.class_column, self.time_column, self.event_column = (
            QComboBox(self),
            QComboBox(self),
            QComboBox(self),
        )
        self.value_columns = QListWidget(self)
        self.value_columns.setToolTip(
            "Each column that is ticked is one number that the model gives"
        )
        self._pages: dict[Task, QWidget] = {
            "classification": _page({"Column": self.class_column}),
            "regression": _page({"Columns": self.value_columns}),
            "survival": _page({"Time": self.time_column, "Event": self.event_column}),
        }
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form)
        for page in self._pages.values():
            layout.addWidget(page)
        self._show_page()
        self.form.changed.connect(self._changed)
        for box in self._boxes:
            box.currentTextChanged.connect(self._changed)
        self.value_columns.itemChanged.connect(self._changed)

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.form.values()["task"]  # type: ignore[no-any-return]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are chosen for the task, in its order."""
        if self.task == "survival":
            return self.time_column.currentText(), self.event_column.currentText()
        if self.task == "classification":
            return (self.class_column.currentText(),)
        items = [self.value_columns.item(row) for row in range(self.value_columns.count())]
        checked = Qt.CheckState.Checked
        return tuple(one.text() for one in items if one and one.checkState() == checked)

    def target(self) -> Target:
        """Return the choice as the engine takes it.

        Raises
        ------
        ConfigError
            If the task reads another number of columns.
        """
        if not self.columns:
            raise ConfigError("Tick the columns whose numbers are to be learned, one or more.")
        return Target(self.columns, self.task, self.form.values()["per"])

    def options(self) -> dict[str, Json]:
        """Return the choice as options of the verb ``train``."""
        return {"target": list[Json](self.columns), **self.form.values()}

    def show_columns(self, columns: Sequence[str]) -> None:
        """Offer the target columns of a table; what was chosen stays where there still is such."""
        known = [self.class_column.itemText(index) for index in range(self.class_column.count())]
        if list(columns) == known:
            return
        ticked = self.columns if self.task == "regression" else ()
        self.blockSignals(True)
        for nth, box in enumerate(self._boxes):
            before = box.currentText()
            box.clear()
            box.addItems(list(columns))
            usual = columns[min(nth // 2, len(columns) - 1)] if columns else ""
            box.setCurrentText(before if before in columns else usual)
        self._list(columns, ticked)
        self.blockSignals(False)

    def choose(self, target: Target) -> None:
        """Show a target, such as that of a model, without a signal."""
        usual = Target(target.columns, target.task).level == target.level
        self.blockSignals(True)
        self.form.set_values({"task": target.task, "per": None if usual else target.level})
        if target.task == "regression":
            known = [
                self.class_column.itemText(index) for index in range(self.class_column.count())
            ]
            self._list(known, target.columns)
        elif target.task == "classification":
            self.class_column.setCurrentText(target.columns[0])
        else:
            self.time_column.setCurrentText(target.columns[0])
            self.event_column.setCurrentText(target.columns[1])
        self._show_page()
        self.blockSignals(False)

    @property
    def _boxes(self) -> tuple[QComboBox, ...]:
        return self.class_column, self.time_column, self.event_column

    def _list(self, columns: Sequence[str], ticked: Sequence[str]) -> None:
        self.value_columns.clear()
        for name in columns:
            item = QListWidgetItem(name)
            item.setCheckState(Qt.CheckState.Checked if name in ticked else Qt.CheckState.Unchecked)
            self.value_columns.addItem(item)
        rows = min(max(1, len(columns)), _SHOWN_ROWS)
        self.value_columns.setFixedHeight(max(18, self.value_columns.sizeHintForRow(0)) * rows + 6)

    def _show_page(self) -> None:
        for task, page in self._pages.items():
            page.setVisible(task == self.task)

    def _changed(self, *_of: object) -> None:
        self._show_page()
        self.changed.emit()


def _page(fields: Mapping[str, QWidget]) -> QWidget:
    page = QWidget()
    rows = QFormLayout(page)
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for name, widget in fields.items():
        widget.setAccessibleName(name)
        if not widget.toolTip():
            widget.setToolTip(f"{name}, from the labels table")
        rows.addRow(name, widget)
    return page


def labelled_text(target: Target, outputs: Sequence[str], labelled: Sequence[Labelled]) -> str:
    """Return what there is to learn from, as a sentence.

    Parameters
    ----------
    target : Target
    outputs : sequence of str
        Names of the classes, or of the values.
    labelled : sequence of Labelled
        The slides that have a label.
    """
    slides = counted(len(labelled), "labelled slide")
    patients = counted(len({one.row.patient_id for one in labelled}), "patient")
    is_shared = target.level == "patient"
    units = {one.row.patient_id: one for one in labelled}.values() if is_shared else labelled
    told = {"classification": _classes, "regression": _ranges, "survival": _times}[target.task]
    of = ", of these" if is_shared and target.task != "regression" else ":"
    return f"{slides} of {patients}{of} {told(outputs, tuple(units))}."


def _classes(outputs: Sequence[str], units: Sequence[Labelled]) -> str:
    counts = Counter(outputs[one.target] for one in units)
    return ", ".join(f"{counts[name]} {name}" for name in outputs)


def _ranges(outputs: Sequence[str], units: Sequence[Labelled]) -> str:
    values = np.array([one.values for one in units])  # (units, outputs)
    shown = []
    for name, column in list(zip(outputs, values.T, strict=True))[:_SHOWN_VALUES]:
        known = column[~np.isnan(column)]
        range_ = f" from {known.min():.4g} to {known.max():.4g}" if len(known) else ""
        shown.append(f"{name} {counted(len(known), 'value')}{range_}")
    rest = len(outputs) - len(shown)
    return ", ".join(shown) + (f", and {counted(rest, 'more column')}" if rest else "")


def _times(outputs: Sequence[str], units: Sequence[Labelled]) -> str:
    times, events = np.array([one.values for one in units]).T
    return f"{int(events.sum())} with an event, times from {times.min():.4g} to {times.max():.4g}"


def left_out_text(why: list[str]) -> str:
    """Return which slides training leaves out, as a sentence."""
    if len(why) < 2:
        return "".join(f"One slide is left out: {one}" for one in why)
    return f"{len(why)} slides are left out; the first: {why[0]}"
