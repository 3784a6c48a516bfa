"""Which encoders are used: presets, the table of all of them, and what each asks of the user."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QPoint, QUrl, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.jobs import JobFailure
from napari_fusecpath.widgets.asking import ConsentDialog, TokenDialog
from napari_fusecpath.widgets.dialogs import ask_file
from napari_fusecpath.widgets.encoder_detail import EncoderDetail
from napari_fusecpath.widgets.encoder_model import SORTS
from napari_fusecpath.widgets.encoder_table import EncoderTable
from napari_fusecpath.widgets.encoder_texts import EncoderLine, Standing, is_mean, standing_of
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.tables import offer_sorts
from src_core.encoders.access import Access
from src_core.encoders.giving import give_file
from src_core.encoders.hub_refusals import size_text
from src_core.encoders.local_weights import forget_file
from src_core.encoders.presets import PRESETS, Preset
from src_core.encoders.registry import encoder_card, import_problem, list_encoders
from src_core.encoders.scale import unlike_card
from src_core.errors import FusecpathError

__all__ = ["EncoderChoice"]

_FILES = "Weights (*.safetensors *.pth *.bin)"


class EncoderChoice(QWidget):
    """The part of step 2 in which encoders are looked at and ticked.

    Parameters
    ----------
    session : Session
        The window's.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    toggled()
        The user has ticked something, or not any more.
    said(str)
        A sentence for the user about what could not be done; empty takes it back.
    """

    toggled = Signal()
    said = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._standings: dict[str, Standing] = {}
        self._answers: dict[str, Access] = {}
        self.presets: dict[str, QPushButton] = {}
        self.table = EncoderTable(self)
        self.detail = EncoderDetail(self)
        self.table.turned.connect(lambda: self.detail.show_line(self.table.current))
        self.table.encoders.toggled.connect(self.toggled)
        self.table.menu_wanted.connect(self._pop_up)
        self.detail.wanted.connect(self._act)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._preset_row())
        layout.addWidget(self.table)
        layout.addWidget(self.detail)
        self.look()

    @property
    def encoders(self) -> list[str]:
        """Names of the patch encoders that are ticked."""
        return self.table.encoders.ticked("patch")

    @property
    def teachers(self) -> list[str]:
        """Names of the slide encoders that are ticked."""
        return self.table.encoders.ticked("slide")

    def set_ticked(self, name: str, on: bool) -> None:
        """Tick an encoder, or not, as a click does."""
        self.table.encoders.set_ticked(name, on)

    def tick(self, names: Collection[str]) -> None:
        """Tick those of these that can be and no others, without a signal, and bring them up."""
        self.table.encoders.tick(names)
        self.table.order.put_in_order()
        if not self.table.hasFocus():
            self._go_up()

    def _pop_up(self, place: QPoint) -> None:
        """Offer what the current row asks for, and ways to sort, at a place on the screen."""
        menu = QMenu(self)
        menu.aboutToHide.connect(menu.deleteLater)
        self.detail.offer(menu)
        offer_sorts(menu, SORTS, self.table.sort_by)
        menu.popup(place)
        menu.setActiveAction(menu.actions()[0])

    def look(self) -> None:
        """Find out how this user stands to every encoder; the network is not used."""
        for name in list_encoders():  # means last
            card = encoder_card(name)
            if is_mean(card):  # needs what its patch encoder needs
                self._standings[name] = replace(self._standings[str(card.patch_encoder)], file=None)
                continue
            standing, told = standing_of(card), self._answers.get(name)
            if told is not None and standing.access.status == "gated":
                standing = replace(standing, access=replace(told, lacks=standing.access.lacks))
            self._standings[name] = standing
        self.show_snapshot(self._session.snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show how every encoder stands for the slide in view."""
        grid = snapshot.config.grid if snapshot.grid is None else snapshot.grid.lattice
        chosen = {*snapshot.config.encoders, *snapshot.config.teachers}
        lines = []
        for name in (*_in_order(), *_unknown(snapshot.imported)):
            card = encoder_card(name) if name in self._standings else None
            is_bound = card is not None and not card.own_lattice
            unlike = partial(unlike_card, mpp=grid.mpp, patch_px=grid.patch_px)
            lines.append(
                EncoderLine(
                    name=name,
                    card=card,
                    standing=self._standings.get(name),
                    is_stored=name in snapshot.stored,
                    is_chosen=name in chosen,
                    changed=snapshot.outdated.get(name),
                    unlike=unlike(card) if card is not None and is_bound else None,
                )
            )
        current = self.table.current
        self.table.encoders.show_lines(lines)
        for name, preset in PRESETS.items():
            self.presets[name].setToolTip(_preset_tip(preset, lines))
        if self.table.current is None and current is not None:
            self.table.choose(current.name)
        elif self.table.current is None:
            self._go_up()

    def _go_up(self) -> None:
        """Turn to the first row."""
        line = self.table.order.line_at(self.table.order.index(0, 0))
        if line is not None:
            self.table.choose(line.name)

    def _preset_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(QLabel("Tick", self))
        for name, preset in PRESETS.items():
            button = self.presets[name] = QPushButton(preset.title, self)
            button.setAccessibleName(f"Tick the preset {preset.title}")
            button.clicked.connect(partial(self._take_preset, preset))
            row.addWidget(button)
        row.addStretch(1)
        return row

    def _take_preset(self, preset: Preset, _on: bool = False) -> None:
        """Tick a preset; of what cannot be had here yet, turn to the first, with what it asks."""
        lines = {line.name: line for line in self.table.encoders.lines}
        wanted = (*preset.encoders, *preset.teachers)
        lacking = [name for name in wanted if not lines[name].can_tick]
        self.tick(wanted)  # also where none can be had: what was ticked is not what was asked for
        self.toggled.emit()
        self.said.emit("")
        if lacking:
            self.table.choose(lacking[0])
            their = "its row says" if len(lacking) == 1 else "their rows say"
            self.said.emit(f"Not ticked: {', '.join(lacking)}; {their} what is missing.")

    def _act(self, action: str) -> None:
        line = self.table.current
        if line is None or line.card is None:
            return
        theme = self._session.viewer.theme
        if action == "token":
            token = TokenDialog(line.card, theme=theme, parent=self)
            token.stored.connect(self._on_login)
            token.open()
        elif action == "consent":
            consent = ConsentDialog(line.card, theme=theme, parent=self)
            consent.agreed.connect(self.look)
            consent.open()
        elif action == "file":
            self._ask_file(line.name)
        elif action == "forget":
            self._take(partial(forget_file, line.name))
        elif not QDesktopServices.openUrl(QUrl(line.card.source_url)):
            self.said.emit(f"No browser has opened; the page is {line.card.source_url}.")

    def _ask_file(self, name: str) -> None:
        path = ask_file(self, f"Weights of {name}", _FILES)
        if path:
            self._take(partial(give_file, name, path))

    def _take(self, work: partial[Any]) -> None:
        """Write the user's list of files in a thread: a file may lie on a slow disk."""
        self.said.emit("")
        worker = create_worker(_problem_of, work, _start_thread=False)
        worker.returned.connect(self._taken)
        worker.start()

    def _taken(self, problem: str) -> None:
        self.said.emit(problem)
        self.look()
        self._session.refresh_soon()  # what is stored may be by other weights than these

    def _on_login(self) -> None:
        """Ask the hub, in the engine, which gated encoders the new token opens."""
        self._answers.clear()
        self.look()
        job = self._session.submit("encoders", {"check": True})
        job.done.connect(self._take_answers)
        job.failed.connect(self._on_no_answer)

    def _take_answers(self, result: Mapping[str, Any]) -> None:
        keys = ("status", "detail")
        self._answers = {
            one["name"]: Access(**{key: one[key] for key in keys}) for one in result["encoders"]
        }
        self.look()

    def _on_no_answer(self, failure: JobFailure) -> None:
        self.said.emit(failure.message)


