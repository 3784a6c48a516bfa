"""Step 2 in a window: embedding, what was embedded otherwise, and slides that are too large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.embeddings.extract import save_slide_embedding
from src_core.embeddings.known_pace import remember_paces
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.registry import encoder_card
from src_core.preparing import prepare_grid
from src_core.progress import ignore, never
from src_core.project import Project
from tests.plugin.widgets.embed_panel import line_of, only, panel_of, text_of
from tests.plugin.widgets.small_hub import asks_the_hub

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

pytestmark = pytest.mark.usefixtures("hub")


def test_an_imported_encoder_stays_ticked(window: Open, until_idle: Wait, sample: Path) -> None:
    dock = window(sample)
    dock.panels["prepare"].main.click()
    until_idle(dock)
    project, slide = dock.session.snapshot.project, dock.session.snapshot.slide
    assert project is not None
    assert slide is not None
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    writer = store.open_writer("hibou-b", {"encoder": "hibou-b", "imported": "trident"}, 768)
    writer.append(grid.cells, np.ones((len(grid), 768), np.float32))
    writer.commit()
    dock.session.refresh()
    panel = panel_of(dock)
    assert text_of(panel, "hibou-b").endswith("Import only, and imported.")
    assert line_of(panel, "hibou-b").can_tick
    project.reconfigured(project.config.replace(encoders=["texture", "hibou-b"]))
    again = panel_of(window(sample))
    assert again.choice.encoders == ["texture", "hibou-b"]
    order = again.choice.table.order
    top = {order.line_at(order.index(row, 0)).name for row in range(2)}
    assert top == {"texture", "hibou-b"}, "what is ticked is in view"


def test_embeddings_by_other_weights_are_told_and_made_anew(
    window: Open, qtbot: Any, home: Path, sample: Path
) -> None:
    project = Project.create(home / "FuseCPath" / sample.stem)
    project = project.reconfigured(
        project.config.replace(encoders=["texture"], teachers=["mean-texture"])
    )
    slide = project.add_slide(sample)
    prepare_grid(project, slide, report=ignore, stop=never)
    grid, card = slide.load_grid(), encoder_card("texture")
    store, mean = EmbeddingStore(slide.embeddings(grid.lattice_id)), encoder_card("mean-texture")
    writer = store.open_writer("texture", card.recipe(), card.dim)
    writer.append(grid.cells, np.ones((len(grid), card.dim), np.float32))
    writer.commit()
    taught = slide.slide_embedding("mean-texture")
    save_slide_embedding(taught, np.ones(card.dim, np.float32), {"encoder": mean.recipe()})
    dock = window(sample)
    panel = panel_of(dock)
    assert dock.session.snapshot.outdated == {}
    assert text_of(panel, "texture").endswith("Ready.")
    assert panel.main.text() == "Embed again"
    assert panel.is_done(dock.session.snapshot)

    for folder, of in ((store.folder / "texture", card), (taught, mean)):
        path = folder / "meta.json"
        path.write_text(path.read_text().replace(f'"weights": "{of.weights}"', '"weights": "-"'))
        dock.session.refresh()
        assert dock.session.snapshot.outdated.keys() == {"texture", of.name}
        assert not panel.is_done(dock.session.snapshot)
    assert dock.session.snapshot.problems == ()
    assert dock.session.snapshot.outdated == {"texture": "weights", "mean-texture": "weights"}
    for name in ("texture", "mean-texture"):
        told = text_of(panel, name)
        assert told.endswith("Ready. Embedded with other weights: made anew by the next run.")
    assert "other weights" not in text_of(panel, "lite0")
    assert panel.main.text() == f"Embed {len(grid)} patches by texture"
    anew = "texture changed since this slide was embedded: it is done anew: "
    assert panel.say.text() == f"{anew}time by texture not known on this machine yet."
    remember_paces({"texture": 600 / len(grid)}, devices={"texture": "cpu"}, patch_px=256)
    panel.show_snapshot(dock.session.snapshot)
    assert panel.say.text() == f"{anew}about 10 min by texture."
    panel.choice.set_ticked("lite0", True)
    unknown = "time by lite0 not known on this machine yet"
    assert panel.say.text() == f"{anew}about 10 min by texture; {unknown}."
    remember_paces({"lite0": 36_000 / len(grid)}, devices={"lite0": "cpu"}, patch_px=256)
    panel.choice.set_ticked("texture", False)
    assert panel.say.text().endswith("patches into numbers: about 10 h by lite0.")
    panel.note("Said below a long list.")
    qtbot.waitUntil(lambda: not panel.notes.visibleRegion().isEmpty())


@asks_the_hub
def test_too_large_a_slide_offers_fewer_patches_or_none(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    dock.panels["prepare"].main.click()
    until_idle(dock)
    panel, made = panel_of(dock), dock.session.require_project()
    assert panel.most.isHidden(), "no teacher heeds it"
    chosen = {"encoders": ["texture"], "teachers": ["gigapath-slide"]}
    made.reconfigured(made.config.replace(**chosen))  # elsewhere, where its weights are
    dock.session.workbench.encoders = ()
    dock.session.refresh()
    assert (panel.choice.encoders, panel.choice.teachers) == (["texture"], ["gigapath-slide"])
    assert not panel.most.isHidden()
    panel.most.set_value(500)
    panel.main.click()
    until_idle(dock)
    project = dock.session.snapshot.project
    assert project is not None
    assert project.config.max_patches == 500, "the project's own setting"
    assert "gigapath" in panel.warning.text(), "its weights are gated"
    assert panel.fewer.isHidden()

    refusal = {"slide_id": "small", "message": "Too large.", "teacher": "gigapath-slide"}
    panel.fewer.offer([{**refusal, "max_patches": 12}])
    assert panel.fewer.fewer.text() == "Read 12 patches, spread over the tissue"
    panel.fewer.fewer.click()
    assert panel.most.value() == 12
    until_idle(dock)
    assert Project.open(project.root).config.max_patches == 12
    panel.fewer.offer([{**refusal, "max_patches": 0}])
    assert panel.fewer.fewer.isHidden()
    panel.fewer.leave_out.click()
    until_idle(dock)
    config = Project.open(project.root).config
    assert (config.teachers, config.max_patches) == ((), 12)
    assert panel.warning.text() == ""
    panel.most.set_value(None)
    panel.main.click()
    until_idle(dock)
    assert Project.open(project.root).config.max_patches is None


def test_patches_unlike_those_of_the_training_are_noted(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    project = dock.session.require_project()
    grid = project.config.grid.replace(mpp=2.0, patch_px=64)
    project.reconfigured(project.config.replace(grid=grid.to_dict()))
    dock.session.refresh()
    dock.panels["prepare"].main.click()
    until_idle(dock)
    panel = panel_of(dock)
    only(panel, "texture")
    panel.main.click()
    until_idle(dock)
    assert panel.notes.text().startswith("texture was made for patches of 256 px at 0.5 µm")
