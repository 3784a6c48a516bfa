"""Step 2: what each encoder sees in each patch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_fusecpath.jobs import JobFailure
from napari_fusecpath.widgets.asking import ConsentDialog, TokenDialog
from napari_fusecpath.widgets.encoder_boxes import (
    encoder_groups,
    is_mean,
    set_quietly,
    tick,
    ticked,
)
from napari_fusecpath.widgets.encoder_row import EncoderRow, Standing, standing_of
from napari_fusecpath.widgets.fewer import FewerPatches, MostPatches
from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.interchange import Interchange, import_text
from napari_fusecpath.widgets.keeping import Keeping
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel, number, wrapped_label
from src_core.encoders.access import Access
from src_core.encoders.registry import encoder_card, list_encoders
from src_core.errors import ConfigError, FusecpathError
from src_core.models.checkpoint_meta import program_name

__all__ = ["EmbedPanel"]


class EmbedPanel(StepPanel):
    """The encoders, and the patches that they have not seen yet."""

    key, title = "embed", "Embed"

    def build(self) -> None:
        """Add one row for each encoder."""
        self.rows: dict[str, EncoderRow] = {}
        self.boxes: dict[str, QCheckBox] = {}
        self.teachers: dict[str, QCheckBox] = {}
        self._standings: dict[str, Standing] = {}
        self._answers: dict[str, Access] = {}
        self.folds: list[Fold] = []
        for title, names in encoder_groups().items():
            rows = [self._row(name, self.boxes) for name in names]
            self._add_group(title, rows)
        self._add_group("Teachers", self._slide_encoders())
        self.fewer = FewerPatches(self)
        self.fewer.fewer.clicked.connect(self._take_fewer)
        self.fewer.leave_out.clicked.connect(self._leave_out)
        self.foot.addWidget(self.fewer)
        self._theirs: dict[str, QCheckBox] = {}
        self.theirs = wrapped_label(parent=self)
        self.body.insertWidget(0, self.theirs)
        self.interchange = Interchange(self)
        self.interchange.brought.connect(self._import)
        self.interchange.wanted.connect(self._export)
        self.foot.addWidget(Fold("Other programs: import, export", self.interchange, self))
        self.keeping = Keeping(self.session, self)
        self.keeping.asked.connect(self.submit)
        self.keeping.refused.connect(self.warn)
        self.foot.addWidget(Fold("Figure for print, script of all steps", self.keeping, self))
        self.foot.addStretch(1)
        self._config_shown: tuple[object, ...] = ()
        self._embedded: str | None = None
        self._out = ""
        self._look()

    def is_done(self, snapshot: Snapshot) -> bool:
        """Every patch is embedded, and the slide by every teacher."""
        is_left = any(map(snapshot.to_embed, snapshot.config.encoders))
        return snapshot.grid is not None and not is_left and not snapshot.untaught

    def on_enter(self) -> None:
        """Look again at what is on this machine: the user may come back from a terminal."""
        self._look()
        self._show_rows(self.session.snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say how many patches are left to embed."""
        config = snapshot.config
        self._show_rows(snapshot)
        self._show_imported(snapshot)
        idle = not self.busy
        self.interchange.allow(come=idle and snapshot.slide_path is not None,
                               go=idle and snapshot.grid is not None)  # fmt: skip
        self.keeping.allow(figure=idle and snapshot.grid is not None,
                           script=idle and snapshot.project is not None)  # fmt: skip
        chosen = (config.encoders, config.teachers, config.max_patches, snapshot.project)
        if chosen != self._config_shown and not self.busy:
            self._config_shown = chosen
            tick(self.boxes, self.session.workbench.encoders or config.encoders)
            tick(self.teachers, config.teachers)
            self.most.set_value(config.max_patches)
            self._open_folds()
        self._show_means()
        self.offer_next("cluster", "")
        if snapshot.grid is None:
            text = "There are no patches yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
            return
        self._offer(snapshot)

    def run_main(self) -> None:
        """Embed the slide in view by the ticked encoders; Cluster follows by itself."""
        encoders = ticked(self.boxes)
        if not encoders:
            raise ConfigError("Tick at least one encoder.")
        teachers = ticked(self.teachers)
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
            count = number(sum(map(len, result["files"].values())), "file")
            self.interchange.say.setText(f"{count} written to {self._out}." if count else "")
            return
        if "clusters" in result or self.keeping.show_made(result):
            return
        self._look()
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
        told = ", ".join(f"{name} ({program_name(tool)})" for name, tool in imported.items())
        self.theirs.setText(f"Imported, and kept as they are: {told}." if told else "")
        self.theirs.setVisible(bool(told))

    def _offer(self, snapshot: Snapshot) -> None:
        chosen, grid = ticked(self.boxes), snapshot.grid
        n_patches = 0 if grid is None else len(grid)
        patches = number(n_patches, "patch", "patches")
        left = {name: snapshot.to_embed(name) for name in chosen}
        todo = [name for name, count in left.items() if count]
        untaught = [name for name in ticked(self.teachers) if not snapshot.is_taught(name)]
        if todo:
            count = number(max(left.values()), "patch", "patches")
            text = f"Next: each encoder turns each of {patches} into numbers."
            changed = [name for name in todo if name in snapshot.outdated]
            if changed:
                text = (
                    f"{', '.join(changed)} changed since this slide was embedded: it is done anew."
                )
            self.offer(text, f"Embed {count} by {', '.join(todo)}")
        elif untaught and chosen:
            text = f"{patches} embedded by {', '.join(chosen)}. Next: the slide as a whole."
            self.offer(text, f"Embed the slide by {', '.join(untaught)}")
        else:
            text = f"{patches} embedded by {', '.join(chosen)}."
            self.offer(text if chosen else "Tick an encoder.", "Embed again", enabled=bool(chosen))
        if not todo and snapshot.clusters is None and chosen:
            self.offer_next("cluster", "Cluster the patches", is_primary=not untaught)

    def _add_group(self, title: str, rows: list[QWidget]) -> None:
        """Add some rows, below a heading that folds them away if they have one."""
        group = QWidget(self)
        layout = QVBoxLayout(group)
        layout.setContentsMargins(0, 0, 0, 0)
        for row in rows:
            layout.addWidget(row)
        if title:
            fold = Fold(title, group, self)
            self.folds.append(fold)
            self.body.addWidget(fold)
        else:
            self.body.addWidget(group)

    def _open_folds(self) -> None:
        """Open what holds a tick; the user may close it again."""
        for fold in self.folds:
            if any(row.box.isChecked() for row in fold.content.findChildren(EncoderRow)):
                fold.button.setChecked(True)

    def _slide_encoders(self) -> list[QWidget]:
        heading = wrapped_label("Encoders of whole slides; the model learns from them too.", self)
        self.most = MostPatches(self)
        # Those with a network first: there is a mean for every patch encoder.
        names = sorted(list_encoders("slide"), key=is_mean)
        return [heading, self.most, *(self._row(name, self.teachers) for name in names)]

    def _row(self, name: str, boxes: dict[str, QCheckBox]) -> QWidget:
        row = self.rows[name] = EncoderRow(encoder_card(name), self)
        row.box.toggled.connect(self._on_tick)
        row.remedied.connect(lambda: self._ask(row))
        boxes[name] = row.box
        return row

    def _look(self) -> None:
        """Find out how this user stands to every encoder; the network is not used."""
        for name, row in self.rows.items():
            standing, told = standing_of(row.card), self._answers.get(name)
            if told is not None and standing.access.status == "gated":
                standing = replace(standing, access=replace(told, lacks=standing.access.lacks))
            self._standings[name] = standing
        self._show_rows(self.session.snapshot)

    def _show_rows(self, snapshot: Snapshot) -> None:
        chosen = {*snapshot.config.encoders, *snapshot.config.teachers}
        for name, row in self.rows.items():
            row.show_standing(
                self._standings[name],
                is_stored=name in snapshot.stored,
                is_chosen=name in chosen,
                changed=snapshot.outdated.get(name),
            )

    def _show_means(self) -> None:
        """Offer the means of the ticked patch encoders only: the others cannot be made."""
        chosen = ticked(self.boxes)
        for name in filter(is_mean, self.teachers):
            is_made = self.rows[name].card.patch_encoder in chosen
            self.rows[name].setVisible(is_made)
            if not is_made:
                set_quietly(self.teachers[name], False)

    def _ask(self, row: EncoderRow) -> None:
        theme = self.session.viewer.theme
        if row.remedy == "token":
            token = TokenDialog(row.card, theme=theme, parent=self)
            token.stored.connect(self._on_login)
            token.open()
        elif row.remedy == "consent":
            consent = ConsentDialog(row.card, theme=theme, parent=self)
            consent.agreed.connect(self.on_enter)
            consent.open()

    def _on_login(self) -> None:
        """Ask the hub, in the engine, which gated encoders the new token opens."""
        self._answers.clear()
        self.on_enter()
        job = self.session.submit("encoders", {"check": True})
        job.done.connect(self._take_answers)
        job.failed.connect(self._on_no_answer)

    def _take_answers(self, result: dict[str, Any]) -> None:
        keys = ("status", "detail")
        self._answers = {
            one["name"]: Access(**{key: one[key] for key in keys}) for one in result["encoders"]
        }
        self.on_enter()

    def _on_no_answer(self, failure: JobFailure) -> None:
        self.warn(failure.message)

    def _take_fewer(self) -> None:
        self.most.set_value(self.fewer.most)
        self.click()

    def _leave_out(self) -> None:
        for name in self.fewer.teachers:
            self.teachers[name].setChecked(False)
        self.click()

    def _on_tick(self) -> None:
        snapshot = self.session.snapshot
        self.session.workbench.encoders = tuple(ticked(self.boxes))
        self._show_means()
        if snapshot.grid is not None:
            self._offer(snapshot)
