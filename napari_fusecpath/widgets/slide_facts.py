"""How far the slides of a project have come, read in a thread: there may be thousands."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import NamedTuple

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]

from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError
from src_core.project import Project
from src_core.slide_stages import StageReader

__all__ = ["SlideFacts"]


class _Question(NamedTuple):
    root: Path
    run_id: str | None


class SlideFacts(QObject):
    """Reads what there is to know of every slide of a project.

    Parameters
    ----------
    parent : QObject
        With it the thread ends.

    Signals
    -------
    came(Path, dict)
        The project's folder, and the `SlideStages` of its slides by their names.
    """

    came = Signal(object, object)
    _read = Signal(object, object)
    """From the thread."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._reader = StageReader()
        self._wanted: deque[_Question] = deque(maxlen=1)
        """Only the latest question is answered."""
        self._thread = SideThread("slide facts", parent)
        self._read.connect(self.came, Qt.ConnectionType.QueuedConnection)

    def ask(self, root: Path, run_id: str | None) -> None:
        """Read a project; `came` follows, once for many questions while one is being answered."""
        self._wanted.append(_Question(root, run_id))
        self._thread.submit(self._work)

    def _work(self) -> None:
        try:
            asked = self._wanted.pop()
        except IndexError:  # a later question has had its answer
            return
        try:
            project = Project.open(asked.root)
            stages = self._reader.read(project, run_id=asked.run_id)
            found = {one.slide_id: one for one in stages}
        except FusecpathError:  # the window says so, from its snapshot
            return
        if not self._thread.is_closed:
            self._read.emit(asked.root, found)
