"""How far the slides of a project have come, read in a thread: there may be thousands."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]

from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError
from src_core.project import Project
from src_core.slide_stages import StageReader

__all__ = ["SlideFacts"]


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
        self._thread = SideThread("slide facts", parent)
        self._read.connect(self.came, Qt.ConnectionType.QueuedConnection)

    def ask(self, root: Path, run_id: str | None) -> None:
        """Read a project; `came` follows, once for many questions while one is being answered."""
        self._thread.submit_latest(self._work, root, run_id)

    def _work(self, root: Path, run_id: str | None) -> None:
        try:
            stages = self._reader.read(Project.open(root), run_id=run_id)
            found = {one.slide_id: one for one in stages}
        except FusecpathError:  # the window says so, from its snapshot
            return
        if not self._thread.is_closed:
            self._read.emit(root, found)
