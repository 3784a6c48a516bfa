"""The scale of the slide in view: what it is, who says so, and the way back to the file's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.slide import set_slide_mpp
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.layers.view import show_view, slide_view
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.slides.scale import MAX_MPP, MIN_MPP

__all__ = ["SlideScale"]

_SOURCES = {
    "typed": ("typed", "Typed now; finding tissue and patches stores it"),
    "user": ("by hand", "Typed before, and stored in the project"),
    "openslide": ("by the scanner", "What the scanner has written, as OpenSlide reads it"),
    "vendor": ("by the scanner", "What the scanner has written in the file, in words of its own"),
    "tiff": ("by the file", "The resolution that the file tells as a TIFF"),
    "objective": ("by the objective", "10 µm by the power of the objective: the file has no more"),
    "unknown": ("", ""),
}
"""Who says so, and in a tooltip how."""


class SlideScale(QWidget):
    """A field for the µm per pixel, and where the file has its own, a button that returns to it.

    Parameters
    ----------
    session : Session
    parent : QWidget, optional
        Usual.

    Signals
    -------
    said(str)
        Why what was typed is no scale; empty where it is one.
    """

    said = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._typed: dict[Path, float | Literal["auto"]] = {}
        """What was typed and is not in a project yet, by slide."""
        self.mpp = QDoubleSpinBox(self)
        self.mpp.setDecimals(4)
        self.mpp.setRange(0.0, MAX_MPP)
        self.mpp.setSingleStep(0.01)
        self.mpp.setSpecialValueText("unknown")
        self.mpp.setSuffix(" µm/px")
        self.mpp.setKeyboardTracking(False)
        self.mpp.setToolTip("Scale of the slide's finest level; type it if the file is wrong")
        self.mpp.valueChanged.connect(self._type)
        self.source = QLabel(self)
        self.as_in_file = QPushButton(self)
        self.as_in_file.setToolTip("Forget the scale that was typed")
        self.as_in_file.clicked.connect(self._take_back)
        line = QHBoxLayout()
        line.addWidget(QLabel("Scale", self))
        line.addWidget(self.mpp)
        line.addWidget(self.source, stretch=1)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(line)
        rows.addWidget(self.as_in_file)  # beside it the field would be cut

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show the scale, as it is stored or as it was typed since."""
        session = self._session
        self.setVisible(snapshot.slide_path is not None)
        self._type_again(snapshot)
        self._show_scale()
        # What is typed acts on the slide in view.
        self.mpp.setEnabled(not (session.is_opening or session.is_slide_absent))
        is_unused = snapshot.slide_path in self._typed
        typed, (mpp, source) = session.workbench.slide_mpp if is_unused else None, self._of_file
        if typed != "auto":
            source = "typed" if typed is not None else snapshot.mpp_source
        words, tip = _SOURCES.get(
            source, (source, "")
        )  # a project of a later program may know more
        self.source.setText(f"({words})" if words else "")
        self.source.setToolTip(tip)
        self.as_in_file.setVisible(mpp is not None and source in ("typed", "user"))
        self.as_in_file.setText(f"As in the file: {mpp or 0:.4g} µm per pixel")

    def _show_scale(self) -> None:
        self.mpp.blockSignals(True)
        self.mpp.setValue(scale_in_view(self._session.viewer, self._session.snapshot.mpp) or 0.0)
        self.mpp.blockSignals(False)

    def _type(self, value: float) -> None:
        if value < MIN_MPP:
            self._show_scale()
            self.said.emit(
                f"A slide has from {MIN_MPP:g} to {MAX_MPP:g} µm per pixel, not {value:g}; "
                "type one of these."
            )
            return
        self.said.emit("")
        self._give(value)
        self._session.viewer.reset_view()

    def _take_back(self) -> None:
        self.said.emit("")
        self._give("auto")
        self._session.viewer.reset_view()

    def _type_again(self, snapshot: Snapshot) -> None:
        """Give a slide that comes back what was typed for it, unless it is stored by now."""
        path, record, bench = snapshot.slide_path, snapshot.record, self._session.workbench
        layer = find_layer(self._session.viewer, "slide")
        typed = None if path is None else self._typed.get(path)
        if (
            path is None
            or typed is None
            or layer is None
            or Path(about(layer)["path"]).absolute() != path.absolute()
        ):
            return
        if record is not None and typed == (record.slide_mpp or "auto"):
            del self._typed[path]
        elif bench.slide_mpp is None:
            view = slide_view(self._session.viewer, layer)
            self._give(typed)
            show_view(self._session.viewer, layer, view)

    def _give(self, typed: float | Literal["auto"]) -> None:
        """Let the slide in view have a scale, or that of its file again."""
        bench, (mpp, source) = self._session.workbench, self._of_file
        if typed != "auto":
            mpp, source = typed, "user"
        if mpp is None:
            return
        set_slide_mpp(self._session.viewer, mpp, source=source)
        bench.slide_mpp = typed
        if bench.slide_path is not None:
            self._typed[bench.slide_path] = typed

    @property
    def _of_file(self) -> tuple[float | None, str]:
        """What the file of the slide in view says of its scale, and where."""
        layer = find_layer(self._session.viewer, "slide")
        found: tuple[float | None, str] = (None, "unknown")
        return found if layer is None else about(layer)["file_mpp"]
