"""The dock "Gallery": patches at full resolution, by what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.patch_view import look_at_patch
from napari_fusecpath.notify import report_error
from napari_fusecpath.widgets.alike import ask_tip, asked_patch, patch_words, take_question
from napari_fusecpath.widgets.gallery_found import items_of_matches
from napari_fusecpath.widgets.gallery_layout import GalleryLayout
from napari_fusecpath.widgets.gallery_model import GalleryItems, PatchFlags
from napari_fusecpath.widgets.gallery_pointer import PatchPointer
from napari_fusecpath.widgets.gallery_sources import (
    Lack,
    Source,
    clusters_shown,
    lack_of,
    rows_of,
    version_of,
)
from napari_fusecpath.widgets.gallery_texts import cluster_text, count_text, edit_text, patch_text
from napari_fusecpath.widgets.gallery_view import MOST_SHOWN, Question
from napari_fusecpath.widgets.patch_outline import PatchOutline
from napari_fusecpath.widgets.picking import PatchPicker
from napari_fusecpath.widgets.scatter_colors import label_at
from napari_fusecpath.widgets.selection_edits import edit_patches, undo_edit
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.threads import SideThread
from napari_fusecpath.widgets.thumbnails import PatchSource
from src_core.errors import FusecpathError
from src_core.review.selection import EXCLUDED, PINNED
from src_core.types import Int64

__all__ = ["GalleryPanel"]

_HEIGHT_PX = 230
_HINT = "Click a patch: the slide goes there."
_UNDONE = "What was excluded or pinned last was taken back."
_ELSEWHERE = "It is on another slide; go there first, by a click."
_NONE = np.empty(0, np.int64)


class GalleryPanel(GalleryLayout):
    """Patches of the slide in view, of one source, and what to do to have some.

    Parameters
    ----------
    session : Session
        Whose slide and selection it shows.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``similar``.
    wanted(str)
        The step that gives what is lacking.
    """

    asked = Signal(dict)
    wanted = Signal(str)
    _gathered = Signal(object, object)
    """From the thread: what was asked for, and `GalleryItems`."""
    _broken = Signal(object, str)
    """From the thread: what was asked for, and why it has not come."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._here: PatchSource | None = None
        self._pointed = -1
        """The row of the grid whose cluster is shown."""
        self._own: tuple[int, ...] | None = None
        """What was selected by a click in the gallery itself, which goes on showing what it did."""
        self._taken = _NONE
        self._done = ""
        """What the keys have done, until another patch is pointed at."""
        self._found: list[Mapping[str, Any]] = []
        self._found_in = ""
        """The folder of the project whose patches these are."""
        self._like = ""
        """The patch that they are like, in words."""
        self._n_asked = 0
        self._key: tuple[Question, Hashable] | None = None
        """What the patches that are shown, or on their way, were asked for by."""
        self._n_found = 0
        self._lack = Lack("")
        self._thread = SideThread("gallery", self)
        self._gathered.connect(self._take, Qt.ConnectionType.QueuedConnection)
        self._broken.connect(self._take_bug, Qt.ConnectionType.QueuedConnection)
        self._pointer = PatchPointer(session, self)
        self.outline = PatchOutline(session.viewer, self)
        self._listen()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a height that leaves the slide most of a small screen."""
        return QSize(800, _HEIGHT_PX)

    def show_found(self, result: Mapping[str, Any]) -> None:
        """Keep the patches of a result of ``similar``, and show them if such are wanted."""
        self._found, self._found_in = list(result["similar"]), str(result["project"])
        self._like = patch_words(result["slide"], result["row"])
        self._n_asked, self._done = self._n_asked + 1, ""
        self._refresh(self._session.snapshot)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Catch up with what happened while it was not seen."""
        super().showEvent(event)
        self._refresh(self._session.snapshot)

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802 - Qt's name
        """Hold no slide open."""
        super().hideEvent(event)
        self.view.rest()
        self._outline(None)

    def _listen(self) -> None:
        self.view.patches.describe = self._words
        self.view.chosen.connect(lambda place, is_more: self._choose(place, is_more=is_more))
        self.view.pointed.connect(self._point)
        self.view.excluded.connect(partial(self._edit, EXCLUDED))
        self.view.pinned.connect(partial(self._edit, PINNED))
        self.view.undone.connect(lambda: self._say(undo_edit(self._session) or _UNDONE))
        self.sources.activated.connect(lambda _index: self._turn_to_source())
        self.hold.toggled.connect(lambda _on: self._refresh(self._session.snapshot))
        self.ask.clicked.connect(self._ask_alike)
        self.to_step.clicked.connect(lambda: self.wanted.emit(self._lack.step))
        self._pointer.rested.connect(self._follow)
        PatchPicker(self._session, self).picked.connect(lambda row, _more: self._hold_at(row))
        self._session.refreshed.connect(self._refresh)

    @property
    def _is_joint(self) -> bool:
        return self._session.workbench.is_joint

    def _refresh(self, snapshot: Snapshot) -> None:
        if not self.isVisible():
            return
        self._turn_to_slide(snapshot)
        if snapshot.project is None or str(snapshot.project.root) != self._found_in:
            self._found = []  # patches of the same slide's name would be others
        self.show_tools(
            self.source,
            can_find=self._session.runner.running is None
            and snapshot.is_embedded
            and asked_patch(self._session) is not None,
            n_slides=len(snapshot.slide_ids),
        )
        self.ask.setToolTip(ask_tip(asked_patch(self._session)))
        self._gather(self.source, snapshot)
        self._show_flags(snapshot)

    def _turn_to_source(self) -> None:
        self._own, self._done = None, ""  # what is selected now is what was meant
        self._refresh(self._session.snapshot)

    def _turn_to_slide(self, snapshot: Snapshot) -> None:
        slide, grid = snapshot.slide, snapshot.grid
        here = None if slide is None or grid is None else PatchSource(slide, grid)
        if here == self._here:
            return
        self._here, self._pointed, self._taken, self._own = here, -1, _NONE, None
        self.hold.setChecked(False)
        self.hold.setEnabled(False)
        self.view.rest()
        self.view.patches.pictures.try_again()
        self._outline(None)
        self.show_full(0 if here is None else here.grid.lattice.patch_px)

    def _gather(self, source: Source, snapshot: Snapshot) -> None:
        """Show the patches of a source, in a moment, or say what is lacking."""
        lack = self._lack_of(source, snapshot)
        if lack is not None:
            self._key, self._lack = None, lack
            self.show_lack(lack)
            return
        if source == "selected" and self._session.workbench.selected != self._own:
            self._taken = self._session.selected
        key = self._stamp(source, snapshot)
        if key == self._key:
            return
        self._key = key
        here, failed = self._here, partial(self._tell_bug, key)
        if source == "selected":
            self._take(key, _items(here, self._taken))
        elif source == "alike" and snapshot.project is not None:
            found = tuple(self._found)
            find = partial(items_of_matches, snapshot.project, found)
            self._thread.submit(self._work, key, find, failed=failed)
        elif here is not None:
            joint, cluster = self._is_joint, self._cluster
            rows = partial(rows_of, source, snapshot, is_joint=joint, cluster=cluster)
            self._thread.submit(self._work, key, lambda: _items(here, rows()), failed=failed)

    def _lack_of(self, source: Source, snapshot: Snapshot) -> Lack | None:
        lack = lack_of(source, snapshot, is_joint=self._is_joint)
        if lack is not None:
            return lack
        if source == "cluster" and self._cluster < 0:
            return Lack(
                "Rest the pointer on a patch of the slide: its cluster is shown here. "
                "A click on it, or Hold, keeps it while you come over."
            )
        selected = self._session.workbench.selected
        if source == "selected" and not selected:
            return Lack("Nothing is selected; click patches, or draw around some in the scatter.")
        if source == "alike" and not self._found:
            return Lack("Select one patch, by a click on the slide; then “Find patches like it”.")
        return None

    def _stamp(self, source: Source, snapshot: Snapshot) -> tuple[Question, Hashable]:
        """Return what was asked for, and what the patches of it depend on besides."""
        if source == "alike":
            return (source, self._found_in, self._n_asked), None
        if source == "selected":
            return (source, self._here, self._taken.tobytes()), None
        record = snapshot.record
        clusters = None if record is None else (record.clusters_id, record.joint_id)
        of = (self._is_joint, self._cluster) if source == "cluster" else None
        return (source, self._here, clusters, of), version_of(source, snapshot)

    def _work(self, key: Hashable, find: Callable[[], GalleryItems]) -> None:
        items = find()
        if not self._thread.is_closed:
            self._gathered.emit(key, items)

    def _tell_bug(self, key: Hashable, problem: str) -> None:
        """Say in the thread why nothing has come."""
        if not self._thread.is_closed:
            self._broken.emit(key, problem)

    def _take_bug(self, key: Hashable, problem: str) -> None:
        if key == self._key:
            self._lack = Lack(problem)
            self.show_lack(self._lack)

    def _take(self, key: tuple[Question, Hashable], items: GalleryItems) -> None:
        if key != self._key:  # something else is wanted by now
            return
        done = self._done  # other patches may come of what was done
        self._n_found = len(items)
        is_moved = self.view.show_items(items.first(MOST_SHOWN), key[0])
        self.show_patches()
        self._say_count()
        self._point(self.view.place if is_moved else -1)
        self._say(f"{done}; now at {self.text.text()}" if done and is_moved else done)

    def _say_count(self) -> None:
        text = count_text(len(self.view.patches.items), self._n_found)
        if self.source == "cluster":
            snapshot = self._session.snapshot
            text = f"{cluster_text(snapshot, self._cluster, is_joint=self._is_joint)}: {text}"
        elif self.source == "alike":
            text = f"{text} like {self._like}"
        self.count.setText(text)

    def _show_flags(self, snapshot: Snapshot) -> None:
        """Draw what is selected, excluded and pinned by now."""
        here, edits = self._here, snapshot.edits
        flags = None
        if here is not None and edits is not None:
            selected = np.zeros(len(here.grid), np.bool_)
            selected[self._session.selected] = True
            flags = PatchFlags(here, selected, edits.excluded, edits.pinned)
        self.view.patches.frames = flags
        self.view.redraw()

    def _follow(self, row: int) -> None:
        """Turn to the cluster of a patch of the slide, unless another one is held."""
        if self.source == "cluster" and not self.hold.isChecked():
            self._turn_to_cluster_of(row)

    def _hold_at(self, row: int) -> None:
        """Hold the cluster that was clicked; a click beside all patches lets it go."""
        if self.source == "cluster" and self.isVisible():
            self.hold.setChecked(row >= 0 and self._turn_to_cluster_of(row))

    def _turn_to_cluster_of(self, row: int) -> bool:
        """Show the cluster of a patch; tell whether it has one."""
        if self._cluster_of(row) < 0:
            return False
        self._pointed = row
        self.hold.setEnabled(True)
        self._gather("cluster", self._session.snapshot)
        return True

    def _cluster_of(self, row: int) -> int:
        """Return the cluster in view of a row of the grid, -1 for none."""
        clusters = clusters_shown(self._session.snapshot, is_joint=self._is_joint)
        is_there = clusters is not None and 0 <= row < len(clusters)
        return int(clusters[row]) if clusters is not None and is_there else -1

    @property
    def _cluster(self) -> int:
        return self._cluster_of(self._pointed)

    def _choose(self, place: int, *, is_more: bool) -> None:
        """Select a patch; go there, if need be on another slide, unless more are selected."""
        source, row = self.view.patches.items.at(place)
        if source != self._here and is_more:
            self._say(_ELSEWHERE)
            return
        if source != self._here and not self._turn_to(source):
            return
        self._session.pick_patch(row, is_more=is_more)
        self._own = self._session.workbench.selected
        if not is_more:
            look_at_patch(self._session.viewer, source.grid, row)
        self._point(place)

    def _turn_to(self, source: PatchSource) -> bool:
        """Turn to the slide of a patch; tell whether it has the patch still."""
        try:
            self._session.show_slide(source.slide.slide_id)
        except FusecpathError as error:
            report_error(error)
            return False
        self._session.refresh()
        return source == self._here

    def _point(self, place: int) -> None:
        """Outline a patch on the slide, and say what is known of it."""
        self._done = ""
        is_there = 0 <= place < len(self.view.patches.items)
        source, row = self.view.patches.items.at(place) if is_there else (None, -1)
        self._outline(row if source is not None and source == self._here else None)
        self._say(self._words(place) if is_there else "")

    def _outline(self, row: int | None) -> None:
        if self._here is None or row is None:
            self.outline.hide()
        else:
            self.outline.show_patch(self._here.grid, row)

    def _words(self, place: int) -> str:
        items, snapshot = self.view.patches.items, self._session.snapshot
        source, row = items.at(place)
        note = items.note(place)
        if source != self._here:
            return f"slide {source.slide.slide_id} · patch {row:,} · {note}"
        mark = label_at(self._session.viewer, source.grid, "marks", row)
        text = patch_text(snapshot, row, is_joint=self._is_joint, mark=mark)
        n_meant = len(self._meant_with(row))
        many = f"X and P: all {n_meant:,} selected" if n_meant > 1 else ""
        return " · ".join(filter(None, (text, note, many)))

    def _say(self, text: str) -> None:
        self.text.setText(text or _HINT)

    def _edit(self, label: str) -> None:
        """Exclude or pin the patch that the keys are at; with it all selected by hand with it.

        The pointer may be at another one: outline and words turn to the one that was meant.
        """
        place = self.view.place
        if place < 0:
            self._say("No patch is chosen; go to one by the arrows or a click.")
            return
        source, row = self.view.patches.items.at(place)
        if source != self._here:
            self._say(_ELSEWHERE)
            return
        rows = self._meant_with(row)
        problem = edit_patches(self._session, label, rows)
        self._point(place)
        if problem:
            self._say(problem)
            return
        self._done = edit_text(self._session.snapshot.edits, label, rows)
        self._say(" · ".join(filter(None, (self._done, self._words(place)))))

    def _meant_with(self, row: int) -> Int64:
        """Return what the keys act on: what a search has lit up nobody has chosen one by one."""
        rows = self._session.selected
        is_one_of_many = self._session.workbench.is_by_hand and row in rows
        return rows if is_one_of_many else np.array([row], np.int64)

    def _ask_alike(self) -> None:
        everywhere = self.everywhere.isVisibleTo(self) and self.everywhere.isChecked()
        options = take_question(self._session, everywhere=everywhere)
        if options is not None:
            self.asked.emit(options)


def _items(here: PatchSource | None, rows: Int64) -> GalleryItems:
    return GalleryItems(rows=rows, sources=() if here is None else (here,))
