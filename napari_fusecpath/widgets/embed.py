"""Step 2: what each encoder sees in each patch."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer

from napari_fusecpath.widgets.encoder_choice import EncoderChoice
from napari_fusecpath.widgets.fewer import FewerPatches, MostPatches
from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.interchange import Interchange, import_text
from napari_fusecpath.widgets.keeping import Keeping
from napari_fusecpath.widgets.outlook_texts import embedding_words
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel, wrapped_label
from src_core.embeddings.known_pace import forecast
from src_core.encoders.registry import encoder_card
from src_core.errors import ConfigError, FusecpathError
from src_core.models.checkpoint_meta import program_name
from src_core.wording import counted

__all__ = ["EmbedPanel"]


class EmbedPanel(StepPanel):
    """The encoders, and the patches that they have not seen yet."""

    key, title, about = "embed", "Embed", "turn patches into numbers by foundation models"

    def build(self) -> None:
        """Add the table of encoders, and what is done with embeddings."""
        self.choice = EncoderChoice(self.session, self)
        self.choice.toggled.connect(self._on_tick)
        self.choice.said.connect(self.warn)
        self.most = MostPatches(self)
        self.theirs = wrapped_label(parent=self)
        for widget in (self.theirs, self.choice, self.most):
            self.body.addWidget(widget)
        self.fewer = FewerPatches(self)
        self.fewer.fewer.clicked.connect(self._take_fewer)
        self.fewer.leave_out.clicked.connect(self._leave_out)
        self.foot.addWidget(self.fewer)
        self.interchange = Interchange(self)
        self.interchange.brought.connect(self._import)
        self.interchange.wanted.connect(self._export)
        self.exchange = Fold("Other programs: import, export", self.interchange, self)
        self.foot.addWidget(self.exchange)
        self.keeping = Keeping(self.session, self)
        self.keeping.asked.connect(self.submit)
        self.keeping.refused.connect(self.warn)
        figure = "Figure for print, script of all steps"
        self.foot.addWidget(Fold(figure, self.keeping, self, of=self.key))
        self.foot.addStretch(1)
        self._config_shown: tuple[object, ...] = ()
        self._offered: set[str] = set()
        self._embedded: str | None = None
        self._out = ""

    def is_done(self, snapshot: Snapshot) -> bool:
        """Every patch is embedded, and the slide by every teacher."""
        is_left = any(map(snapshot.to_embed, snapshot.config.encoders))
        return snapshot.grid is not None and not is_left and not snapshot.untaught

    def on_enter(self) -> None:
        """Look again at what is on this machine: the user may come back from a terminal."""
        self.choice.look()

    def show_exchange(self) -> None:
        """Show what can be taken from other programs, and written for them."""
        self.exchange.button.setChecked(True)
        QTimer.singleShot(0, lambda: self.scroll_to(self.exchange))  # it has its height by then

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say how many patches are left to embed."""
        self.choice.show_snapshot(snapshot)
        self._tell_imported(snapshot)
        idle = not self.busy
        self.interchange.allow(come=idle and snapshot.slide_path is not None,
                               go=idle and snapshot.grid is not None)  # fmt: skip
        self.keeping.allow(figure=idle and snapshot.grid is not None,
                           script=idle and snapshot.project is not None)  # fmt: skip
        self._tick(snapshot)
        self._show_most()
        if snapshot.grid is None:
            self.offer_next("cluster", "")
            text = "There are no patches yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
            return
        self._offer(snapshot)

    def run_main(self) -> None:
        """Embed the slide in view by the ticked encoders; Cluster follows by itself."""
        encoders = self.choice.encoders
        if not encoders:
            raise ConfigError("Tick at least one encoder.")
        teachers = self.choice.teachers
        for teacher in teachers:
            card = encoder_card(teacher)
            if card.patch_encoder not in encoders and not card.own_lattice:
                raise ConfigError(
                    f"The teacher {teacher} reads {card.patch_encoder}; tick that as well."
                )
        most = self.most.value()
        project = self.session.require_project()
        # To the verb an empty list, or no number, means "the project's".
        changes: dict[str, Any] = {"max_patches": most, **({} if teachers else {"teachers": []})}
        project = project.reconfigured(project.config.replace(**changes))
        path = self.session.workbench.slide_path
        options: dict[str, Any] = {
            "project": str(project.root),
            "slides": [str(path)] if path is not None else [],
            "encoders": encoders,
            "teachers": teachers,
        }
        self._embedded = self.session.workbench.slide_id
        self.fewer.hide()
        self.submit("prepare", options)

    def on_done(self, result: dict[str, Any]) -> None:
        """Let Cluster follow; say what came in or went out."""
        if "imported" in result:
            self.session.workbench.encoders = ()  # the project's are those that are there
            self.interchange.say.setText(import_text(result))
            return
        if "files" in result:
            count = counted(sum(map(len, result["files"].values())), "file")
            self.interchange.say.setText(f"{count} written to {self._out}." if count else "")
            return
        if "clusters" in result or self.keeping.show_made(result):
            return
        self.choice.look()
        failures = result.get("failures") or []
        self.fewer.offer(failures)
        failed = {one["slide_id"] for one in failures}
        slide_id = self._embedded
        if slide_id in result.get("patches", {}) and slide_id not in failed:
            self.session.refresh()
            if self.session.workbench.slide_id == slide_id:
                if self.session.snapshot.is_embedded:
                    self.wanted.emit("cluster")
            else:  # another slide is in view: its clusters come all the same
                options = {"project": result["project"], "slides": [slide_id]}
                self.submit("cluster", options, afresh=False)

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

    def _tick(self, snapshot: Snapshot) -> None:
        """Tick what the project has chosen; what the user has ticked stays till that changes."""
        config = snapshot.config
        chosen = (config.encoders, config.teachers, config.max_patches, snapshot.project)
        offered = {line.name for line in self.choice.table.encoders.lines}
        is_new = chosen != self._config_shown
        if self.busy or not (is_new or offered != self._offered):
            return
        encoders = self.session.workbench.encoders or config.encoders
        teachers = config.teachers if is_new else self.choice.teachers
        self._config_shown, self._offered = chosen, offered
        self.choice.tick((*encoders, *teachers))
        if is_new:
            self.most.set_value(config.max_patches)

    def _tell_imported(self, snapshot: Snapshot) -> None:
        """Name what came from other programs."""
        imported = snapshot.imported.items()
        told = ", ".join(f"{name} ({program_name(tool)})" for name, tool in imported)
        self.theirs.setText(f"Imported, and kept as they are: {told}." if told else "")
        self.theirs.setVisible(bool(told))

    def _offer(self, snapshot: Snapshot) -> None:
        chosen, grid = self.choice.encoders, snapshot.grid
        if grid is None:
            return
        patches = counted(len(grid), "patch", "patches")
        left = {name: snapshot.to_embed(name) for name in chosen}
        todo = [name for name, count in left.items() if count]
        untaught = [name for name in self.choice.teachers if not snapshot.is_taught(name)]
        if todo:
            count = counted(max(left.values()), "patch", "patches")
            told = forecast({name: left[name] for name in todo}, patch_px=grid.lattice.patch_px)
            takes = embedding_words(told)
            text = f"Next: each encoder turns each of {patches} into numbers: {takes}."
            changed = [name for name in todo if name in snapshot.outdated]
            if changed:
                text = (
                    f"{', '.join(changed)} changed since this slide was embedded: it is done anew: "
                    f"{takes}."
                )
            self.offer(text, f"Embed {count} by {', '.join(todo)}")
        elif untaught and chosen:
            text = f"{patches} embedded by {', '.join(chosen)}. Next: the slide as a whole."
            self.offer(text, f"Embed the slide by {', '.join(untaught)}")
        else:
            text = f"{patches} embedded by {', '.join(chosen)}."
            self.offer(text if chosen else "Tick an encoder.", "Embed again", enabled=bool(chosen))
        follows = not todo and snapshot.clusters is None and chosen
        text = "Cluster the patches" if follows else ""
        self.offer_next("cluster", text, is_primary=not untaught)

    def _show_most(self) -> None:
        """Ask for a number only where a teacher heeds it."""
        cards = [encoder_card(name) for name in self.choice.teachers]
        self.most.setVisible(any(card.own_lattice for card in cards))

    def _take_fewer(self) -> None:
        self.most.set_value(self.fewer.most)
        self.click()

    def _leave_out(self) -> None:
        for name in self.fewer.teachers:
            self.choice.set_ticked(name, False)
        self.click()

    def _on_tick(self) -> None:
        snapshot = self.session.snapshot
        self.session.workbench.encoders = tuple(self.choice.encoders)
        self._show_most()
        self._offer(snapshot)
