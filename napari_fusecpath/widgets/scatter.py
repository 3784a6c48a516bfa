"""The dock "Scatter": the slide's patches in two dimensions, and the one selection upon them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.patch_view import look_at_patch
from napari_fusecpath.remembered import keep, recall
from napari_fusecpath.widgets.progress_panel import ProgressPanel
from napari_fusecpath.widgets.scatter_colors import (
    DENSITY,
    Coloring,
    coloring_of,
    colorings_at_hand,
)
from napari_fusecpath.widgets.scatter_kind import KindSwitch
from napari_fusecpath.widgets.scatter_view import ScatterView
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import wrapped_label
from src_core.clustering.result import load_clusters
from src_core.clustering.scatter import Scatter, ScatterKind, load_scatter, scatter_recipe
from src_core.errors import FusecpathError
from src_core.provenance import recipe_id
from src_core.types import Int64
from src_core.wording import counted

__all__ = ["ScatterPanel"]

_SIDE_PX, _HEIGHT_PX = 220, 230
_LEAST_MINUTES, _PATCHES_PER_MINUTE = 0.6, 70_000
"""What it takes to lay patches out by their neighbours, about: in any case, and a minute more for
so many of them."""
_COLORED_BY = "scatter is coloured by"


class ScatterPanel(QWidget):
    """The scatter of the slide in view with what it is coloured by, or what to do to have one.

    Parameters
    ----------
    session : Session
        Whose slide and selection it shows.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    lassoed(ndarray)
        The patches that are to be selected, as rows of the grid.
    asked()
        The user wants the scatter of the kind that is chosen to be made.
    """

    lassoed = Signal(object)
    asked = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._shown: tuple[Path, int] | None = None
        self._coloring: Coloring | None = None
        self._chosen = {False: recall(_COLORED_BY)}
        """What the user wants it coloured by, and, under True, what while blind."""
        self.view = ScatterView(self)
        self.view.setToolTip(
            "Drag: select (Shift: as well). Wheel: zoom. Right drag: move. Double-click: go there. "
            "By keys: plus, minus and arrows, then Enter selects what is in view"
        )
        self.switch = KindSwitch(self)
        self.colors = QComboBox(self)
        self.colors.setAccessibleName("Colour by")
        self.colors.setToolTip("A map that is on the slide, in its colours, or the density alone")
        self.text = wrapped_label(parent=self)
        # However much it says, the dock takes no more of the slide.
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        self.whole, self.clear = QPushButton("Show all", self), QPushButton("Clear", self)
        self.whole.setToolTip("Show every patch again (Home)")
        self.clear.setToolTip("Select nothing (Esc)")
        self.empty = wrapped_label(parent=self)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.make = QPushButton("Cluster", self)
        self.make.setToolTip("The engine does it beside the window, which goes on meanwhile")
        self.make.clicked.connect(self.asked)
        self.progress = ProgressPanel(session.runner, self)
        self.pages = QStackedWidget(self)
        self.side = QWidget(self)
        self._lay_out()
        self.switch.switched.connect(lambda: self._refresh(session.snapshot))
        self.colors.activated.connect(lambda _index: self._choose_color())
        self.whole.clicked.connect(self.view.fit)
        self.clear.clicked.connect(lambda: self._select(np.empty(0, np.int64), is_more=False))
        self.view.lassoed.connect(lambda rows, more: self._select(rows, is_more=more))
        self.view.pointed.connect(self._say)
        self.view.wanted.connect(self._go)
        session.refreshed.connect(self._refresh)
        session.runner.changed.connect(self._follow_job)

    @property
    def kind(self) -> ScatterKind:
        """Which scatter the user wants to see."""
        return self.switch.kind

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a height that leaves the slide most of a small screen."""
        return QSize(800, _HEIGHT_PX)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Catch up with what happened while it was not seen."""
        super().showEvent(event)
        self._refresh(self._session.snapshot)

    def _lay_out(self) -> None:
        words = QWidget(self)
        self.side.setFixedWidth(_SIDE_PX)
        column = QVBoxLayout(self.side)
        column.setContentsMargins(0, 0, 0, 0)
        by, row = QHBoxLayout(), QHBoxLayout()
        by.addWidget(QLabel("Colour by", self.side))
        by.addWidget(self.colors, stretch=1)
        row.addWidget(self.whole)
        row.addWidget(self.clear)
        column.addWidget(self.switch)
        column.addLayout(by)
        column.addWidget(self.text, stretch=1)
        column.addLayout(row)
        middle = QVBoxLayout(words)
        middle.addStretch()
        middle.addWidget(self.empty)
        middle.addWidget(self.make, alignment=Qt.AlignmentFlag.AlignCenter)
        middle.addWidget(self.progress)
        middle.addStretch()
        self.pages.addWidget(self.view)
        self.pages.addWidget(words)
        line = QHBoxLayout(self)
        line.setContentsMargins(4, 4, 4, 4)
        line.addWidget(self.side)
        line.addWidget(self.pages, stretch=1)

    def _refresh(self, snapshot: Snapshot) -> None:
        if not self.isVisible():
            return
        is_joint = self._session.workbench.is_joint
        scatter, folder = _stored(snapshot, self.kind, is_joint=is_joint)
        if scatter is None or folder is None or snapshot.grid is None:
            self._shown = None
            self._say_what_is_missing(snapshot)
            return
        stamp = (folder, (folder / "meta.json").stat().st_mtime_ns)
        if stamp != self._shown:
            self._shown = stamp
            self.view.show_points(np.asarray(scatter.points), _captions(scatter))
        self.side.show()
        self._show_page(0)
        self._offer_colors()
        self._color()
        self.view.show_selected(self._session.selected)
        self.clear.setEnabled(len(self._session.selected) > 0)
        self._say(-1)

    def _show_page(self, number: int) -> None:
        """Show the points or words; how to show points is of no use without them."""
        self.pages.setCurrentIndex(number)
        self.setFocusProxy(self.make if number else self.view)
        for widget in (self.colors, self.whole, self.clear):
            widget.setEnabled(number == 0)
        if number == 1:
            self.text.clear()

    def _say_what_is_missing(self, snapshot: Snapshot) -> None:
        self._show_page(1)
        is_clustered = snapshot.clusters is not None or snapshot.joint is not None
        button = "Run 3 Cluster"
        if snapshot.slide_path is None:
            text = "Open a slide first: drop a file on the window."
        elif not is_clustered:
            text = "The scatter shows the patches by how alike they are; Cluster makes it."
        elif self.kind == "pca":
            text = "These clusters have no scatter yet; it is made in seconds."
            button = "Make the scatter"
        elif other := self._laid_out(here=False):
            text = f"Slide {other} is being laid out; this one can be once that has ended."
            button = "Lay out by neighbours"
        else:
            text = f"{_time_it_takes(snapshot)} You can work on meanwhile."
            button = "Lay out by neighbours"
        self.empty.setText(text)
        self.make.setText(button)
        self.side.setVisible(is_clustered)
        self._follow()

    def _follow_job(self) -> None:
        """Say anew what is missing, if words are shown: it may be on its way."""
        if self.isVisible() and self.pages.currentIndex() == 1:
            self._say_what_is_missing(self._session.snapshot)
        else:
            self._follow()

    def _follow(self) -> None:
        """Show how far the scatter is while it is being made, else what makes it."""
        is_made = self.kind == "tsne" and bool(self._laid_out(here=True))
        self.progress.setVisible(is_made)
        self.make.setVisible(not is_made and self._session.snapshot.slide_path is not None)
        self.make.setEnabled(self._session.runner.running is None)

    def _laid_out(self, *, here: bool) -> str:
        """Return which slide is laid out now, if it is the one in view, or is not; else nothing."""
        running, snapshot = self._session.runner.running, self._session.snapshot
        if running is None or running.verb != "scatter":
            return ""
        (slide_id,) = cast("list[str]", running.options["slides"])
        in_view = (
            snapshot.project is not None
            and snapshot.slide is not None
            and running.options["project"] == str(snapshot.project.root)
            and slide_id == snapshot.slide.slide_id
        )
        return slide_id if in_view == here else ""

    def _offer_colors(self) -> None:
        """Offer the maps that are on the slide; what was chosen last is taken where it is there."""
        grid = self._session.snapshot.grid
        if grid is None:
            return
        offered = list(colorings_at_hand(self._session.viewer, grid).items())
        if offered == [
            (self.colors.itemData(at), self.colors.itemText(at))
            for at in range(self.colors.count())
        ]:
            return
        chosen = self._chosen.get(self._session.workbench.is_blind) or self.colors.currentData()
        self.colors.clear()
        for key, name in offered:
            self.colors.addItem(name, key)
        self.colors.setCurrentIndex(max(0, self.colors.findData(chosen)))

    def _choose_color(self) -> None:
        is_blind = self._session.workbench.is_blind
        self._chosen[is_blind] = self.colors.currentData()
        if not is_blind:
            keep(_COLORED_BY, self.colors.currentData())
        self._color()

    def _color(self) -> None:
        grid, key = self._session.snapshot.grid, self.colors.currentData()
        if grid is None or key is None:
            return
        self._coloring = coloring_of(self._session.viewer, grid, key)
        shown = self._coloring
        self.view.show_colors(shown.rgb, shown.caption, is_plain=key == DENSITY)

    def _select(self, rows: Int64, *, is_more: bool) -> None:
        if is_more:
            rows = np.union1d(self._session.selected, rows)
        self.lassoed.emit(rows)

    def _say(self, row: int) -> None:
        """Say what is under the pointer, or else how much is selected."""
        clusters, coloring = self._session.snapshot.clusters, self._coloring
        if row < 0:
            n_selected = len(self._session.selected)
            text = "Draw around patches to select them."
            self.text.setText(
                f"{counted(n_selected, 'patch', 'patches')} selected." if n_selected else text
            )
            return
        said = [f"patch {row:,}"]
        if clusters is not None and not self._session.workbench.is_joint and clusters[row] >= 0:
            said.append(self._session.snapshot.cluster_name(int(clusters[row])))
        word = "" if coloring is None else coloring.word(row)
        if word and word not in said:
            said.append(f"{self.colors.currentText()}: {word}")
        self.text.setText("\n".join(said))

    def _go(self, row: int) -> None:
        """Bring a patch to the middle of the canvas."""
        grid = self._session.snapshot.grid
        if grid is not None:
            look_at_patch(self._session.viewer, grid, row)


def _captions(scatter: Scatter) -> tuple[str, str]:
    """Return what stands at the axes, across and up."""
    if scatter.shares is None:
        return "Near means alike; gaps and sizes of groups mean little", ""
    first, second = (f"{share:.0%} of the variance" for share in scatter.shares)
    return f"1st axis, {first} →", f"↑ 2nd axis, {second}"


def _time_it_takes(snapshot: Snapshot) -> str:
    count = 0 if snapshot.grid is None else len(snapshot.grid)
    minutes = round(_LEAST_MINUTES + count / _PATCHES_PER_MINUTE)
    takes = "a minute at most" if minutes <= 1 else f"about {minutes} minutes"
    patches = counted(count, "patch", "patches")
    return f"To lay {patches} out by their neighbours (t-SNE) takes {takes}."


def _stored(
    snapshot: Snapshot, kind: ScatterKind, *, is_joint: bool
) -> tuple[Scatter | None, Path | None]:
    """Return the scatter by the encoders of the clusters in view, and where it is stored.

    A damaged one counts as missing: making it again mends it.
    """
    slide, grid = snapshot.slide, snapshot.grid
    if slide is None or grid is None or (snapshot.clusters is None and snapshot.joint is None):
        return None, None
    try:
        _, meta = load_clusters(slide.shown_clusters(joint=is_joint))
        recipe = scatter_recipe(grid.grid_id, meta["recipe"].get("views") or {}, kind)
        folder = slide.scatter(grid.grid_id, recipe_id(recipe))
        scatter = load_scatter(folder)
    except FusecpathError:
        return None, None
    return (scatter, folder) if len(scatter.points) == len(grid) else (None, None)
