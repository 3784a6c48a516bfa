"""The choice between a map's values as they were computed and their ranks within the slide."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QWidget

from napari_fusecpath.layers.find import Role
from napari_fusecpath.layers.maps import RANKED
from napari_fusecpath.remembered import remember
from napari_fusecpath.state import Workbench

__all__ = ["ValueChoice"]

_TIP = (
    "By rank: the percentile within the slide, for maps in which a few patches outshine all "
    "others; contributions keep their sign"
)
_AS_COMPUTED: dict[Role, str] = {
    "prediction": (
        "A probability is shown as computed: by rank the highest of a slide without any would "
        "look like a certain one"
    ),
    "clusters": "Clusters have no values",
}


class ValueChoice(QComboBox):
    """As computed, or by rank; off beside a map whose values have no rank worth drawing.

    Parameters
    ----------
    workbench : Workbench
        Keeps what was chosen, for every map and slide.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    chosen()
        The user has chosen the other way.
    """

    chosen = Signal()

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.addItems(["as computed", "by rank"])
        remember(self, "values of a map")
        workbench.is_by_rank = bool(self.currentIndex())
        self.activated.connect(self._take)

    def follow(self, role: Role) -> None:
        """Say how the map of a role is drawn, and why there is no choice where there is none."""
        has_ranks = role in RANKED
        self.setEnabled(has_ranks)
        self.setCurrentIndex(int(has_ranks and self._workbench.is_by_rank))
        self.setToolTip(_TIP if has_ranks else _AS_COMPUTED[role])

    def _take(self, index: int) -> None:
        if bool(index) != self._workbench.is_by_rank:
            self._workbench.is_by_rank = bool(index)
            self.chosen.emit()
