"""Two reviewers compared: how often they say the same, and of which patches they do not."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.tables import Table
from src_core.wording import counted

__all__ = ["TwoReviewers", "pair_text"]

_SHOWN_ROWS = 9


def pair_text(pair: dict[str, Any]) -> str:
    """Return what a pair of the verb ``agree`` says, as sentences."""
    first, second, n_both = pair["first"], pair["second"], pair["n_both"]
    counts = f"{first} has marked {pair['n_first']:,} patches, {second} {pair['n_second']:,}"
    if not n_both:
        return f"{counts}; none is marked by both."
    kappa = (
        "Cohen's kappa is not defined, for they use one label only"
        if pair["kappa"] is None
        else f"Cohen's kappa {pair['kappa']:z.2f}"
    )
    return (
        f"{counts}, {n_both:,} by both. The same label for {pair['n_same']:,} of these "
        f"({100 * pair['agreement']:.1f} %); {kappa}."
    )


class TwoReviewers(QWidget):
    """A button that asks for the comparison, and the table of it.

    Parameters
    ----------
    session : Session
        Whose project is meant.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``agree``.
    """

    asked = Signal(dict)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._pairs: list[dict[str, Any]] = []
        self._project, self._grids = "", dict[str, str]()
        self.ask = QPushButton("Compare reviewers", self)
        self.ask.setToolTip("How far they agree about the patches that both have marked")
        self.ask.clicked.connect(self._ask)
        self.choice = QComboBox(self)
        self.choice.setToolTip("Whose marks are compared")
        self.choice.setAccessibleName("Pair of reviewers")
        self.choice.currentIndexChanged.connect(self._show_pair)
        self.text = wrapped_label(parent=self)
        self.table = Table(
            ["Label", "", "", "Both", "Agree"],
            name="Agreement by label",
            numbers=(1, 2, 3, 4),
            parent=self,
        )
        self.table.setToolTip(
            "Of the patches that both have marked: how many each calls so, how many both do, and "
            "the share of the calls on which they agree"
        )
        self.differ = QPushButton(self)
        self.differ.setToolTip("Select them on the slide in view, to look at them together")
        self.differ.clicked.connect(self._select)
        for wide in (self.choice, self.differ):  # names may be long, the dock is not wide
            wide.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.ask, self.choice, self.text, self.table, self.differ):
            layout.addWidget(widget)
        self._show_pair()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Offer the comparison, but to a blind reviewer not: it tells what others have said."""
        is_blind = self._session.workbench.is_blind
        self.ask.setEnabled(snapshot.project is not None and not is_blind)
        self.ask.setToolTip(
            "Leave the blind mode first: the comparison tells what others have said"
            if is_blind
            else "Agreement and Cohen's kappa on the patches of all slides that two have marked"
        )
        root = "" if snapshot.project is None else str(snapshot.project.root)
        if self._pairs and (is_blind or root != self._project):
            self._show_pairs([])
        self._show_differ()

    def show_result(self, result: dict[str, Any]) -> None:
        """Show a result of ``agree``."""
        self._project, self._grids = result["project"], result["grids"]
        self._show_pairs(result["pairs"])

    def _show_pairs(self, pairs: list[dict[str, Any]]) -> None:
        self._pairs = list(pairs)
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems([f"{pair['first']} and {pair['second']}" for pair in self._pairs])
        self.choice.blockSignals(False)
        self._show_pair()

    @property
    def _pair(self) -> dict[str, Any] | None:
        index = self.choice.currentIndex()
        return self._pairs[index] if 0 <= index < len(self._pairs) else None

    def _show_pair(self) -> None:
        pair = self._pair
        self.choice.setVisible(len(self._pairs) > 1)
        self.text.setVisible(pair is not None)
        self.table.setVisible(pair is not None and bool(pair["labels"]))
        if pair is not None:
            self.text.setText(pair_text(pair))
            heads = ["Label", _initials(pair["first"]), _initials(pair["second"]), "Both", "Agree"]
            self.table.setHorizontalHeaderLabels(heads)
            self.table.show_rows(
                [
                    (
                        one["label"],
                        f"{one['first']:,}",
                        f"{one['second']:,}",
                        f"{one['both']:,}",
                        f"{100 * one['agreement']:.0f} %",
                    )
                    for one in pair["labels"]
                ]
            )
            self.table.fit(_SHOWN_ROWS)
        self._show_differ()

    def _show_differ(self) -> None:
        rows = self._rows()
        self.differ.setVisible(self._pair is not None and self._pair["n_both"] > 0)
        self.differ.setEnabled(bool(rows))
        count = counted(len(rows), "patch", "patches")
        self.differ.setText(f"Select {count} that they call differently")

    def _rows(self) -> list[int]:
        """Return the patches of the slide in view that the pair calls differently."""
        pair, slide, grid = self._pair, self._session.snapshot.slide, self._session.snapshot.grid
        if pair is None or slide is None or grid is None:
            return []
        is_of_it = self._grids.get(slide.slide_id) == grid.grid_id
        return list(pair["differ"].get(slide.slide_id, ())) if is_of_it else []

    def _select(self) -> None:
        grid = self._session.snapshot.grid
        if grid is not None:
            self._session.workbench.turn_to_grid(grid.grid_id)
            self._session.workbench.selected = tuple(self._rows())

    def _ask(self) -> None:
        project = self._session.snapshot.project
        if project is not None:
            self.asked.emit({"project": str(project.root)})


def _initials(name: str) -> str:
    """Return a name as the head of a narrow column has room for it."""
    return name if len(name) <= 8 else f"{name[:7]}…"
