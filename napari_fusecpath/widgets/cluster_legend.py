"""The legend of the clusters in view: what they are called, coloured, merged, shown and hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.find import find_layer, set_visible
from napari_fusecpath.layers.label_look import dress_labels, has_colors
from napari_fusecpath.notify import report_error
from napari_fusecpath.widgets.cluster_table import SORTS, ClusterTable, rows_of
from napari_fusecpath.widgets.own_surface import draw_first
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.tables import offer_sorts
from src_core.clustering.agreement import ClusterSummary, summarise
from src_core.clustering.legend import Legend
from src_core.clustering.legend_store import LegendStore
from src_core.errors import FusecpathError
from src_core.inference.palette import cluster_colors
from src_core.types import Float32
from src_core.types import Labels as Clusters

__all__ = ["ClusterLegend"]

_DIMMED = 0.25
_LEAST_HEIGHT = 130
"""Pixels: six clusters."""


class ClusterLegend(QWidget):
    """A table of clusters, and what can be done with the chosen ones.

    What a person says of clusters is stored at once, and taken back by Undo, after a restart too.

    Parameters
    ----------
    session : Session
        Whose slide it is about.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    chosen()
        Other rows are selected.
    said(str)
        Why an act failed; empty where it did not.
    """

    chosen = Signal()
    said = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._clusters: Clusters | None = None
        self._agreement: Float32 | None = None
        self._summary: ClusterSummary | None = None
        self._stored: LegendStore | None = None
        self._legend, self._is_filled = Legend(n_clusters=0), False
        self._painted: Callable[[], Labels | None] = lambda: None
        """The layer that shows what is chosen here, while it is there."""
        self._hidden: set[int] = set()
        """Numbers of clusters, as found, that are not drawn."""
        self.table = ClusterTable(self)
        self.table.setToolTip(
            "Click to select: the others are dimmed. Double-click to see one alone, again for all. "
            "F2 renames, the menu key offers the rest, sorting too. Agreement: share of the "
            "nearest neighbours of its patches, by each encoder alone, that are in it too"
        )
        self.table.setMinimumHeight(_LEAST_HEIGHT)
        # More only where there is room: on a laptop's screen the buttons below it stay in view.
        self.table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.rename, self.recolor = QPushButton("Rename", self), QPushButton("Colour…", self)
        self.merge, self.undo = SteadyButton("Merge", self), SteadyButton("Undo", self)
        self.rename.setToolTip("Call the chosen cluster something else (F2)")
        self.recolor.setToolTip("Choose another colour (or click the square of colour)")
        self.undo.setToolTip("Take the last name, colour or merge back, after a restart too")
        self._lay_out()
        self._listen()

    def show_clusters(self, clusters: Clusters | None, agreement: Float32 | None) -> None:
        """Turn to other clusters, or none; all of them are shown.

        Parameters
        ----------
        clusters : ndarray of int32, shape (N,), optional
            Of each patch, as found.
        agreement : ndarray of float32, shape (N, views), optional
            How far each encoder agrees about a patch.
        """
        self._clusters, self._agreement = clusters, agreement
        self._summary = self._stored = None
        self._is_filled = False
        self._hidden.clear()
        self.table.choose()

    def show_legend(self, legend: Legend) -> None:
        """Show what the clusters are called now; the same on the slide."""
        is_new = legend != self._legend
        if self._is_filled and not is_new:
            return
        self._legend, self._is_filled = legend, True
        self._fill()
        self._offer_undo()
        if is_new:
            self.paint()

    def choose(self, numbers: Sequence[int]) -> None:
        """Choose clusters as a click does; those that were hidden are shown."""
        if not self._hidden.isdisjoint(numbers):
            self._hidden.difference_update(numbers)
            self._fill()
        elif not numbers and not self.table.chosen:  # to paint them again takes its time
            return
        self.table.choose(*numbers)
        self._choose()

    def paint(self) -> None:
        """Let the chosen clusters stand out on the slide; none chosen is all of them."""
        layer = find_layer(self._session.viewer, "clusters")
        if not isinstance(layer, Labels) or not self._legend.n_clusters:
            return
        self._painted = ref(layer)
        numbers, chosen = np.arange(self._legend.n_clusters), self.table.members
        alpha = np.where(np.isin(numbers, chosen) | (not chosen), 1.0, _DIMMED)
        alpha[sorted(self._hidden)] = 0.0
        rgb = self._legend.rgb(cluster_colors(self._legend.n_clusters))
        colors = np.column_stack([rgb, alpha.astype(np.float32)])
        selected = chosen[0] + 1 if len(self.table.chosen) == 1 else None
        if not has_colors(layer, colors):
            draw_first(self)
        dress_labels(layer, self._legend.all_names(), colors, selected=selected)

    def follow(self) -> None:
        """Dress the layer on the slide if it is another one: it was deleted, and has come back."""
        layer = find_layer(self._session.viewer, "clusters")
        if layer is not None and layer is not self._painted():
            self.paint()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(3)
        for button in (self.rename, self.recolor, self.merge, self.undo):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table, stretch=1)
        layout.addLayout(buttons)

    def _listen(self) -> None:
        table = self.table
        table.itemSelectionChanged.connect(self._choose)
        table.cellDoubleClicked.connect(lambda row, _at: self._show_alone(table.rows[row].number))
        # Once the editor has closed: the rows are filled anew.
        table.renamed.connect(self._rename, Qt.ConnectionType.QueuedConnection)
        table.color_wanted.connect(self._ask_color)
        table.show_toggled.connect(self._toggle)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._open_menu)
        self.rename.clicked.connect(lambda: table.rename(table.chosen[0]))
        self.recolor.clicked.connect(lambda: self._ask_color(table.chosen[0]))
        self.merge.clicked.connect(self._merge_or_split)
        self.undo.clicked.connect(self._undo)

    @property
    def _is_joint(self) -> bool:
        return self._session.workbench.is_joint and self._session.snapshot.joint is not None

    def _store(self) -> LegendStore | None:
        slide = self._session.snapshot.slide
        if slide is None or self._clusters is None:
            return None
        if self._stored is None:
            self._stored = slide.legend(slide.shown_clusters(joint=self._is_joint))
        return self._stored

    def _fill(self) -> None:
        rows, clusters, known = [], self._clusters, self._agreement
        if clusters is not None:
            if self._summary is None:
                known = np.ones((len(clusters), 0), np.float32) if known is None else known
                self._summary = summarise(clusters, known, self._legend.n_clusters)
            rows = rows_of(self._summary, self._legend)
        self.table.show_clusters(rows, hidden=self._hidden)
        self._offer()

    def _offer(self) -> None:
        """Enable what can be done with the chosen rows."""
        n_chosen = len(self.table.chosen)
        for button in (self.rename, self.recolor):
            button.setEnabled(n_chosen == 1)
        is_split = n_chosen == 1 and len(self.table.members) > 1
        self.merge.setText("Split" if is_split else "Merge")
        self.merge.setEnabled(is_split or n_chosen > 1)
        self.merge.setToolTip(
            "Show the merged clusters apart again"
            if is_split
            else "Show, count and export the chosen clusters as one; models go on reading the "
            "clusters as found"
        )

    def _offer_undo(self) -> None:
        try:
            store = self._store()
            self.undo.setEnabled(store is not None and store.can_undo())
        except FusecpathError:  # said where the slide was opened
            self.undo.setEnabled(False)

    def _choose(self) -> None:
        if self.table.chosen and find_layer(self._session.viewer, "clusters") is None:
            self._draw_again()
        self.paint()
        layer = find_layer(self._session.viewer, "clusters")
        if layer is not None and self.table.chosen:  # what gives way does not come into view
            set_visible(layer, True)
        self._offer()
        self.chosen.emit()

    def _draw_again(self) -> None:
        """Bring the layer back that somebody has deleted."""
        try:
            self._session.show_current()
        except FusecpathError as error:
            report_error(error)

    def _edit(self, change: Callable[[Legend], Legend]) -> None:
        self._try(lambda store: store.edit(change))

    def _rename(self, number: int, name: str) -> None:
        self._edit(lambda legend: legend.renamed(number, name))

    def _undo(self) -> None:
        self._try(LegendStore.undo)

    def _try(self, act: Callable[[LegendStore], Legend | None]) -> None:
        legend, problem = None, ""
        try:
            store = self._store()
            legend = None if store is None else act(store)
        except FusecpathError as error:
            problem = str(error)
        self.said.emit(problem)
        if legend is None or legend == self._legend:
            self._fill()  # what was typed stands in the table still
        else:
            self.show_legend(legend)
            self._session.take_legend(legend, is_joint=self._is_joint)

    def _merge_or_split(self) -> None:
        chosen = self.table.chosen
        if len(chosen) == 1:
            self._edit(lambda legend: legend.split(chosen[0]))
        else:
            self._edit(lambda legend: legend.merged(chosen))

    def _ask_color(self, number: int) -> None:
        """Let a colour be chosen in a dialog that does not keep the window waiting."""
        now = self._legend.rgb(cluster_colors(self._legend.n_clusters))[number].tolist()
        dialog = QColorDialog(QColor.fromRgbF(*now), self)
        dialog.setWindowTitle(f"Colour of {self._legend.name(number)}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        asked_of = self._clusters

        def take(color: QColor) -> None:
            if self._clusters is asked_of:  # else the number is another cluster's by now
                self.set_color(number, color.name())

        dialog.colorSelected.connect(take)
        dialog.show()

    def set_color(self, number: int, color: str | None) -> None:
        """Give a cluster a colour such as ``#e69f00``; None brings its usual one back."""
        self._edit(lambda legend: legend.recolored(number, color))

    def _toggle(self, numbers: Sequence[int]) -> None:
        """Show clusters that are hidden, hide those that are shown."""
        self._hidden ^= {one for number in numbers for one in self._legend.members(number)}
        self._fill()
        self.paint()

    def _show_alone(self, number: int) -> None:
        """Hide all others; show them again if they are hidden already."""
        others = set(range(self._legend.n_clusters)) - set(self._legend.members(number))
        self._hidden = set() if self._hidden == others else others
        self._fill()
        self.paint()

    def _show_all(self) -> None:
        self._hidden.clear()
        self._fill()
        self.paint()

    def _open_menu(self, at: QPoint) -> None:
        menu = self._menu()
        viewport = self.table.viewport()
        if viewport is not None and not menu.isEmpty():
            menu.popup(viewport.mapToGlobal(at))

    def _menu(self) -> QMenu:
        """Return what can be done with the chosen rows, as a menu: by the keyboard as well."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        chosen = self.table.chosen
        acts: list[tuple[str, Callable[[], Any]]] = []
        if len(chosen) == 1:
            number = chosen[0]
            acts += [
                ("Rename", lambda: self.table.rename(number)),
                ("Colour…", lambda: self._ask_color(number)),
                ("Usual colour", lambda: self.set_color(number, None)),
                ("Show only this, or all again", lambda: self._show_alone(number)),
            ]
        if self.merge.isEnabled():
            acts.append((self.merge.text(), self._merge_or_split))
        acts.append(("Show all", self._show_all))
        for text, act in acts:
            menu.addAction(text).triggered.connect(act)  # type: ignore[union-attr]
        offer_sorts(menu, SORTS, self.table.sort_by)
        return menu
