"""Stores what is changed in the list of slides, in threads: a disk may take its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]

from napari_fusecpath.widgets.threads import submit
from src_core.errors import FusecpathError, JobCancelled
from src_core.labelling import export_labels, set_labels
from src_core.project import Project
from src_core.relocating import relocate_slides

__all__ = ["SlideKeeper"]


class SlideKeeper(QObject):
    """Stores labels, one after the other, and looks for slides that have moved.

    Parameters
    ----------
    parent : QObject
        With it the search ends; labels are stored to the last.

    Signals
    -------
    stored(str)
        Something is on disk; a sentence where that is to be said.
    relocated(Relocated)
        Slides were looked for; None if that was stopped.
    failed(str)
        Why labels were not stored or written.
    not_found(str)
        Why no slide was found again.
    """

    stored = Signal(str)
    relocated = Signal(object)
    failed = Signal(str)
    not_found = Signal(str)
    _done = Signal(str, object)
    """From a thread: which of the signals, and what it tells."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._labels = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._search = ThreadPoolExecutor(1, thread_name_prefix="relocate")
        self._stopped = Event()
        self._closed = Event()
        self._done.connect(self._tell, Qt.ConnectionType.QueuedConnection)
        parent.destroyed.connect(
            partial(_close, self._closed, self._stopped, self._labels, self._search)
        )

    def set_labels(
        self, root: Path, target: str, slides: Sequence[str], label: str, *, by: str
    ) -> None:
        """Store a label of some slides, as a reviewer says it."""

        def store(project: Project) -> tuple[str, object]:
            set_labels(project, target, dict.fromkeys(slides, label), by=by)
            return "stored", ""

        submit(self._labels, self._work, root, store, "failed")

    def export_labels(self, root: Path, path: Path) -> None:
        """Write the labels of all slides to a table."""

        def export(project: Project) -> tuple[str, object]:
            return "stored", f"{export_labels(project, path)} slides are in {path}."

        submit(self._labels, self._work, root, export, "failed")

    def relocate(self, root: Path, place: Path, slides: Sequence[str]) -> None:
        """Look for slides, or for all that are missing if none is named, in a file or folder."""
        self._stopped.clear()

        def search(project: Project) -> tuple[str, object]:
            stop = self._stopped.is_set
            return "relocated", relocate_slides(project, place, slides=slides, stop=stop)

        submit(self._search, self._work, root, search, "not_found")

    def stop(self) -> None:
        """Look for slides no longer."""
        self._stopped.set()

    def _work(self, root: Path, act: Callable[[Project], tuple[str, object]], failure: str) -> None:
        try:
            kind, value = act(Project.open(root))
        except FusecpathError as error:
            kind, value = failure, str(error)
        except JobCancelled:
            kind, value = "relocated", None
        if not self._closed.is_set():
            self._done.emit(kind, value)

    def _tell(self, kind: str, value: object) -> None:
        getattr(self, kind).emit(value)


def _close(closed: Event, stopped: Event, *pools: ThreadPoolExecutor | QObject) -> None:
    """End the search; labels that wait are stored still."""
    closed.set()
    stopped.set()
    for pool in pools:
        if isinstance(pool, ThreadPoolExecutor):  # not what was destroyed
            pool.shutdown(wait=False)
