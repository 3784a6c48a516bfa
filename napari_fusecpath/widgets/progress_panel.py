"""Says what the engine does now, how long it will take, and lets the user stop it."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from napari_fusecpath.jobs import Job, JobRunner
from napari_fusecpath.widgets.steady import SteadyCross
from src_core.progress import Progress

__all__ = ["ProgressPanel", "time_text"]

_STARTING = {
    "prepare": "Finding tissue and patches",
    "cluster": "Clustering",
    "similar": "Looking for patches alike",
    "scatter": "Laying patches out",
    "train": "Training",
    "evaluate": "Scoring",
    "predict": "Predicting",
    "explain": "Predicting without some patches",
    "agree": "Comparing reviewers",
    "finetune": "Fine-tuning",
    "decide": "Carrying out your decision",
    "import": "Importing",
    "export": "Exporting",
    "figure": "Drawing a figure",
    "script": "Writing the script",
    "encoders": "Asking which encoders are open to you",
    "pyramid": "Making small levels",
}


def time_text(seconds: float) -> str:
    """Return a time to go: ``0:41``, ``12:05``, ``3 h 20``."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"


class _Line(QWidget):
    """A line of text of its own size, whatever it says.

    A label asks for a new layout with each text. That goes up to the window, which is then drawn
    anew, canvas and all.
    """

    def __init__(self, longest: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._longest, self._text = longest, ""

    def text(self) -> str:
        """Return what it says, whole."""
        return self._text

    def setText(self, text: str) -> None:  # noqa: N802 - as a label
        """Say something else."""
        if text != self._text:
            self._text = text
            self.setAccessibleName(text)
            self.setToolTip(text)
            self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the size of the longest text."""
        return self.fontMetrics().size(0, self._longest)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the height of a line."""
        return QSize(0, self.sizeHint().height())

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Write as much of it as there is room for."""
        elide = Qt.TextElideMode.ElideRight
        shown = self.fontMetrics().elidedText(self._text, elide, self.width())
        middle = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        QPainter(self).drawText(self.rect(), middle, shown)


class ProgressPanel(QWidget):
    """The foot of the dock: one line, a bar and a cross that cancels.

    Parameters
    ----------
    runner : JobRunner
        Whose running job is shown.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, runner: JobRunner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self._job: Job | None = None
        self.text = _Line("", self)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(True)
        self.left = _Line("88 h 88", self)
        self.cancel = SteadyCross(self)
        self.cancel.setText("✕")
        self.cancel.setToolTip("Cancel what is running; what is stored already is kept")
        self.cancel.setAccessibleName("Cancel")
        self.cancel.clicked.connect(self._cancel)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, stretch=1)
        row.addWidget(self.left)
        row.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 4)
        layout.setSpacing(2)
        layout.addWidget(self.text)
        layout.addLayout(row)
        runner.changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        job = self._runner.running
        if job is not self._job:
            if self._job is not None:
                self._job.progress.disconnect(self._show)
            self._job = job
            if job is not None:
                job.progress.connect(self._show)
                self._say(f"{_STARTING.get(job.verb, job.verb)} …")
                self.bar.setRange(0, 0)
                self.left.setText("")
        for part in (self.bar, self.left):
            part.setEnabled(job is not None)
        self.cancel.setEnabled(job is not None and not job.cancel_requested)
        if job is None:
            self._say("Ready.")
            self.bar.setRange(0, 1)
            self.bar.reset()
            self.left.setText("")

    def _show(self, progress: Progress) -> None:
        self.bar.setUpdatesEnabled(False)  # else it is drawn at once, and the texts once more
        self.bar.setRange(0, max(0, progress.total))
        self.bar.setValue(progress.done)
        self.bar.setUpdatesEnabled(True)
        detail = f", {progress.detail}" if progress.detail else ""
        self._say(f"{progress.stage}: {progress.done} of {progress.total} {progress.unit}{detail}")
        seconds = progress.seconds_left
        self.left.setText("" if seconds is None else time_text(seconds))

    def _say(self, text: str) -> None:
        waiting = len(self._runner.queued)
        self.text.setText(f"{text}  (+{waiting} waiting)" if waiting else text)

    def _cancel(self) -> None:
        self.cancel.setEnabled(False)
        self._runner.cancel_all()
        if self._runner.running is not None:
            self._say("Cancelling …")
