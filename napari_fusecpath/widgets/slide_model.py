"""The slides of a project as a tree: patients with several slides, and slides by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QAbstractItemModel,
    QModelIndex,
    QObject,
    Qt,
    Signal,
)
from qtpy.QtGui import QFont, QIcon

from napari_fusecpath.widgets.slide_texts import STAGES, marks_of, state_tip
from napari_fusecpath.widgets.slide_thumbnails import SlideThumbnails
from src_core.project import Project, SlideFolder
from src_core.slide_stages import SlideStages
from src_core.wording import counted

__all__ = ["Column", "SlideListing", "SlideModel"]

_Role = Qt.ItemDataRole

_LABEL_TIP = (
    "Double click a label, or press F2, to edit it; it is stored at once.\n"
    "Click here to show another column of labels."
)


class Column(IntEnum):
    """Of the list of slides."""

    NAME = 0
    STATE = 1
    LABEL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideListing:
    """What the list shows besides the stages, which come later."""

    project: Project | None = None
    slide_ids: tuple[str, ...] = ()
    patients: Mapping[str, str] = field(default_factory=dict)
    """Slide -> patient; a slide that is not named is its own patient."""
    target: str = "label"
    """Column of the labels table that is shown."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Slide -> label of that column."""

    def entries(self) -> list[tuple[str, ...]]:
        """Return the slides of each patient, in the order of their first one."""
        found: dict[str, list[str]] = {}
        for slide_id in self.slide_ids:
            found.setdefault(self.patients.get(slide_id, slide_id), []).append(slide_id)
        return [tuple(slides) for slides in found.values()]


