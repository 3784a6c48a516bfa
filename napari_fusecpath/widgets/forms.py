"""Makes a form out of settings: the same declaration that checks them and names the options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.remembered import remember
from src_core.config import Config, FieldSpec
from src_core.errors import ConfigError

__all__ = ["ConfigForm", "Fold", "label_of"]

_SPIN_MAX = 2**31 - 1
_DECIMALS = 9
_WORDS = {
    "iter": "rounds",
    "mpp": "µm per pixel",
    "px": "px",
    "um": "µm",
    "um2": "µm²",
    "topk": "top",
}


def label_of(name: str) -> str:
    """Return a setting's name as words: ``min_area_um2`` is "Min area, µm²"."""
    words = name.removeprefix("n_").split("_")
    unit = _WORDS.get(words[-1], "") if len(words) > 1 and words[-1] in ("px", "um", "um2") else ""
    if unit:
        words = words[:-1]
    text = " ".join(_WORDS.get(word, word) for word in words)
    text = text if text.startswith("µ") else text[:1].upper() + text[1:]
    return f"{text}, {unit}" if unit else text


class Fold(QWidget):
    """A heading that shows or hides what lies below it, as in the window before.

    Parameters
    ----------
    title : str
        The heading.
    content : QWidget
        What lies below it.
    parent : QWidget, optional
        Usual.
    of : str, optional
        What it belongs to, where others have the same heading.
    """

    def __init__(
        self, title: str, content: QWidget, parent: QWidget | None = None, *, of: str = ""
    ) -> None:
        super().__init__(parent)
        self.content = content
        self.button = QToolButton(self)
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(content)
        self._title = title
        self.button.toggled.connect(self._toggle)
        self._toggle(False)
        remember(self.button, f"fold {of} {title}")

    def _toggle(self, opened: bool) -> None:
        # An arrow of the style would be lost under napari's style sheet.
        self.button.setText(f"{'▾' if opened else '▸'} {self._title}")
        self.button.setToolTip(f"{'Hide' if opened else 'Show'}: {self._title}")
        self.content.setVisible(opened)


_THREE: dict[str, Any] = {"automatic": None, "yes": True, "no": False}
"""What stands for the values of a switch that may be left to the engine."""


