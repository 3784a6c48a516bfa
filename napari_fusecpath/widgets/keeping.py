"""What a person takes away: a figure of the canvas for print, and the script of all steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QPushButton,
    QSpinBox,
    QWidget,
)

from napari_fusecpath.layers.canvas import view_of
from napari_fusecpath.layers.find import Role, find_layer
from napari_fusecpath.layers.geometry import xy_of_world
from napari_fusecpath.layers.smoothing import is_smooth
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.remembered import remember
from napari_fusecpath.widgets.dialogs import ask_name
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.step import wrapped_label
from src_core.errors import ConfigError
from src_core.wording import counted

__all__ = ["Keeping"]

_MAPS: tuple[tuple[str, Role], ...] = (
    ("Fused prediction", "prediction"),
    ("Contribution", "contribution"),
    ("Attention", "attention"),
    ("Agreement", "agreement"),
    ("Clusters", "clusters"),
)
_SHOWN = "What the canvas shows"
_VIEW, _WHOLE = "The view", "The whole slide"
_PICTURES = "Picture (*.png);;TIFF (*.tiff *.tif);;PDF (*.pdf)"
_SCRIPT = "Shell script, and one for Windows (*.sh)"


class Keeping(QWidget):
    """Save a figure of the slide in view, or the script that makes the project again.

    Signals
    -------
    asked(str, dict)
        A verb of the engine, with its options.
    refused(str)
        Why there is nothing to ask for.
    """

    asked = Signal(str, dict)
    refused = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.what = QComboBox(self)
        self.what.addItems([_SHOWN, *(name for name, _ in _MAPS)])
        self.what.setToolTip("Which map lies on the slide")
        self.part = QComboBox(self)
        self.part.addItems([_VIEW, _WHOLE])
        self.part.setToolTip("What is on the canvas, read from the slide as finely as print needs")
        self.width_mm = QSpinBox(self)
        self.width_mm.setRange(20, 500)
        self.width_mm.setValue(170)
        self.width_mm.setSuffix(" mm")
        remember(self.width_mm, "width of a figure")
        self.width_mm.setToolTip(
            "At 300 dots an inch; a column of a journal is about 85 mm, a page about 170 mm"
        )
        self.figure = QPushButton("Save figure…", self)
        self.figure.setToolTip("With scale bar, legend and the licences of the models")
        self.figure.clicked.connect(self._ask_figure)
        self.script = QPushButton("Save script…", self)
        self.script.setToolTip(
            "The fusecpath commands that make this project again from its slides, whoever did it: "
            "this window, the command, or another day"
        )
        self.script.clicked.connect(self._ask_script)
        self.say = wrapped_label(parent=self)
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for title, widget in (("Map", self.what), ("Part", self.part), ("Width", self.width_mm)):
            rows.addRow(title, widget)
            widget.setAccessibleName(title)
        rows.addRow("Figure", self.figure)
        rows.addRow("All steps", self.script)
        rows.addRow(self.say)

    def allow(self, *, figure: bool, script: bool) -> None:
        """Let a figure be drawn, or a script be written."""
        for widget in (self.what, self.part, self.width_mm, self.figure):
            widget.setEnabled(figure)
        self.script.setEnabled(script)

    def show_made(self, result: dict[str, Any]) -> bool:
        """Say where what was asked for lies; tell whether the result was of that."""
        if "figure" in result:
            self.say.setText(f"Figure saved: {_breakable(result['figure'])}")
        elif "script" in result:
            count, path = counted(result["commands"], "command"), _breakable(result["script"])
            self.say.setText(f"{count} saved: {path}, and a .cmd for Windows")
        return "figure" in result or "script" in result

    def _ask_figure(self) -> None:
        snapshot, what = self.session.snapshot, self._map()
        if snapshot.project is None or snapshot.slide is None:
            return
        if what is None:
            self.refused.emit("The canvas shows no map; show one, or choose it here.")
            return
        proposed = snapshot.project.root / "exports" / f"{snapshot.slide.slide_id}-{what}.png"
        path = self._ask_name("Save a figure", proposed, _PICTURES)
        if path is None:
            return
        bench = self.session.workbench
        options: dict[str, Any] = {
            "project": str(snapshot.project.root),
            "slide": snapshot.slide.slide_id,
            "what": what,
            "out": str(path),
            "width_mm": float(self.width_mm.value()),
            "joint": bench.is_joint,
            "by_rank": bench.is_by_rank,
            "smooth": is_smooth(find_layer(self.session.viewer, what)),
        }
        prediction = snapshot.prediction
        if prediction is not None:
            options["run"] = snapshot.run_id
            if bench.class_name in prediction.classes:
                options["output"] = bench.class_name
        if self.part.currentText() == _VIEW:
            options["view"] = self._view()
        self.say.clear()
        self.asked.emit("figure", options)

    def _ask_script(self) -> None:
        project = self.session.snapshot.project
        if project is None:
            return
        proposed = project.root / "exports" / "repeat.sh"
        path = self._ask_name("Save the script", proposed, _SCRIPT)
        if path is None:
            return
        beside = (path.with_suffix(".cmd"), path.with_name(f"{path.stem}-files"))
        taken = next((one.name for one in beside if one.exists()), None)
        if taken is not None and not path.exists():  # else they are of the script that it follows
            self.refused.emit(
                f"{taken} is there already, and would be written beside {path.name}; give the "
                "script another name."
            )
            return
        self.say.clear()
        self.asked.emit("script", {"project": str(project.root), "out": str(path)})

    def _ask_name(self, title: str, proposed: Path, kinds: str) -> Path | None:
        try:
            return ask_name(self, title, proposed, kinds)
        except ConfigError as error:
            self.refused.emit(str(error))
            return None

    def _map(self) -> Role | None:
        """Return the chosen map, or the topmost one that can be seen."""
        chosen = self.what.currentText()
        if chosen != _SHOWN:
            return dict(_MAPS)[chosen]
        for _, role in _MAPS:
            layer = find_layer(self.session.viewer, role)
            if layer is not None and layer.visible:
                return role
        return None

    def _view(self) -> str:
        """Return what part of the slide the canvas shows, in level-0 pixels."""
        viewer = self.session.viewer
        mpp = scale_in_view(viewer, self.session.snapshot.mpp)  # as typed: perhaps not stored yet
        low, high = (xy_of_world(corner, mpp=mpp) for corner in view_of(viewer))
        return ",".join(f"{value:.1f}" for value in (*low, *(high - low)))


def _breakable(path: str) -> str:
    """Let a long path be broken between its parts: in one piece it would widen the dock."""
    return re.sub(r"([/\\])", "\\1\u200b", path)