class SlideModel(QAbstractItemModel):
    """What the view asks for, row by row.

    Parameters
    ----------
    thumbnails : SlideThumbnails
        Where pictures come from.
    blank : QIcon
        Shown where there is none (yet).
    parent : QObject
        Usual.

    Signals
    -------
    edited(tuple, str)
        The user has typed a label for these slides.
    """

    edited = Signal(object, str)

    def __init__(self, thumbnails: SlideThumbnails, blank: QIcon, parent: QObject) -> None:
        super().__init__(parent)
        self.listing = SlideListing()
        self._thumbnails, self._blank = thumbnails, blank
        self._entries: list[tuple[str, ...]] = []
        self._places: dict[str, tuple[int, int | None]] = {}
        """Slide -> row of its entry, and its row there if the entry is a patient."""
        self._stages: Mapping[str, SlideStages] = {}
        self._typed: dict[str, str] = {}
        """Slide -> label that is being stored."""
        thumbnails.came.connect(self._repaint)

    @property
    def slides(self) -> tuple[str, ...]:
        """Names of the slides in the order of the list."""
        return tuple(self._places)

    @property
    def has_patients(self) -> bool:
        """Whether a patient has several slides."""
        return any(len(slides) > 1 for slides in self._entries)

    def show_listing(self, listing: SlideListing) -> bool:
        """Show other slides or labels; tell whether the rows are others than before."""
        before, self.listing = self.listing, listing
        self._typed = {}
        entries = listing.entries()
        roots = [None if one.project is None else one.project.root for one in (before, listing)]
        is_other = entries != self._entries or roots[0] != roots[1]
        if is_other:
            self.beginResetModel()
            if roots[0] != roots[1]:
                self._stages = {}
            self._entries = entries
            self._places = {
                slide_id: (row, place if len(slides) > 1 else None)
                for row, slides in enumerate(entries)
                for place, slide_id in enumerate(slides)
            }
            self.endResetModel()
        elif listing != before:
            self.changed()
        if listing.target != before.target:
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, Column.LABEL, Column.LABEL)
        return is_other

    def show_stages(self, stages: Mapping[str, SlideStages]) -> None:
        """Show how far the slides have come."""
        if stages != self._stages:
            self._stages = stages
            self.changed()

    def stages(self, slide_id: str) -> SlideStages | None:
        """Return how far a slide has come, None if that is not read yet."""
        return self._stages.get(slide_id)

    def forget_typed(self) -> None:
        """Show what is stored: what was typed last could not be."""
        self._typed = {}
        self.changed()

    def label_of(self, slide_id: str) -> str:
        """Return the label in force: a reviewer's correction comes before the table's."""
        if slide_id in self._typed:
            return self._typed[slide_id]
        found, target = self.stages(slide_id), self.listing.target
        said = dict(() if found is None else found.corrections)
        return said.get(target, self.listing.labels.get(slide_id, ""))

    def changed(self) -> None:
        """Have everything that is in view drawn again."""
        if self._entries:
            # The view then draws all that is in view, slides of patients too.
            last = self.index(len(self._entries) - 1, Column.LABEL)
            self.dataChanged.emit(self.index(0, 0), last)

    def index_of(self, slide_id: str, column: int = Column.NAME) -> QModelIndex:
        """Return where a slide stands; an invalid index if it does not."""
        place = self._places.get(slide_id)
        if place is None:
            return QModelIndex()
        row, inner = place
        if inner is None:
            return self.createIndex(row, column, 0)
        return self.createIndex(inner, column, row + 1)

    def slides_at(self, index: QModelIndex) -> tuple[str, ...]:
        """Return the slide of a row, or those of a patient."""
        if not index.isValid():
            return ()
        parent = int(index.internalId())
        return (self._entries[parent - 1][index.row()],) if parent else self._entries[index.row()]

    # What follows is Qt's. An index holds 0 at the top, else the row of its parent plus 1.

    def index(self, row: int, column: int, parent: QModelIndex | None = None) -> QModelIndex:
        """Return a cell of an entry, or of a patient's slide."""
        above = QModelIndex() if parent is None else parent
        if not self.hasIndex(row, column, above):
            return QModelIndex()
        return self.createIndex(row, column, above.row() + 1 if above.isValid() else 0)

    def parent(self, index: QModelIndex | None = None) -> Any:
        """Return the patient of a slide; without an index the parent of this object."""
        if index is None:
            return super().parent()
        number = int(index.internalId()) if index.isValid() else 0
        return self.createIndex(number - 1, 0, 0) if number else QModelIndex()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return the number of entries, or of a patient's slides."""
        if parent is None or not parent.isValid():
            return len(self._entries)
        slides = self.slides_at(parent)
        is_patient = not parent.internalId() and parent.column() == 0 and len(slides) > 1
        return len(slides) if is_patient else 0

    def columnCount(self, _parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return len(Column)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        """Return what stands above a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        texts = ("Slide", "State", f"{self.listing.target} ▾")
        tips = (
            "Slides of the project, by patient where one has several",
            f"{', '.join(STAGES)}: ● all, ◐ in part, ○ not yet",
            _LABEL_TIP,
        )
        if role == _Role.DisplayRole:
            return texts[section]
        return tips[section] if role == _Role.ToolTipRole else None

    def flags(self, index: QModelIndex) -> Any:
        """Tell what can be done with a cell."""
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        found = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return found | Qt.ItemFlag.ItemIsEditable if index.column() == Column.LABEL else found

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        slides = self.slides_at(index)
        if not slides:
            return None
        is_slide = len(slides) == 1
        if index.column() == Column.NAME:
            return self._name(slides, is_slide, role)
        if index.column() == Column.STATE:
            return self._state(slides, is_slide, role)
        return self._label(slides, role)

    def setData(  # noqa: N802
        self, index: QModelIndex, value: Any, role: int = _Role.EditRole
    ) -> bool:
        """Take a label that was typed."""
        text, slides = str(value).strip(), self.slides_at(index)
        if role != _Role.EditRole or not slides or text == self._common(slides):
            return False
        if not text and self._common(slides) is None:  # an editor that was opened and left
            return False
        self._typed |= dict.fromkeys(slides, text)
        self.dataChanged.emit(index, index)
        self.edited.emit(slides, text)
        return True

    def _name(self, slides: tuple[str, ...], is_slide: bool, role: int) -> Any:
        if role == _Role.DisplayRole:
            return slides[0] if is_slide else f"{self._patient(slides)} · {len(slides)}"
        if role == _Role.DecorationRole and is_slide and self.listing.project is not None:
            icon = self._thumbnails.icon(self.listing.project.slide(slides[0]))
            return self._blank if icon is None else icon
        if role == _Role.FontRole and not is_slide:
            font = QFont()
            font.setBold(True)
            return font
        if role == _Role.ToolTipRole:
            if not is_slide:
                return f"Patient {self._patient(slides)}: {len(slides)} slides"
            found = self.stages(slides[0])
            path = "" if found is None or found.path is None else f"\n{found.path}"
            return f"{slides[0]}, of patient {self._patient(slides)}{path}"
        return None

    def _state(self, slides: tuple[str, ...], is_slide: bool, role: int) -> Any:
        project = self.listing.project
        encoders = () if project is None else project.config.encoders
        found = [self.stages(one) for one in slides]
        if role == _Role.DisplayRole:
            if is_slide and found[0] is not None and found[0].problem:
                return "damaged"
            is_gone = any(one is not None and one.is_missing for one in found)
            return marks_of(found, encoders) + (" ⚠" if is_gone else "")
        if role in (_Role.ToolTipRole, _Role.AccessibleTextRole):
            if is_slide:
                return state_tip(found[0], encoders)
            gone = sum(one is not None and one.is_missing for one in found)
            lost = f", {counted(gone, 'slide has', 'slides have')} moved" if gone else ""
            return f"{len(slides)} slides{lost}; open the patient to see each"
        return None

    def _label(self, slides: tuple[str, ...], role: int) -> Any:
        common = self._common(slides)
        if role == _Role.DisplayRole:
            return "various" if common is None else common
        if role == _Role.EditRole:
            return common or ""
        if role == _Role.ToolTipRole:
            if common is None:
                return "Its slides differ; what is typed here holds for all of them."
            table = self.listing.labels.get(slides[0], "")
            other = "" if table == common else f"; corrected in review, the table says {table!r}"
            return f"{self.listing.target}: {common or 'none'}{other} (double click to edit)"
        return None

    def _common(self, slides: tuple[str, ...]) -> str | None:
        """Return the label that all of the slides have, None if they differ."""
        found = {self.label_of(one) for one in slides}
        return found.pop() if len(found) == 1 else None

    def _patient(self, slides: tuple[str, ...]) -> str:
        return self.listing.patients.get(slides[0], slides[0])

    def _repaint(self, slide: SlideFolder) -> None:
        index = self.index_of(slide.slide_id)
        if index.isValid():
            self.dataChanged.emit(index, index, [_Role.DecorationRole])
