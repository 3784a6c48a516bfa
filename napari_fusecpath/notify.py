"""Says what went wrong: one sentence where the user looks, the rest behind "Details"."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from napari_fusecpath.jobs import JobFailure

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DetailsDialog", "report_error", "report_failure", "report_info"]

_log = logging.getLogger(__name__)


class DetailsDialog(QDialog):
    """A sentence and the traceback under it, to read and to copy; it blocks nothing."""

    def __init__(self, failure: JobFailure, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Details")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 420)
        sentence = QLabel(failure.message, self)
        sentence.setWordWrap(True)
        sentence.setTextFormat(Qt.TextFormat.PlainText)
        text = QPlainTextEdit(failure.details or "The engine left no details.", self)
        text.setReadOnly(True)
        text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(sentence)
        layout.addWidget(text, stretch=1)
        layout.addWidget(buttons)


def report_failure(failure: JobFailure) -> None:
    """Show why a job failed; its traceback is in the log and behind the button "Details"."""
    level = logging.INFO if failure.user else logging.ERROR
    _log.log(level, "%s\n%s", failure.message, failure.details)

    def show_details(notification: QWidget) -> None:
        DetailsDialog(failure, notification.parentWidget()).show()

    # A user's error says all in its sentence; a bug has something to send.
    wants_details = bool(failure.details) and not failure.user
    actions: list[tuple[str, Callable[..., None]]] = [("Details", show_details)]
    severity = "warning" if failure.user else "error"
    notification_manager.dispatch(
        Notification(failure.message, severity, actions if wants_details else ())
    )


def report_error(error: Exception) -> None:
    """Show an error that the window itself has met, as one sentence."""
    _log.info("%s", error, exc_info=error)
    notification_manager.dispatch(Notification(str(error), "warning"))


def report_info(message: str) -> None:
    """Show one sentence in passing."""
    notification_manager.receive_info(message)
