"""How many patches a teacher reads at most, and the choice when its memory would not do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtWidgets import QFormLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_fusecpath.widgets.step import wrapped_label
from src_core.project import ProjectConfig
from src_core.wording import counted

__all__ = ["FewerPatches", "MostPatches"]

_SETTING = next(spec for spec in ProjectConfig.fields() if spec.name == "max_patches")


class MostPatches(QWidget):
    """The project's setting `max_patches`; 0 stands for all patches."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        high = _SETTING.range.high if _SETTING.range is not None else 10**7
        self.box = QSpinBox(self)
        self.box.setRange(0, int(high))
        self.box.setSpecialValueText("all")
        self.box.setSingleStep(500)
        self.box.setGroupSeparatorShown(True)
        self.box.setToolTip(_SETTING.help)
        self.box.setAccessibleName("Patches a teacher reads at most")
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Patches at most", self.box)

    def value(self) -> int | None:
        """Return the number, None for all."""
        return self.box.value() or None

    def set_value(self, value: int | None) -> None:
        """Show another number."""
        self.box.setValue(value or 0)


class FewerPatches(QWidget):
    """What can be done about a teacher that needs more memory than is free."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.most = 0
        self.teachers: tuple[str, ...] = ()
        self.text = wrapped_label(parent=self)
        self.fewer = QPushButton(self)
        self.fewer.setToolTip("Set the patches at most to that number, and go on")
        self.leave_out = QPushButton(self)
        self.leave_out.setToolTip("Untick them, and go on without")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.text, self.fewer, self.leave_out):
            layout.addWidget(widget)
        self.hide()

    def offer(self, failures: Iterable[Mapping[str, Any]]) -> None:
        """Offer the choice if some teacher was refused for its memory, else nothing.

        Parameters
        ----------
        failures : iterable of mapping
            Of the verb ``prepare``; those of memory name the teacher and how many patches would do.
        """
        found = [one for one in failures if one.get("teacher")]
        self.setVisible(bool(found))
        if not found:
            return
        self.teachers = tuple(dict.fromkeys(str(one["teacher"]) for one in found))
        self.most = min(int(one["max_patches"]) for one in found)
        names, patches = ", ".join(self.teachers), counted(self.most, "patch", "patches")
        self.text.setText(f"There is not enough memory for {names} on all patches:")
        self.fewer.setText(f"Read {patches}, spread over the tissue")
        self.fewer.setVisible(self.most > 0)
        self.leave_out.setText(f"Leave out {names}")
