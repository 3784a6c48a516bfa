"""Step 2: what each encoder sees in each patch."""

from __future__ import annotations

from html import escape
from typing import Any

from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.interchange import Interchange, import_text
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel, number, wrapped_label
from src_core.encoders.cards import EncoderCard
from src_core.encoders.registry import encoder_access, encoder_card, list_encoders
from src_core.errors import ConfigError, FusecpathError
from src_core.models.checkpoint_meta import program_name

__all__ = ["EmbedPanel"]


class EmbedPanel(StepPanel):
    """The encoders, and the patches that they have not seen yet."""

    key, title = "embed", "Embed"

    def build(self) -> None:
        """Add one box for each encoder."""
        self.boxes: dict[str, QCheckBox] = {}
        self.teachers: dict[str, QCheckBox] = {}
        for name in list_encoders("patch"):
            self.body.addWidget(self._card(encoder_card(name), self.boxes))
        slides = QWidget(self)
        rows = QVBoxLayout(slides)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(
            wrapped_label("Encoders of whole slides; the model learns from them too.", slides)
        )
        for name in list_encoders("slide"):
            rows.addWidget(self._card(encoder_card(name), self.teachers))
        self.body.addWidget(Fold("Teachers", slides, self))
        self._theirs: dict[str, QCheckBox] = {}
        self._has_weights = {name: box.isEnabled() for name, box in self.boxes.items()}
        self.theirs = wrapped_label(parent=self)
        self.body.insertWidget(0, self.theirs)
        self.interchange = Interchange(self)
        self.interchange.brought.connect(self._import)
        self.interchange.wanted.connect(self._export)
        self.foot.addWidget(Fold("Other programs: import, export", self.interchange, self))
        self.foot.addStretch(1)
        self._config_shown: tuple[object, ...] = ()
        self._embedded: str | None = None
        self._out = ""

    def is_done(self, snapshot: Snapshot) -> bool:
        """Every patch is embedded."""
        return snapshot.is_embedded

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say how many patches are left to embed."""
        config = snapshot.config
        self._show_imported(snapshot)
        idle = not self.busy
        self.interchange.allow(come=idle and snapshot.slide_path is not None,
                               go=idle and snapshot.grid is not None)  # fmt: skip
        if (config.encoders, config.teachers) != self._config_shown and not self.busy:
            self._config_shown = (config.encoders, config.teachers)
            _tick(self.boxes, self.session.workbench.encoders or config.encoders)
            _tick(self.teachers, config.teachers)
        self.offer_next("cluster", "")
        if snapshot.grid is None:
            text = "There are no patches yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
            return
        self._offer(snapshot)

    def run_main(self) -> None:
        """Embed the slide in view by the ticked encoders; Cluster follows by itself."""
        encoders = self._ticked(self.boxes)
        if not encoders:
            raise ConfigError("Tick at least one encoder.")
        teachers = self._ticked(self.teachers)
        for teacher in teachers:
            card = encoder_card(teacher)
            if card.patch_encoder not in encoders and not card.own_lattice:
                raise ConfigError(
                    f"The teacher {teacher} reads {card.patch_encoder}; tick that as well."
                )
        project = self.session.require_project()
        if not teachers:  # to the verb an empty list means "the project's"
            project = project.reconfigured(project.config.replace(teachers=[]))
        path = self.session.workbench.slide_path
        options: dict[str, Any] = {
            "project": str(project.root),
            "slides": [str(path)] if path is not None else [],
            "encoders": encoders,
            "teachers": teachers,
        }
        self._embedded = self.session.workbench.slide_id
        self.submit("prepare", options)

    def on_done(self, result: dict[str, Any]) -> None:
        """Let Cluster follow; say what came in or went out."""
        if "imported" in result:
            self.session.workbench.encoders = ()  # the project's are those that are there
            self.interchange.say.setText(import_text(result))
            return
        if "files" in result:
            count = number(sum(map(len, result["files"].values())), "file")
            self.interchange.say.setText(f"{count} written to {self._out}." if count else "")
            return
        failed = {one["slide_id"] for one in result.get("failures") or []}
        slide_id = self._embedded
        if slide_id in result.get("patches", {}) and slide_id not in failed:
            self.session.refresh()
            if self.session.workbench.slide_id == slide_id:
                if self.session.snapshot.is_embedded:
                    self.wanted.emit("cluster")
            else:  # another slide is in view: its clusters come all the same
                self.session.submit("cluster", {"project": result["project"], "slides": [slide_id]})

    def _import(self, options: dict[str, Any]) -> None:
        """Take files in; the slide on the canvas joins the project first."""
        self.warn("")
        try:
            project = self.session.require_project()
            path = self.session.workbench.slide_path
            if path is not None:
                slide = project.add_slide(path, slide_mpp=self.session.workbench.slide_mpp)
                if self.interchange.of_this.isChecked():
                    options = {**options, "slide": slide.slide_id}
        except FusecpathError as error:
            self.warn(str(error))
            return
        self.interchange.say.clear()
        self.submit("import", {"project": str(project.root), **options})

    def _export(self, options: dict[str, Any]) -> None:
        snapshot = self.session.snapshot
        if snapshot.project is None or snapshot.slide is None or self.busy:
            return
        self.interchange.say.clear()
        self._out = options["out"]
        asked: dict[str, Any] = {
            "project": str(snapshot.project.root),
            "slides": [snapshot.slide.slide_id],
            "run": snapshot.run_id,
        }
        self.submit("export", {**asked, **options})

    def _show_imported(self, snapshot: Snapshot) -> None:
        """Let what was imported be ticked without weights, by names that nobody knows here too."""
        imported = snapshot.imported
        for name in [name for name in self._theirs if name not in imported]:
            self.boxes.pop(name)
            self._theirs.pop(name).deleteLater()
        for name in imported:
            if name not in self.boxes:
                box = self.boxes[name] = self._theirs[name] = QCheckBox(name, self)
                box.toggled.connect(self._on_tick)
                self.body.insertWidget(1, box)
                self._config_shown = ()
        for name, has_weights in self._has_weights.items():
            self.boxes[name].setEnabled(has_weights or name in imported)
        told = ", ".join(f"{name} ({program_name(tool)})" for name, tool in imported.items())
        self.theirs.setText(f"Imported, and kept as they are: {told}." if told else "")
        self.theirs.setVisible(bool(told))

    def _offer(self, snapshot: Snapshot) -> None:
        ticked = self._ticked(self.boxes)
        grid = snapshot.grid
        n_patches = 0 if grid is None else len(grid)
        left = {name: snapshot.missing.get(name, n_patches) for name in ticked}
        todo = [name for name, count in left.items() if count]
        if todo:
            count = number(max(left.values()), "patch", "patches")
            patches = number(n_patches, "patch", "patches")
            text = f"Next: each encoder turns each of {patches} into numbers."
            self.offer(text, f"Embed {count} by {', '.join(todo)}")
        else:
            patches = number(n_patches, "patch", "patches")
            text = f"{patches} embedded by {', '.join(ticked)}."
            self.offer(text if ticked else "Tick an encoder.", "Embed again", enabled=bool(ticked))
            if snapshot.clusters is None and ticked:
                self.offer_next("cluster", "Cluster the patches")

    def _card(self, card: EncoderCard, boxes: dict[str, QCheckBox]) -> QWidget:
        access = encoder_access(card.name)
        row = QWidget(self)
        box = boxes[card.name] = QCheckBox(card.name, row)
        box.setEnabled(access.usable)
        box.toggled.connect(self._on_tick)
        use = "research only, " if card.research_only else ""
        facts = (
            f"{card.honest_name}. {number(card.dim, 'number')} a {card.kind}, {card.licence}, {use}"
        )
        # How to get what is not to be had at once is a long sentence: the tool tip has it.
        coming = access.usable and not access.here
        text = wrapped_label(facts + (access.detail if coming else access.status), row)
        text.setIndent(22)
        for widget in (box, text):
            widget.setToolTip(f"<p>{card.description}</p><p>Weights: {escape(access.detail)}</p>")
        layout = QVBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(box)
        layout.addWidget(text)
        return row

    def _on_tick(self) -> None:
        snapshot = self.session.snapshot
        self.session.workbench.encoders = tuple(self._ticked(self.boxes))
        if snapshot.grid is not None:
            self._offer(snapshot)

    @staticmethod
    def _ticked(boxes: dict[str, QCheckBox]) -> list[str]:
        return [name for name, box in boxes.items() if box.isChecked()]


def _tick(boxes: dict[str, QCheckBox], names: tuple[str, ...]) -> None:
    for name, box in boxes.items():
        box.blockSignals(True)
        box.setChecked(name in names and box.isEnabled())
        box.blockSignals(False)
