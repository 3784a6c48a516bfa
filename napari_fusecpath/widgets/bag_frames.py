"""The frames on the slide: the patches of one selection, and those that a person has edited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_fusecpath.layers.find import about, find_layer, set_visible
from napari_fusecpath.layers.selection import Frames, show_frames
from napari_fusecpath.layers.shade import show_shade
from napari_fusecpath.layers.stack import keeping_active
from napari_fusecpath.widgets.quiet_boxes import set_quietly
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.bags.selection import select_bags
from src_core.errors import TooFewPatchesError
from src_core.patches.grid import PatchGrid
from src_core.seeding import generator
from src_core.types import BoolArray, Int64, Labels
from src_core.wording import counted

__all__ = ["BagFrames", "one_bag"]

_BAG, _PINNED, _EXCLUDED, _PICKED = "yellow", "deepskyblue", "black", "lime"
_MOST_FRAMED = 500
"""Selected patches that are framed; beside more of them the others are darkened instead."""


def one_bag(snapshot: Snapshot) -> Int64:
    """Return the grid's rows of one selection by the project's settings, ascending by cluster.

    The first of those by which a model reads the slide, if it learned by these settings.
    """
    slide, edits, training = snapshot.slide, snapshot.edits, snapshot.config.training
    clusters = _clusters(snapshot)
    if clusters is None or slide is None or clusters.max(initial=-1) < 0:
        return np.empty(0, np.int64)
    bags = select_bags(
        clusters,
        n_per_cluster=training.n_per_cluster,
        n_bags=1,
        rng=generator(training.seed, "predict", slide.slide_id),
        pinned=None if edits is None else edits.pinned,
    )
    rows: Int64 = bags[bags >= 0]
    return rows


def _clusters(snapshot: Snapshot) -> Labels | None:
    """Return the clusters that bags are drawn from; None if there are none left."""
    if snapshot.clusters is None or snapshot.edits is None:
        return snapshot.clusters
    try:
        return snapshot.edits.applied(snapshot.clusters, slide_id=snapshot.slide_name)
    except TooFewPatchesError:  # whoever needs them says so
        return None


class BagFrames(QCheckBox):
    """Frames one selection; off until it is wanted, for hundreds of frames hide what lies beneath.

    Excluded and pinned patches, and those picked on the slide, are framed whether it is on or off.

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
        self._of: tuple[int, ...] = ()
        self._layer: Layer | None = None
        self._unwanted: object = None
        self._shaded: object = None
        self._expects_many, self._prepared = False, ""
        self.setToolTip("What a model reads at once, drawn by chance from every cluster")
        self.toggled.connect(self._draw)

    def show_bag(self, clusters: Sequence[int] = ()) -> None:
        """Frame what is stored now; of the bag that of `clusters` alone, if some are chosen."""
        snapshot = self._session.snapshot
        self._of = tuple(clusters)
        count = counted(snapshot.config.training.n_per_cluster, "patch", "patches")
        self.setText(f"Frame a selection: {count} a cluster")
        self.setVisible(snapshot.clusters is not None)
        if self._layer is not None and self._layer not in self._session.viewer.layers:
            self._layer = None  # the user has taken the frames away
            set_quietly(self, False)
            self._unwanted = self._key(list(self._groups(snapshot)))
        self._draw()

    def expect_many(self) -> None:
        """Get ready for many patches to be selected: a new layer takes a tenth of a second."""
        self._expects_many = True
        self._prepare()

    def _prepare(self) -> None:
        """Put an unseen shade on the slide, once; one that was taken away stays away."""
        snapshot, viewer = self._session.snapshot, self._session.viewer
        grid = snapshot.grid if self._expects_many and snapshot.clusters is not None else None
        if grid is None or grid.grid_id == self._prepared:
            return
        self._prepared = grid.grid_id
        if find_layer(viewer, "shade") is None:
            with keeping_active(viewer):
                show_shade(viewer, grid, np.ones(len(grid), np.bool_), visible=False)

    def _draw(self) -> None:
        self._prepare()
        self._shade()
        snapshot, viewer = self._session.snapshot, self._session.viewer
        groups = list(self._groups(snapshot))
        key = self._key(groups)
        if snapshot.grid is None or key == self._unwanted:
            layer, self._layer = self._layer, None
            if layer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)
            return
        if not groups and self._layer is None:  # a layer that is there stays, and shows nothing
            return
        self._unwanted = None
        if self._layer is None or about(self._layer).get("shown") != key:
            with keeping_active(viewer):  # its value goes on standing in the status bar
                layer = show_frames(viewer, snapshot.grid.lattice, groups)
            about(layer)["shown"] = key
            self._layer = layer

    def _shade(self) -> None:
        """Darken what is not selected where many are; a shade that was taken away stays away."""
        snapshot, viewer, rows = self._session.snapshot, self._session.viewer, self._picked()
        many = len(rows) > _MOST_FRAMED and snapshot.clusters is not None
        grid = snapshot.grid if many else None
        key = None if grid is None else (self._session.workbench.grid_id, rows.tobytes())
        if key == self._shaded:
            return
        self._shaded = key
        if grid is not None:
            selected = np.zeros(len(grid), np.bool_)
            selected[rows] = True
            with keeping_active(viewer):
                show_shade(viewer, grid, selected)
            return
        layer = find_layer(viewer, "shade")
        if layer is not None:  # to remove it and add it anew takes tenths of a second
            set_visible(layer, False)

    def _picked(self) -> Int64:
        """Return the selected patches; none of chosen clusters, the others of which are dimmed."""
        return np.empty(0, np.int64) if self._of else self._session.selected

    def _key(self, groups: Sequence[Frames]) -> object:
        """Return what stands for the frames, to draw them only when they change."""
        grid = self._session.snapshot.grid
        cells = tuple((one.color, np.asarray(one.cells).tobytes()) for one in groups)
        return None if grid is None else (grid.grid_id, cells)

    def _groups(self, snapshot: Snapshot) -> Iterator[Frames]:
        """Yield what is to be framed, the last on top; nothing before there are clusters."""
        grid, clusters, edits = snapshot.grid, snapshot.clusters, snapshot.edits
        if grid is None or clusters is None or edits is None:
            return
        bag = np.zeros(len(grid), np.bool_)
        if self.isChecked():
            bag[one_bag(snapshot)] = True
            bag &= ~edits.pinned
            if self._of:
                bag &= np.isin(clusters, self._of)
        yield from _framed(grid, bag, _BAG)
        yield from _framed(grid, edits.excluded, _EXCLUDED, is_struck=True)
        yield from _framed(grid, edits.pinned, _PINNED, rings=(0, 1))
        rows = self._picked()
        if len(rows) <= _MOST_FRAMED:
            picked = np.zeros(len(grid), np.bool_)
            picked[rows] = True
            yield from _framed(grid, picked, _PICKED)


def _framed(
    grid: PatchGrid,
    which: BoolArray,
    color: str,
    *,
    rings: tuple[int, ...] = (0,),
    is_struck: bool = False,
) -> Iterator[Frames]:
    if which.any():
        yield Frames(cells=grid.cells[which], color=color, rings=rings, is_struck=is_struck)