def _in_order() -> list[str]:
    """Return all encoders: those of patches by what they ask of the user, teachers, means."""

    def effort(name: str) -> tuple[int, int]:
        card = encoder_card(name)
        if card.kind == "slide":
            return 4, int(is_mean(card))
        if import_problem(name) is not None:
            return 3, 0
        return (0 if card.repository is None else 1 + int(card.gated)), 0

    return sorted(list_encoders(), key=effort)


def _unknown(imported: Mapping[str, str]) -> Iterator[str]:
    """Yield what was imported by names that nobody knows here."""
    return (name for name in imported if name not in list_encoders())


def _preset_tip(preset: Preset, lines: Collection[EncoderLine]) -> str:
    """Return what a preset is, its encoders, and how much of them is still to be downloaded."""
    names = (*preset.encoders, *preset.teachers)
    told = [line for line in lines if line.name in names and line.standing is not None]
    absent = [line for line in told if line.standing is not None and not line.standing.access.here]
    megabytes = sum(line.card.download_mb or 0 for line in absent if line.card is not None)
    size = f"Downloads {size_text(megabytes * 1e6)}" if megabytes else "Nothing to download"
    access = ", once you have access" if any(not line.can_tick for line in absent) else ""
    return f"{preset.about}:\n{', '.join(names)}.\n{size}{access}"


def _problem_of(work: partial[Any]) -> str:
    try:
        work()
    except FusecpathError as error:
        return str(error)
    return ""
