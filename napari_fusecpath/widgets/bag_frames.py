"""The box that frames, on the slide, the patches of one selection as models draw it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_fusecpath.layers.find import about
from napari_fusecpath.layers.selection import show_selection
from napari_fusecpath.widgets.encoder_boxes import set_quietly
from napari_fusecpath.widgets.result_texts import number
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.bags.selection import select_bags
from src_core.seeding import generator
from src_core.types import Int64

__all__ = ["BagFrames", "one_bag"]


def one_bag(snapshot: Snapshot) -> Int64:
    """Return the grid's rows of one selection by the project's settings, ascending by cluster.

    The first of those by which a model reads the slide, if it learned by these settings.
    """
    clusters, slide, training = snapshot.clusters, snapshot.slide, snapshot.config.training
    if clusters is None or slide is None or clusters.max(initial=-1) < 0:
        return np.empty(0, np.int64)
    rng = generator(training.seed, "predict", slide.slide_id)
    bags = select_bags(clusters, n_per_cluster=training.n_per_cluster, n_bags=1, rng=rng)
    rows: Int64 = bags[bags >= 0]
    return rows


class BagFrames(QCheckBox):
    """Off until it is wanted: hundreds of frames hide what lies beneath.

    Parameters
    ----------
    session : Session
        Whose viewer gets the frames.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._clusters: tuple[int, ...] = ()
        self._layer: Layer | None = None
        self.setToolTip("What a model reads at once, drawn by chance from every cluster")
        self.toggled.connect(self._draw)

    def show_bag(self, clusters: Sequence[int] = ()) -> None:
        """Frame what is stored now, of `clusters` alone if some are chosen."""
        snapshot = self._session.snapshot
        self._clusters = tuple(clusters)
        count = number(snapshot.config.training.n_per_cluster, "patch", "patches")
        self.setText(f"Frame a selection: {count} a cluster")
        self.setVisible(snapshot.clusters is not None)
        if self._layer is not None and self._layer not in self._session.viewer.layers:
            self._layer = None  # the user has taken the frames away
            set_quietly(self, False)
        self._draw()

    def _draw(self) -> None:
        snapshot, viewer = self._session.snapshot, self._session.viewer
        if snapshot.grid is None or snapshot.clusters is None or not self.isChecked():
            layer, self._layer = self._layer, None
            if layer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)
            return
        rows = one_bag(snapshot)
        if self._clusters:
            rows = rows[np.isin(snapshot.clusters[rows], self._clusters)]
        shown = (snapshot.grid.grid_id, rows.tobytes())
        if self._layer is None or about(self._layer).get("shown") != shown:
            active = viewer.layers.selection.active
            layer = show_selection(viewer, snapshot.grid.lattice, snapshot.grid.cells[rows])
            if active in viewer.layers:  # its value goes on standing in the status bar
                viewer.layers.selection.active = active
            about(layer)["shown"] = shown
            self._layer = layer
