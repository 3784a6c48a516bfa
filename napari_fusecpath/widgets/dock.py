"""The dock "FuseCPath": project, slides, six steps and what runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.slide import load_what_slides_need
from napari_fusecpath.widgets.cluster import ClusterPanel
from napari_fusecpath.widgets.embed import EmbedPanel
from napari_fusecpath.widgets.fading import keep_keys_from_messages
from napari_fusecpath.widgets.focus_frame import FocusFollower, show_focus
from napari_fusecpath.widgets.looking import LookingRow
from napari_fusecpath.widgets.measuring_row import MeasuringRow
from napari_fusecpath.widgets.own_surface import give_layer_list_own_surface, give_own_surface
from napari_fusecpath.widgets.predict import PredictPanel
from napari_fusecpath.widgets.prepare import PreparePanel
from napari_fusecpath.widgets.progress_panel import ProgressPanel
from napari_fusecpath.widgets.project import ProjectPanel
from napari_fusecpath.widgets.review import ReviewPanel
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.settled import end_settled, settle, unsettle
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel
from napari_fusecpath.widgets.tab_order import tab_as_laid_out
from napari_fusecpath.widgets.train import TrainPanel
from napari_fusecpath.widgets.wheel import guard_wheel

if TYPE_CHECKING:
    import napari

__all__ = ["FuseCPathWidget"]

_WIDTH_PX = 340
_STEPS: tuple[type[StepPanel], ...] = (
    PreparePanel,
    EmbedPanel,
    ClusterPanel,
    ReviewPanel,
    TrainPanel,
    PredictPanel,
)


class FuseCPathWidget(QWidget):
    """The way from a slide to its prediction maps, step by step.

    Parameters
    ----------
    viewer : napari viewer
        In which the results are shown.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari hands plugins a proxy, which is neither the key of our state nor has the window.
        self.session = Session(getattr(viewer, "__wrapped__", viewer))
        self.project = ProjectPanel(self.session, self)
        self.looking = LookingRow(self.session, self)
        self.measuring = MeasuringRow(self.session, self)
        self.progress = ProgressPanel(self.session.runner, self)
        self.panels: dict[str, StepPanel] = {}
        self.stack = QStackedWidget(self)
        self._steps: list[QPushButton] = []
        self._buttons = QButtonGroup(self)
        self._buttons.setExclusive(True)
        bar = QGridLayout()
        bar.setSpacing(3)
        bar.setContentsMargins(6, 0, 6, 0)
        for index, make in enumerate(_STEPS):
            self._add(make, index, bar)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(4)
        layout.addWidget(self.project)
        layout.addLayout(bar)
        layout.addWidget(self.stack, stretch=1)
        layout.addWidget(self.looking)
        layout.addWidget(self.measuring)
        layout.addWidget(self.progress)
        tab_as_laid_out(self)
        self.setMinimumWidth(_WIDTH_PX)
        # Else napari adds a spacer, which takes the more the more docks were opened before.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        FocusFollower(self)
        show_focus(self)
        keep_keys_from_messages()
        give_own_surface(self)
        give_layer_list_own_surface(self.session.viewer)
        self._buttons.idClicked.connect(self._turned)
        self.project.exchanging.connect(self._exchange)
        self.session.refreshed.connect(self._show)
        self.go(_STEPS[0].key)
        self.destroyed.connect(self.session.close)
        self.destroyed.connect(end_settled)
        QTimer.singleShot(0, self._settle)

    def _settle(self) -> None:
        load_what_slides_need()
        settle(self.session.viewer)

    def _exchange(self) -> None:
        self.go("embed")
        cast("EmbedPanel", self.panels["embed"]).show_exchange()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that leaves the canvas most of a small screen."""
        return QSize(_WIDTH_PX + 20, 640)

    def event(self, event: QEvent | None) -> bool:
        """Leave soon after napari has taken the dock out of the window.

        It then only drops what it holds. Until Python has looked for cycles the dock would go on
        listening, and store what is painted once more beside one that is opened anew.
        """
        if event is not None and event.type() == QEvent.Type.ParentChange and not self.parent():
            self.panels[self.step].put_down()
            self.measuring.measuring.put_down()
            QTimer.singleShot(0, unsettle)
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Give the canvas the keys by Esc, of which nothing in the dock had a use."""
        if event is not None and event.key() == Qt.Key.Key_Escape:
            canvas = self.session.viewer.window._qt_viewer.canvas.native  # noqa: SLF001
            canvas.setFocus()
        else:
            super().keyPressEvent(event)

    @property
    def step(self) -> str:
        """Key of the step in view."""
        return list(self.panels)[self.stack.currentIndex()]

    def go(self, key: str) -> None:
        """Turn to a step."""
        index = list(self.panels).index(key)
        self._leave()
        self.stack.setCurrentIndex(index)
        self._steps[index].setChecked(True)
        self.panels[key].catch_up()

    def run(self, key: str) -> None:
        """Turn to a step and press its main button."""
        self.go(key)
        self.session.refresh()
        self.panels[key].on_enter()
        if self.panels[key].runs_when_sent:
            self.panels[key].click()

    def _add(self, make: type[StepPanel], index: int, bar: QGridLayout) -> None:
        panel = self.panels[make.key] = make(self.session)
        panel.wanted.connect(self.run)
        guard_wheel(panel)
        area = QScrollArea(self)
        area.setWidget(panel)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.stack.addWidget(area)
        button = QPushButton(self)
        button.setText(f"{index + 1} {panel.title}")
        button.setShortcut(_key(index))
        button.setToolTip(f"{panel.title}: {panel.about} (key {_key(index)})")
        button.setCheckable(True)
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._buttons.addButton(button, index)
        self._steps.append(button)
        bar.addWidget(button, index // 3, index % 3)

    def _leave(self) -> None:
        if self.stack.count() == len(_STEPS):
            self.panels[self.step].on_leave()

    def _turned(self, index: int) -> None:
        self._leave()
        self.stack.setCurrentIndex(index)
        self.panels[self.step].catch_up()
        self.panels[self.step].on_enter()

    def _show(self, snapshot: Snapshot) -> None:
        for index, panel in enumerate(self.panels.values()):
            done = panel.is_done(snapshot)
            self._steps[index].setText(f"{index + 1} {panel.title}{' ✓' if done else ''}")
            self._steps[index].setShortcut(_key(index))  # a new text takes it away


def _key(index: int) -> str:
    """Return the key of a step, which works wherever in the window the focus is."""
    return f"Alt+{index + 1}"
