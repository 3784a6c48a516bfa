"""Step 4: what a reviewer says about patches, and what a model learns from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidgetItem,
    QWidget,
)

from napari_fusecpath.layers.find import find_layer, set_visible
from napari_fusecpath.reviewer import remember_reviewer, user_name
from napari_fusecpath.widgets.dialogs import ask_file
from napari_fusecpath.widgets.finetune import FineTuning
from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.mark_texts import annotations_text, latest_text
from napari_fusecpath.widgets.painting import N_LABELS, MarkPainter
from napari_fusecpath.widgets.selected_marks import SelectedMarks
from napari_fusecpath.widgets.slide_label import SlideLabel
from napari_fusecpath.widgets.slide_lasso import SlideLasso
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel, wrapped_label
from napari_fusecpath.widgets.suggestions import SuggestionStrip
from napari_fusecpath.widgets.tables import Table, colour_icon
from napari_fusecpath.widgets.two_reviewers import TwoReviewers
from napari_fusecpath.widgets.undo_keys import step_of
from src_core.inference.palette import cluster_colors
from src_core.review.acts import MAX_TEXT
from src_core.types import Json

__all__ = ["ReviewPanel"]

_SETTLE_MS = 100
"""Until a panel of other texts has its new height, and can be scrolled to what they say."""
_NOT_OURS = (
    Qt.KeyboardModifier.ControlModifier
    | Qt.KeyboardModifier.AltModifier
    | Qt.KeyboardModifier.MetaModifier
)
"""With these a letter or digit is a shortcut of the window."""


class ReviewPanel(StepPanel):
    """Labels to paint with, patches to look at next, and the model that learns from both."""

    key, title, about = "review", "Review", "mark patches, and fine-tune the model by them"
    follows_selection = True

    def build(self) -> None:
        """Add the reviewer, the labels, undo, the suggestions and fine-tuning."""
        self.body.addLayout(self._who_row())
        self.slide_label = SlideLabel(self.session, self._who, self._why, self)
        self.slide_label.said.connect(self.warn)
        self.body.addWidget(self.slide_label)
        self.table = Table(
            ["Label", "Patches"], name="Labels", numbers=(1,), editable=(0,), parent=self
        )
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip(
            "Click or press 1-9 to paint with a label; double-click or F2 renames it"
        )
        self.table.itemSelectionChanged.connect(self._choose)
        self.table.clicked.connect(self._choose)  # the one that is chosen already, too
        self.table.itemChanged.connect(self._rename)
        self.body.addWidget(self.table)
        self.comment = QLineEdit(self)
        self.comment.setMaxLength(MAX_TEXT)
        self.slide_label.stored.connect(self.comment.clear)
        self.comment.setPlaceholderText("Comment, stored with the next mark or label")
        self.comment.setToolTip("Why you say so; stored with the next mark or label")
        self.comment.setAccessibleName("Comment")
        self.body.addWidget(self.comment)
        self.latest = wrapped_label(parent=self)
        self.painter = MarkPainter(self.session, self._who, self._why, self)
        self.painter.drawn.connect(self._count)
        self.painter.stored.connect(self.comment.clear)
        self.painter.said.connect(self.warn)
        self.suggestions = SuggestionStrip(self.session, self.painter, self)
        self.body.insertWidget(1, self.suggestions)  # the work itself: a small screen shows it
        self.tuning = FineTuning(self.session, self)
        self.tuning.asked.connect(self._ask)
        self.tuning.mapped.connect(self._keep_in_view)
        self.selected = SelectedMarks(self.session, self.painter, self)
        self.selected.labelled.connect(self._show_selected)
        self.reviewers = TwoReviewers(self.session, self)
        self.reviewers.asked.connect(self._compare)
        self.foot.addLayout(self._steps_row())
        self.foot.addWidget(self.latest)
        self.foot.addWidget(self.selected)
        self.foot.addWidget(self.tuning)
        self.comparison = Fold("Two reviewers compared", self.reviewers, self)
        self.foot.addWidget(self.comparison)
        self.foot.addStretch(1)
        self._has_come = False
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLE_MS)
        self._settled.timeout.connect(lambda: self.scroll_to(self.tuning))
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # beside its parts the panel has it too
        for widget in (self, *self.findChildren(QWidget)):
            if widget.focusPolicy() != Qt.FocusPolicy.NoFocus:
                widget.installEventFilter(self)
        self._keep_blind(False)  # a dock that was closed meanwhile has left it so

    def _who_row(self) -> QHBoxLayout:
        self.reviewer = QLineEdit(self.session.reviewer, self)
        self._named_last = self.session.reviewer
        self.reviewer.setMaxLength(MAX_TEXT)
        self.reviewer.setToolTip(
            "Stored with every mark, and remembered; undo takes back only your own"
        )
        self.reviewer.textChanged.connect(self._name)
        self.reviewer.editingFinished.connect(self._named)
        self.blind = QCheckBox("Blind", self)
        self.blind.setToolTip(
            "Hide what the model predicts, and what other reviewers have said, in this step"
        )
        self.blind.toggled.connect(self._blind)
        row = QHBoxLayout()
        row.addWidget(QLabel("Reviewer", self))
        row.addWidget(self.reviewer, stretch=1)
        row.addWidget(self.blind)
        return row

    def _steps_row(self) -> QHBoxLayout:
        self.undo, self.redo = QPushButton("Undo", self), QPushButton("Redo", self)
        self.annotations = QPushButton("Annotations…", self)
        self.annotations.setToolTip(
            "Take the classes of QuPath's annotations (GeoJSON) as your marks of this slide"
        )
        self.annotations.clicked.connect(self._ask_annotations)
        self.undo.setToolTip("Take back what you said last, also after a restart (Ctrl+Z)")
        self.redo.setToolTip("Bring back what Undo took (Ctrl+Y or Ctrl+Shift+Z)")
        self.undo.clicked.connect(self.painter.undo)
        self.redo.clicked.connect(self.painter.redo)
        steps = QHBoxLayout()
        for button in (self.undo, self.redo, self.annotations):
            steps.addWidget(button)
        return steps

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has marks."""
        return any(self.painter.counts)

    def on_enter(self) -> None:
        """Show the marks alone: clusters have the same colours, and hide what is to be judged."""
        self._keep_blind(self.blind.isChecked())
        self.painter.draw()
        self.session.bring("marks")

    def put_down(self) -> None:
        """Put brush and lasso down."""
        self.selected.lasso.put_down()
        layer = self.painter.layer
        if layer is not None and layer.mode != "pan_zoom":
            layer.mode = "pan_zoom"

    def on_leave(self) -> None:
        """Put brush and lasso down, and show again what was kept from a blind reviewer."""
        super().on_leave()
        self._keep_blind(False)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Turn to the marks of the slide in view."""
        is_other = self.painter.turn_to(snapshot)  # it says what is wrong with the marks
        self.slide_label.show_snapshot(snapshot)
        has_patches = snapshot.grid is not None and snapshot.slide is not None
        parts = (self.selected, self.suggestions, self.tuning, self.comparison)
        for widget in (*parts, self.comment):
            widget.setVisible(has_patches)
        for button in (self.undo, self.redo, self.annotations):
            button.setEnabled(has_patches)
        if not has_patches:
            text = "There are no patches to mark yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
            self.offer_next("train", "")
            return
        self.offer(
            "Choose a label and paint on the slide: a dab is a patch, the eraser takes it back. "
            "Every stroke is stored at once.",
            "Mark patches",
        )
        self.offer_next(
            "train", "Train on labelled slides" if snapshot.labels else "", is_primary=False
        )
        if is_other:
            self.selected.lasso.put_down()
            self._count()
        self._show_selected()
        self.suggestions.show_snapshot(snapshot)
        self.tuning.show_snapshot(snapshot)
        self.reviewers.show_snapshot(snapshot)
        if self._has_come:
            self._has_come = False
            self._settled.start()

    def run_main(self) -> None:
        """Take the brush."""
        self.painter.draw()
        self.session.bring("marks")
        if not self.table.chosen:
            self.table.selectRow(0)
        self._take_brush()

    def on_done(self, result: dict[str, Any]) -> None:
        """Show the model that has come, or what was decided about it."""
        if "run" in result:
            self.tuning.show_done(result["run"])
            self._has_come = True
        if "marked" in result:
            self.painter.draw()
            self.note(annotations_text(result["marked"]))
        if "pairs" in result:
            self.reviewers.show_result(result)

    def on_cancelled(self) -> None:
        """Say what is left of a fine-tuning, of which nothing is kept, unless it was finished."""
        super().on_cancelled()
        told = "" if self._job is None else self.tuning.cancelled_text(self._job)
        if told:
            self.warn(told)

    def _ask(self, verb: str, options: dict[str, Json]) -> None:
        if not self.busy:
            self.painter.store_strokes()  # what was painted last is learned from too
            job = self.submit(verb, options)
            self.tuning.follow(job)
            self._settled.start()

    def _keep_in_view(self) -> None:
        """Show all that is said of a first map, unless the user has gone on to other things."""
        if not self.tuning.visibleRegion().isEmpty():
            self._settled.start()

    def _ask_annotations(self) -> None:
        snapshot = self.session.snapshot
        if self.busy or snapshot.project is None or snapshot.slide is None:
            return
        path = ask_file(
            self, "Annotations of QuPath", "GeoJSON (*.geojson *.json *.geojson.gz *.json.gz)"
        )
        if path:
            self.painter.store_strokes()
            options: dict[str, Json] = {"project": str(snapshot.project.root), "files": [str(path)]}
            options |= {"slide": snapshot.slide.slide_id, "reviewer": self._who()}
            self.submit("import", {**options, "format": "annotations"})

    def _compare(self, options: dict[str, Json]) -> None:
        if not self.busy:
            self.painter.store_strokes()
            self.submit("agree", options)

    def _count(self) -> None:
        chosen = self.table.chosen
        counts = zip(self.painter.names, self.painter.counts, strict=True)
        rows = [(name, f"{count:,}") for name, count in counts]
        icons = [colour_icon(colour) for colour in cluster_colors(len(rows))]
        self.table.show_rows(rows, icons=icons)
        self.table.choose(*chosen)
        self.table.fit(N_LABELS)
        latest = latest_text(self.painter.latest())
        self.latest.setText(latest)
        self.latest.setVisible(bool(latest))

    def _show_selected(self) -> None:
        chosen = self.table.chosen
        self.selected.show_selected(chosen[0] if chosen else None)

    def _choose(self) -> None:
        self._show_selected()
        if len(self.session.selected) > 1:  # a brush in hand would let no click select more
            return
        if self.table.chosen and not self.selected.lasso.isChecked():
            self._take_brush()

    def _take_brush(self) -> None:
        """Let the mouse paint with the chosen label; what was in hand is put down."""
        viewer = self.session.viewer
        if find_layer(viewer, "marks") is None:  # somebody has deleted it
            self.painter.draw()
        layer = self.painter.layer
        if layer is not None and self.table.chosen:
            layer.selected_label = self.table.chosen[0] + 1
            set_visible(layer, True)
            viewer.layers.selection.active = layer
            layer.mode = "paint"

    def _rename(self, item: QTableWidgetItem) -> None:
        self.painter.rename(item.row(), item.text().strip())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Let keys act while the panel has the focus: napari has uses of its own for them."""
        if not (isinstance(event, QKeyEvent) and isinstance(watched, QWidget)):
            return False
        act = self._act_of(watched, event)
        if act is None:
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()  # no menu's shortcut, but a key for us
        elif event.type() == QEvent.Type.KeyPress and not _is_held(event):
            act()
        return True

    def _act_of(self, watched: QWidget, event: QKeyEvent) -> Callable[[], None] | None:
        """Return what a key does in a part of the panel, None if it is that part's own."""
        step, text = step_of(event, self.painter), event.text().lower()
        if watched.focusWidget() not in (None, watched):  # a field in it had no use for the key
            return None if step is None else lambda: None  # napari would turn the view to 3D
        if _is_typed_into(watched):
            return None
        if step is not None or event.modifiers() & _NOT_OURS:
            return step
        if len(text) == 1 and text in "123456789":
            is_judged = self.suggestions.isAncestorOf(watched)
            return partial(self.suggestions.mark if is_judged else self._press, int(text) - 1)
        if text == "l":
            return self.selected.label
        is_arrow = event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right)
        return None if is_arrow and _has_arrows(watched) else self.suggestions.act_of(event)

    def _press(self, row: int) -> None:
        if row < self.table.rowCount():
            self.table.selectRow(row)
            self._choose()

    def _who(self) -> str:
        return self.session.reviewer

    def _why(self) -> str:
        return self.comment.text().strip()

    def _name(self, text: str) -> None:
        self.session.reviewer = text.strip() or user_name()

    def _named(self) -> None:
        """Keep the name, and show what is that reviewer's."""
        if self._who() != self._named_last:
            self._named_last = self._who()
            self.painter.store_strokes()
            remember_reviewer(self._who())
            self.painter.draw()
            self.session.refresh_soon()

    def _blind(self, wanted: bool) -> None:
        self._keep_blind(wanted)
        self.session.bring("marks")
        self.session.refresh()

    def _keep_blind(self, wanted: bool) -> None:
        """Take what the model predicts out of the window, or bring it back."""
        bench = self.session.workbench
        if wanted == bench.is_blind:
            return
        self.painter.store_strokes()  # they were painted among the marks that were shown
        bench.is_blind = wanted
        self.slide_label.show_snapshot(self.session.snapshot)
        self.try_to(self.session.show_current)
        self.painter.draw()


def _is_held(event: QKeyEvent) -> bool:
    """Tell whether a letter or digit repeats itself: one long press would judge many patches."""
    return event.isAutoRepeat() and event.text().isalnum()


def _is_typed_into(widget: QWidget) -> bool:
    is_box = isinstance(widget, QComboBox) and widget.isEditable()
    return is_box or isinstance(widget, QLineEdit)


def _has_arrows(widget: QWidget) -> bool:
    """Tell whether arrows are a widget's own: Tab finds one of buttons that exclude each other."""
    is_one_of = isinstance(widget, QAbstractButton) and widget.group() is not None
    in_hand = isinstance(widget, SlideLasso) and widget.isChecked()
    return is_one_of or in_hand or isinstance(widget, Table)
