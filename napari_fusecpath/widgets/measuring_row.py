"""The row of the dock for distances and areas, colours, and the second view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_fusecpath.widgets.color_box import ColorBox
from napari_fusecpath.widgets.corner_button import CornerButton
from napari_fusecpath.widgets.measuring import Measuring, Tool
from napari_fusecpath.widgets.second_button import SecondViewButton
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.viewer_keys import take_keys

if TYPE_CHECKING:
    from napari_fusecpath.widgets.session import Session

__all__ = ["TOOL_KEYS", "MeasuringRow"]

# Of the letters that napari 0.9 gives to no layer and no viewer.
TOOL_KEYS: dict[Tool, str] = {"distance": "Q", "area": "W"}
_TIPS: dict[Tool, str] = {
    "distance": "Drag a line: its length stands beside it",
    "area": "Click the corners, double-click the last one: area and perimeter stand in it",
}


class MeasuringRow(QWidget):
    """Buttons and keys of `Measuring`.

    Parameters
    ----------
    session : Session
        Whose viewer.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.measuring = Measuring(session, self)
        self.buttons = {tool: self._tool_button(tool) for tool in TOOL_KEYS}
        self.delete_button = SteadyButton("Delete", self)
        self.delete_button.setToolTip(
            "Delete the measurements that are selected, or else the one that was drawn last"
        )
        self.delete_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.delete_button.clicked.connect(self.measuring.delete)
        self.colors = ColorBox(session, self)
        self.second = SecondViewButton(session, self)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 0, 6, 0)
        row.setSpacing(3)
        for button in (*self.buttons.values(), self.delete_button):
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(self.colors)
        row.addWidget(self.second)
        self._snapshot = Snapshot()
        self.measuring.turned.connect(self._show_tool)
        session.refreshed.connect(self._show)
        keys = {key: self._key(tool) for tool, key in TOOL_KEYS.items()}
        take_keys(session.viewer, keys, self)
        self._show_tool()

    def _key(self, tool: Tool) -> Any:
        def take(_viewer: Any) -> None:  # napari asks for the name of what is bound
            self.measuring.take(tool)

        return take

    def _tool_button(self, tool: Tool) -> CornerButton:
        tip, is_line = f"{_TIPS[tool]} (key {TOOL_KEYS[tool]})", tool == "distance"
        viewer = self.measuring.viewer
        button = CornerButton(viewer, tool.capitalize(), tip, self, is_line=is_line)
        button.outlined.connect(self.measuring.put)
        button.setAccessibleName(f"Measure {tool}")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
        button.clicked.connect(lambda: self.measuring.take(tool))
        return button

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._show_tool()

    def _show_tool(self) -> None:
        is_there = self._snapshot.slide_path is not None
        for tool, button in self.buttons.items():
            button.setEnabled(is_there)
            button.setChecked(self.measuring.tool == tool)
        self.delete_button.setEnabled(is_there and self.measuring.is_anything_drawn)
        self.second.setEnabled(is_there)
