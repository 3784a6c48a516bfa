"""Which project, and which of its slides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]  # an alias in qtpy
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.notify import report_error
from napari_fusecpath.readers.slide import (
    PICTURES,
    SUFFIXES,
    is_our_reader_preferred,
    open_in,
    prefer_our_reader,
)
from napari_fusecpath.widgets.dialogs import ask_file, ask_folder
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.slides_panel import STEP_KEYS, SlidesPanel
from napari_fusecpath.widgets.snapshot import Snapshot, default_project
from napari_fusecpath.widgets.step import wrapped_label
from src_core import RESEARCH_USE
from src_core.errors import FusecpathError
from src_core.project import Project

__all__ = ["ProjectPanel"]


class ProjectPanel(QWidget):
    """The head of the dock: the project's line and the list of its slides.

    Parameters
    ----------
    session : Session
        Whose project it is.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    exchanging()
        Show what is taken from other programs and written for them.
    """

    exchanging = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.name = QLabel(self)
        self.name.setTextFormat(Qt.TextFormat.PlainText)
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.menu_button = QToolButton(self)
        self.menu_button.setText("Project   ")  # room for the style's arrow
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setToolTip("Open a slide or a project, make one, and what slides have")
        menu = QMenu(self.menu_button)
        menu.addAction("Open a slide …", self._ask_slide)
        menu.addAction("Open a project …", self._ask_open)
        menu.addAction("New project …", self._ask_new)
        self._offer_reader(menu)
        menu.addSeparator()
        self.menu_button.setMenu(menu)
        self.folder = QLineEdit(self)
        self.folder.setToolTip("Folder in which everything about the slide will be kept")
        self.folder.setAccessibleName("Folder of the new project")
        self.folder.editingFinished.connect(self._take_folder)
        self.browse = QToolButton(self)
        self.browse.setText("…")
        self.browse.setToolTip("Choose another folder")
        self.browse.clicked.connect(self._ask_new)
        self.research = wrapped_label(RESEARCH_USE, self)
        self.absent = wrapped_label(parent=self)
        self.again = QPushButton("Show the slide again", self)
        self.again.setToolTip("Open the slide that is worked on once more")
        self.again.clicked.connect(lambda: self._try(self.session.show_again))
        self.slides = SlidesPanel(session, self)
        self.slides.add_actions(menu)
        menu.addSeparator()
        menu.addAction("Import, or export for QuPath, tables, other programs …", self.exchanging)
        before, after = STEP_KEYS
        self.previous = self._make_step("◀", f"Previous slide (key {before} on the canvas)", -1)
        self.following = self._make_step("▶", f"Next slide (key {after} on the canvas)", 1)
        self._lay_out()
        session.refreshed.connect(self._show)

    def _offer_reader(self, menu: QMenu) -> None:
        """Let slides be opened without napari's question which plugin is meant."""
        always = QAction("Always open slides with FuseCPath", menu)
        menu.addAction(always)
        always.setCheckable(True)
        always.triggered.connect(prefer_our_reader)
        # The same is chosen in napari's own settings and questions.
        menu.aboutToShow.connect(lambda: always.setChecked(is_our_reader_preferred()))

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.name, stretch=1)
        for button in (self.previous, self.following, self.menu_button):
            head.addWidget(button)
        self._proposal = QWidget(self)
        line = QHBoxLayout(self._proposal)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("in", self._proposal))
        line.addWidget(self.folder, stretch=1)
        line.addWidget(self.browse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 2)
        layout.setSpacing(3)
        layout.addLayout(head)
        layout.addWidget(self.research)
        layout.addWidget(self._proposal)
        layout.addWidget(self.absent)
        layout.addWidget(self.again)
        layout.addWidget(self.slides)

    def _make_step(self, text: str, tip: str, by: int) -> QToolButton:
        button = QToolButton(self)
        button.setText(text)
        button.setToolTip(tip)
        button.clicked.connect(lambda: self.slides.step(by))
        return button

    def _show(self, snapshot: Snapshot) -> None:
        project, path = snapshot.project, snapshot.slide_path
        if project is not None:
            self.name.setText(f"Project {project.root.name}")
            self.name.setToolTip(str(project.root))
        elif path is not None:
            self.name.setText(f"New project for {path.stem}")
            self.name.setToolTip("")
        else:
            self.name.setText("No slide yet: drop one on the window")
            self.name.setToolTip("")
        self.research.setVisible(project is None and path is None)
        proposed = project is None and path is not None
        self._proposal.setVisible(proposed)
        if proposed and path is not None and not self.folder.hasFocus():
            self.folder.setText(str(self.session.new_project or default_project(path)))
        self._say_absent(path)
        for button in (self.previous, self.following):
            button.setVisible(len(snapshot.slide_ids) > 1)

    def _say_absent(self, path: Path | None) -> None:
        """Say why the canvas has no slide, and let it be tried again."""
        is_absent = path is not None and self.session.is_slide_absent
        self.absent.setVisible(is_absent)
        self.again.setVisible(is_absent)
        if path is not None:
            why = self.session.workbench.slide_problem
            self.absent.setText(f"{path.name} is not in view. {why}".strip())

    def _take_folder(self) -> None:
        text = self.folder.text().strip()
        self.session.new_project = Path(text).expanduser() if text else None

    def _ask_slide(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in (*SUFFIXES, *PICTURES))
        path = ask_file(self, "Open a slide or a plain picture", f"Slides ({patterns})")
        if path:
            self._try(lambda: open_in(self.session.viewer, path))

    def _ask_open(self) -> None:
        folder = ask_folder(self, "Open a project")
        if folder:
            self._try(lambda: self.session.open_project(folder))

    def _ask_new(self) -> None:
        folder = ask_folder(self, "An empty folder for the new project")
        if folder:
            self._try(lambda: self._make_project(folder))

    def _make_project(self, folder: Path) -> None:
        project = Project.create(folder)
        self.session.new_project = None
        self.session.open_project(project.root)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except FusecpathError as error:
            report_error(error)
        self.session.refresh_soon()
