"""What the six steps have in common: a line that says what comes next, and one main button."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.jobs import Job, JobFailure
from napari_fusecpath.notify import report_failure, report_info
from napari_fusecpath.widgets.result_texts import failures_text, notes_text
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from src_core.errors import FusecpathError
from src_core.types import Json

__all__ = ["StepPanel", "color_warning", "wrapped_label"]


def wrapped_label(text: str = "", parent: QWidget | None = None) -> QLabel:
    """Return a label that breaks its lines instead of widening the dock."""
    label = QLabel(text, parent)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setMinimumWidth(60)
    return label


class StepPanel(QWidget):
    """One step of the way.

    Signals
    -------
    wanted(str)
        The user wants another step to run: its key.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    """What it does, in a few words."""
    runs_when_sent: ClassVar[bool] = True
    """Another step that sends the user here also presses the main button."""
    follows_selection: ClassVar[bool] = False
    """What it shows depends on which patches are selected; the other steps need not hear of it."""
    wanted = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._job: Job | None = None
        self._redirect: str | None = None
        self._seen: Snapshot | None = None
        self.say = wrapped_label(parent=self)
        self.main = SteadyButton(self)
        self.main.setToolTip(f"{self.title}: {self.about}")
        self.main.clicked.connect(self.click)
        self.warning = wrapped_label(parent=self)
        self.warning.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.warning.hide()
        self.notes = wrapped_label(parent=self)
        self.notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notes.hide()
        self.next = QPushButton(self)
        self.next.setToolTip("Go on to the next step, and start it")
        self.next.clicked.connect(self._go_on)
        self.next.hide()
        self._next = ("", "", True)
        self._said = QTimer(self)
        self._said.setSingleShot(True)
        self._said.timeout.connect(self._reveal)
        self.body = QVBoxLayout()
        self.body.setContentsMargins(0, 0, 0, 0)
        self.foot = QVBoxLayout()
        self.foot.setContentsMargins(0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.say)
        layout.addLayout(self.body)
        layout.addWidget(self.main)
        layout.addWidget(self.warning)
        layout.addWidget(self.notes)
        layout.addWidget(self.next)
        layout.addLayout(self.foot, stretch=1)
        self.build()
        session.refreshed.connect(self._refresh)

    def build(self) -> None:
        """Add the step's own widgets: fields to `body`, tables and legends to `foot`."""

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show what is stored; `offer` or `send_to` says what the main button does."""

    def run_main(self) -> None:
        """Do what the main button says."""

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the step's result is stored for the slide in view."""
        return False

    def on_enter(self) -> None:
        """Bring the step's layers up: the user has turned to it."""

    def catch_up(self) -> None:
        """Show what was left for the moment in which the step comes into view."""

    @property
    def is_in_view(self) -> bool:
        """Whether the dock has turned to this step."""
        viewport = self.parentWidget()
        area = None if viewport is None else viewport.parentWidget()
        stack = None if area is None else area.parentWidget()
        return isinstance(stack, QStackedWidget) and stack.currentWidget() is area

    def put_down(self) -> None:
        """Let the mouse move the slide again: the step, or the dock, goes out of view."""

    def on_leave(self) -> None:
        """Put down what the step has in hand: the user turns to another one."""
        self.put_down()

    def on_done(self, result: dict[str, Any]) -> None:
        """Go on after a job that this panel has started."""

    def on_cancelled(self) -> None:
        """Say what is left of a job that was cancelled."""
        self.warn("Cancelled; what was finished is kept.")

    @property
    def busy(self) -> bool:
        """Whether a job of this panel is under way."""
        return self._job is not None and not self._job.ended

    def click(self) -> None:
        """Press the main button, which may send the user to an earlier step."""
        if self._redirect is not None:
            self.wanted.emit(self._redirect)
        elif not self.busy:
            self.warn("")
            self.try_to(self.run_main)
            self._show_busy()

    def try_to(self, do: Callable[[], object]) -> bool:
        """Do what may meet a file that is damaged or gone, and say so; tell whether it was done."""
        try:
            do()
        except FusecpathError as error:
            self.warn(str(error))
            return False
        return True

    def offer(self, text: str, button: str, *, enabled: bool = True) -> None:
        """Say what comes next, and what the main button does."""
        self._redirect = None
        self.say.setText(text)
        self.main.setText(button)
        self.main.setEnabled(enabled and not self.busy)

    def send_to(self, key: str, text: str, button: str) -> None:
        """Say which step gives what is missing; the main button runs that one."""
        self._redirect = key
        self.say.setText(text)
        self.main.setText(button)
        self.main.setEnabled(True)

    def offer_next(self, key: str, text: str, *, is_primary: bool = True) -> None:
        """Offer the step that follows, or nothing if `text` is empty."""
        if (key, text, is_primary) == self._next:  # a font that is set again is drawn again
            return
        self._next = (key, text, is_primary)
        self.next.setText(text)
        self.next.setVisible(bool(text))
        next_is_bold = is_primary and bool(text)
        for button, is_bold in ((self.main, not next_is_bold), (self.next, next_is_bold)):
            font = button.font()
            font.setBold(is_bold)
            button.setFont(font)

    def warn(self, text: str) -> None:
        """Show a sentence in the theme's warning colour; nothing takes it away."""
        self.warning.setText(text)
        self.warning.setVisible(bool(text))
        if text:
            self._said.start(0)

    def note(self, text: str) -> None:
        """Show what a job says besides its result; nothing takes it away."""
        self.notes.setText(text)
        self.notes.setVisible(bool(text))
        if text:
            self._said.start(0)

    def submit(self, verb: str, options: Mapping[str, Json], *, afresh: bool = True) -> Job:
        """Ask the engine for a verb on behalf of this panel.

        Parameters
        ----------
        verb, options : str, mapping
            See `JobRunner.submit`.
        afresh : bool
            What the job before has said goes; it stays where this one only ends its work.
        """
        if afresh:
            self.warn("")
            self.note("")
        job = self._job = self.session.submit(verb, options)
        job.done.connect(self._done)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._cancelled)
        self._show_busy()
        return job

    def _reveal(self) -> None:
        """Scroll to what is said: it stands below what may be a long list."""
        for label in (self.notes, self.warning):  # the warning matters more where both do not fit
            self.scroll_to(label)

    def scroll_to(self, widget: QWidget) -> None:
        """Bring a part of the panel into view."""
        viewport = self.parentWidget()
        area = None if viewport is None else viewport.parentWidget()
        if isinstance(area, QScrollArea) and widget.isVisible():
            area.ensureWidgetVisible(widget)

    def _refresh(self, snapshot: Snapshot) -> None:
        if snapshot is self._seen and not self.follows_selection:
            return
        self._seen = snapshot
        color_warning(self.warning, self.session.viewer.theme)
        self.show_snapshot(snapshot)
        self._show_busy()

    def _show_busy(self) -> None:
        if self.busy:
            self.main.setEnabled(False)

    def _go_on(self) -> None:
        self.wanted.emit(self._next[0])

    def _done(self, result: dict[str, Any]) -> None:
        failed, noted = failures_text(result.get("failures") or []), notes_text(result)
        self.note(_joined(self.notes.text(), noted))
        self.try_to(partial(self.on_done, result))
        if failed:
            self.warn(_joined(self.warning.text(), failed))
            report_failure(JobFailure(message=failed, user=True))
        if noted and not self.isVisible():  # another step is in view, perhaps by `on_done`
            report_info(noted)
        self.session.refresh_soon()

    def _failed(self, failure: JobFailure) -> None:
        self.warn(failure.message)
        report_failure(failure)

    def _cancelled(self) -> None:
        self.try_to(self.on_cancelled)


def color_warning(label: QLabel, theme: str) -> None:
    """Give words the theme's warning colour, drawn towards its text: white swallows it."""
    colours = get_theme(theme)
    mixed = [
        round(0.5 * one + 0.5 * other)
        for one, other in zip(
            colours.warning.as_rgb_tuple()[:3], colours.text.as_rgb_tuple()[:3], strict=True
        )
    ]
    style = f"QLabel {{ color: rgb({mixed[0]}, {mixed[1]}, {mixed[2]}); }}"
    if style != label.styleSheet():  # Qt lays all out anew for the same one, too
        label.setStyleSheet(style)


def _joined(before: str, text: str) -> str:
    """Return what was said with what is said now, a line each, nothing twice."""
    lines = [*before.splitlines(), *text.splitlines()]
    return "\n".join(dict.fromkeys(lines))
