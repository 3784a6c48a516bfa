"""The slides of the project: turn to one, label them, and find those that have moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.notify import report_error, report_info
from napari_fusecpath.remembered import keep, recall
from napari_fusecpath.widgets.dialogs import ask_name
from napari_fusecpath.widgets.label_columns import ColumnsMenu
from napari_fusecpath.widgets.labels_table import ask_labels
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.slide_facts import SlideFacts
from napari_fusecpath.widgets.slide_keeper import SlideKeeper
from napari_fusecpath.widgets.slide_list import SlideList
from napari_fusecpath.widgets.slide_model import Column, SlideListing
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.viewer_keys import take_keys
from src_core.errors import FusecpathError, ProjectError, SlideReadError
from src_core.project import Project
from src_core.relocating import Relocated

__all__ = ["STEP_KEYS", "SlidesPanel"]

STEP_KEYS = {"PageUp": -1, "PageDown": 1}
"""Keys of the canvas, and by how many slides they turn: napari gives them to nothing."""

_TABLE = "Table (*.csv)"

_COLUMN = "column of labels"


class SlidesPanel(QWidget):
    """The list of slides, and what can be done with them.

    Parameters
    ----------
    session : Session
        Whose project.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.list = SlideList(self)
        self.facts, self.keeper = SlideFacts(self), SlideKeeper(self)
        self.columns = ColumnsMenu(self)
        self.lost = wrapped_label(parent=self)
        self.relocate_button = QPushButton("Relocate …", self)
        self.relocate_button.setToolTip("Say where the slides lie now; they are known by content")
        self.relocate_button.clicked.connect(self._relocate_or_stop)
        self._lost: tuple[str, ...] = ()
        """Slides that are to be relocated by the button."""
        self._is_searching = False
        self._seen: Snapshot | None = None
        self._target = ""
        """Column of labels that the user has chosen."""
        self._due: str | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._turn)
        self._lay_out()
        self._connect()
        keys = {key: _stepper(self, by) for key, by in STEP_KEYS.items()}
        take_keys(session.viewer, keys, self)

    def step(self, by: int) -> None:
        """Turn to the next slide of the list, or another one after or before."""
        slides = self.list.slides
        here = self._due or self._one_lost or self.session.workbench.slide_id
        if slides:
            index = slides.index(here) + by if here in slides else 0
            self._turn_soon(slides[index % len(slides)])

    @property
    def _one_lost(self) -> str | None:
        """The slide that was turned to in vain: one goes on from there."""
        return self._lost[0] if len(self._lost) == 1 else None

    def add_actions(self, menu: QMenu) -> None:
        """Add to a menu what can be done with all slides."""
        menu.addMenu(self.columns)
        menu.addAction("Take labels from a table (CSV) …", self._ask_import)
        menu.addAction("Write labels to a table (CSV) …", self._ask_export)
        menu.addAction("Relocate slides that have moved …", self._ask_folder)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.lost, stretch=1)
        row.addWidget(self.relocate_button, alignment=Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.list)
        layout.addLayout(row)
        self._say_lost("", ())
        self.menu = QMenu(self)
        self.menu.addAction("Edit the label (F2)", self._edit)
        self.menu.addAction("Relocate …", lambda: self._ask_place(self._of_menu))
        self._of_menu: tuple[str, ...] = ()
        """The slides that the menu was opened on."""

    def _connect(self) -> None:
        self.list.turned.connect(self._turn_soon)
        self.list.menu_wanted.connect(self._show_menu)
        self.list.slide_model.edited.connect(self._store_label)
        header = self.list.header()
        if header is not None:
            header.sectionClicked.connect(self._click_header)
        self.columns.chosen.connect(self._choose_column)
        self.facts.came.connect(self._show_stages)
        self.keeper.stored.connect(self._stored)
        self.keeper.failed.connect(self._failed)
        self.keeper.not_found.connect(self._not_found)
        self.keeper.relocated.connect(self._relocated)
        self.session.refreshed.connect(self._show)

    def _show(self, snapshot: Snapshot) -> None:
        if snapshot is not self._seen:  # else only the selection has changed
            before = None if self._seen is None else self._seen.project
            self._seen = snapshot
            project = snapshot.project
            if project is None or before is None or project.root != before.root:
                self.keeper.stop()
                self._target, self._is_searching = "", False
                self._say_lost("", ())
            self.list.show_listing(self._listing(snapshot))
            self.setVisible(bool(snapshot.slide_ids))
            self.list.thumbnails.try_again()  # of those that had none
            if project is not None:
                self.facts.ask(project.root, snapshot.run_id)
        if self._due is None:
            self.list.choose(self.session.workbench.slide_id, keys_at=self._one_lost)

    def _listing(self, snapshot: Snapshot) -> SlideListing:
        table = snapshot.labels
        targets = () if table is None else table.targets
        last = recall(_COLUMN)
        usual = last if last in targets else next(iter(targets), "label")
        target = self._target or str(usual)
        self.columns.show_columns(targets, target)
        rows = () if table is None else table.rows
        return SlideListing(
            project=snapshot.project,
            slide_ids=snapshot.slide_ids,
            patients={row.slide_id: row.patient_id for row in rows},
            target=target,
            labels={row.slide_id: row.labels.get(target, "") for row in rows},
        )

    def _show_stages(self, root: Path, stages: dict[str, Any]) -> None:
        project = self.session.snapshot.project
        if project is not None and project.root == root:
            self.list.slide_model.show_stages(stages)

    def _turn_soon(self, slide_id: str) -> None:
        """Turn to a slide once no more keys are waiting: of many, the last one counts."""
        self._due = slide_id
        self.list.choose(slide_id)
        self._soon.start(0)

    def _turn(self) -> None:
        slide_id, self._due = self._due, None
        project = self.session.snapshot.project
        if slide_id is None or project is None:
            return
        try:
            path = project.root / project.slide(slide_id).record.path
            is_there = path.exists()
            if is_there and slide_id != self.session.workbench.slide_id:
                self.session.show_slide(slide_id)
        except FusecpathError as error:
            report_error(error)
        except OSError as error:  # a folder on the way may be out of bounds
            report_error(
                SlideReadError(
                    f"The file of {slide_id} cannot be reached ({error.strerror}); check the "
                    f"permissions of {error.filename}."
                )
            )
        else:
            if not self._is_searching:
                said = "" if is_there else f"{slide_id} is no longer at {path}."
                self._say_lost(said, () if is_there else (slide_id,))
        self.session.refresh_soon()

    def _store_label(self, slides: tuple[str, ...], label: str) -> None:
        project = self.session.snapshot.project
        if project is not None:
            target = self.list.slide_model.listing.target
            by = self.session.reviewer
            self.keeper.set_labels(project.root, target, slides, label, by=by)

    def _show_menu(self, place: QPoint, slides: tuple[str, ...]) -> None:
        self._of_menu = slides
        self.menu.popup(place)

    def _edit(self) -> None:
        self.list.edit_label(self._of_menu)

    def _stored(self, text: str) -> None:
        if text:
            report_info(text)
        self.session.refresh_soon()

    def _failed(self, text: str) -> None:
        self.list.slide_model.forget_typed()
        report_error(ProjectError(text))
        self.session.refresh_soon()

    def _not_found(self, text: str) -> None:
        self._is_searching = False
        self._say_lost(text, self._lost)

    def _click_header(self, section: int) -> None:
        header = self.list.header()
        if section == Column.LABEL and header is not None:
            left = header.sectionViewportPosition(section)
            self.columns.popup(header.mapToGlobal(QPoint(left, header.height())))

    def _choose_column(self, target: str) -> None:
        self._target = target
        keep(_COLUMN, target)
        if self._seen is not None:
            self.list.show_listing(self._listing(self._seen))

    def _ask_import(self) -> None:
        try:
            ask_labels(self, self.session)
        except FusecpathError as error:
            report_error(error)

    def _ask_export(self) -> None:
        project = self._project_or_none()
        if project is None:
            return
        proposed = project.root.parent / f"{project.root.name}-labels.csv"
        try:
            path = ask_name(self, "Write labels to", proposed, _TABLE)
        except FusecpathError as error:
            report_error(error)
            return
        if path is not None:
            self.keeper.export_labels(project.root, path)

    def _project_or_none(self) -> Project | None:
        """Return the project, or say that there is none."""
        project = self.session.snapshot.project
        if project is None:
            report_error(ProjectError("There is no project yet; open a slide and prepare it."))
        return project

    def _ask_folder(self) -> None:
        """Ask for a folder in which all slides that are missing are looked for."""
        self._ask_place(())

    def _relocate_or_stop(self) -> None:
        if self._is_searching:
            self.keeper.stop()
        else:
            self._ask_place(self._lost)

    def _ask_place(self, slides: Sequence[str]) -> None:
        project = self._project_or_none()
        if project is None or self._is_searching:
            return
        what = slides[0] if len(slides) == 1 else f"{len(slides) or 'all'} slides that have moved"
        folder = QFileDialog.getExistingDirectory(
            self, f"A folder in which to look for {what}", str(project.root.parent)
        )
        if folder:
            self.relocate(Path(folder), slides)

    def relocate(self, place: Path, slides: Sequence[str] = ()) -> None:
        """Look for slides in a folder, for all that are missing if none is named."""
        project = self.session.snapshot.project
        if project is None:
            return
        self._is_searching = True
        self._say_lost(f"Looking in {place} …", tuple(slides))
        self.keeper.relocate(project.root, place, slides)

    def _relocated(self, done: Relocated | None) -> None:
        self._is_searching = False
        lost, self._lost = self._lost, ()
        self._say_lost("", ())
        if done is not None:
            still = f"; {len(done.missing)} are still missing" if done.missing else ""
            report_info(
                f"Found again: {', '.join(list(done.found)[:5])}"
                f"{' …' if len(done.found) > 5 else ''}{still}."
            )
            if len(lost) == 1 and lost[0] in done.found:
                self._turn_soon(lost[0])
        self.session.refresh_soon()

    def _say_lost(self, text: str, slides: tuple[str, ...]) -> None:
        self._lost = slides
        self.lost.setText(text)
        self.lost.setVisible(bool(text))
        self.relocate_button.setText("Stop" if self._is_searching else "Relocate …")
        self.relocate_button.setVisible(bool(text))


def _stepper(panel: SlidesPanel, by: int) -> Callable[[Any], None]:
    # napari asks for the name of what is bound: a partial has none.
    def turn(_viewer: Any) -> None:
        panel.step(by)

    return turn