class ConfigForm(QWidget):
    """A form for the settings of a `Config`; defaults come from the declaration alone.

    Parameters
    ----------
    config : type
        The child of `Config`.
    only, without : collection of str
        Fields that the form has, or has not.
    names : mapping of str to str
        What fields are called, if not by their own names in words.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    changed()
        The user has changed a value.
    """

    changed = Signal()

    def __init__(
        self,
        config: type[Config],
        *,
        only: Collection[str] = (),
        without: Collection[str] = (),
        names: Mapping[str, str] = MappingProxyType({}),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._config, self._names = config, names
        self._fields: dict[str, _Field] = {}
        specs = [
            spec
            for spec in config.fields()
            if _can_show(spec) and spec.name not in without and (not only or spec.name in only)
        ]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._rows([spec for spec in specs if not spec.advanced]))
        advanced = [spec for spec in specs if spec.advanced]
        if advanced:
            layout.addWidget(Fold("Advanced", self._rows(advanced), self, of=config.__name__))

    def values(self) -> dict[str, Any]:
        """Return the options as JSON values.

        Raises
        ------
        ConfigError
            If a text is not a value; the sentence names the setting.
        """
        return {name: field.get() for name, field in self._fields.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show other values; names that the form does not have are passed over."""
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].set(value)

    def _rows(self, specs: list[FieldSpec]) -> QWidget:
        box = QWidget(self)
        rows = QFormLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for spec in specs:
            name = self._names.get(spec.name, label_of(spec.name))
            field = _Field(spec, name)
            field.on_change(self.changed.emit)
            self._fields[spec.name] = field
            label = QLabel(name, box)
            label.setToolTip(spec.help)
            rows.addRow(label, field.widget)
        return box


class _Field:
    """One setting and the widget that edits it."""

    def __init__(self, spec: FieldSpec, name: str) -> None:
        self.spec, self._name = spec, name
        self._words = _words_of(spec)
        self.widget = self._make()
        self.widget.setToolTip(spec.help)
        self.widget.setAccessibleName(name)
        self.widget.setMinimumWidth(90)
        if not spec.required:
            self.set(spec.default)

    def get(self) -> Any:
        widget = self.widget
        if isinstance(widget, QCheckBox):
            return widget.isChecked()
        if isinstance(widget, QComboBox):
            return self._words[widget.currentText()]
        if isinstance(widget, (QSpinBox, QDoubleSpinBox)):
            return widget.value()
        return self._parse(widget.text().strip())

    def set(self, value: Any) -> None:
        widget = self.widget
        if isinstance(widget, QCheckBox):
            widget.setChecked(bool(value))
        elif isinstance(widget, QComboBox):
            words = {meant: word for word, meant in self._words.items()}
            widget.setCurrentText(words[value])
        elif isinstance(widget, (QSpinBox, QDoubleSpinBox)):
            widget.setValue(value)
        else:
            text = ", ".join(value) if isinstance(value, (tuple, list)) else value
            widget.setText("" if value is None else str(text))

    def on_change(self, listener: Callable[..., None]) -> None:
        widget = self.widget
        if isinstance(widget, QCheckBox):
            widget.toggled.connect(lambda _on: listener())
        elif isinstance(widget, QComboBox):
            widget.currentTextChanged.connect(lambda _text: listener())
        elif isinstance(widget, (QSpinBox, QDoubleSpinBox)):
            widget.valueChanged.connect(lambda _value: listener())
        else:
            widget.textChanged.connect(lambda _text: listener())

    def _make(self) -> QCheckBox | QComboBox | QSpinBox | QDoubleSpinBox | QLineEdit:
        spec = self.spec
        low, high = (spec.range.low, spec.range.high) if spec.range else (-1e9, 1e9)
        if spec.type is bool and not spec.optional:
            return QCheckBox()
        if self._words:
            box = QComboBox()
            box.addItems(list(self._words))
            return box
        if spec.type is int and not spec.optional and high <= _SPIN_MAX:
            spin = QSpinBox()
            spin.setRange(int(low), int(high))
            return spin
        if spec.type is float and not spec.optional:
            return _FloatBox(low, high)
        line = QLineEdit()
        line.setPlaceholderText("automatic" if spec.optional else "")
        return line

    def _parse(self, text: str) -> Any:
        spec = self.spec
        if spec.optional and not text:
            return None
        if spec.type is tuple:
            return [item.strip() for item in text.split(",") if item.strip()]
        if spec.type not in (int, float) or text in spec.words:
            return text
        try:
            return spec.type(text.replace(",", "."))
        except ValueError as error:
            kind = "a whole number" if spec.type is int else "a number"
            raise ConfigError(f"{self._name} is {text!r}; give {kind}.") from error


def _words_of(spec: FieldSpec) -> dict[str, Any]:
    """Return what a box offers -> what it means; nothing where the setting is no choice."""
    if spec.type is bool and spec.optional:
        return _THREE
    automatic = {"automatic": None} if spec.choices and spec.optional else {}
    return automatic | {choice: choice for choice in spec.choices}


class _FloatBox(QDoubleSpinBox):
    """Shows 0.0005 and 40000 alike, without a tail of zeros."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.setDecimals(_DECIMALS)
        self.setRange(low, high)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 - Qt's name
        try:
            return float((text or "").replace(",", "."))
        except ValueError:
            return self.value()

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        text = text or ""
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            return QValidator.State.Intermediate, text, position
        inside = self.minimum() <= value <= self.maximum()
        state = QValidator.State.Acceptable if inside else QValidator.State.Intermediate
        return state, text, position


def _can_show(spec: FieldSpec) -> bool:
    return not (isinstance(spec.type, type) and issubclass(spec.type, Config))
