"""The encoders of step 2: how each stands, logging in, agreeing to code, fewer patches."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.hf_api
import numpy as np
import pytest
from huggingface_hub import constants
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication, QLabel, QLineEdit

from napari_fusecpath.widgets.asking import ConsentDialog, TokenDialog
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.embeddings.extract import save_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.registry import encoder_card
from src_core.encoders.remote_code import agree, agreed_revision
from src_core.preparing import prepare_grid
from src_core.progress import ignore, never
from src_core.project import Project

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

SECRET = "hf_" + "Secret" * 5
OPENED = "/MahmoodLab/UNI2-h/"
HIDDEN = "Secret"

# The hub's address is told to an engine when it starts.
asks_the_hub = pytest.mark.parametrize("own_engine", [True])


class Hub(BaseHTTPRequestHandler):
    """Knows one token, which opens one of the gated repositories."""

    def do_HEAD(self) -> None:
        knows = self.headers.get("Authorization") == f"Bearer {SECRET}"
        if self.path == "/" or (knows and OPENED in self.path):
            self.reply(200, {"ETag": '"abc"', "X-Repo-Commit": "c" * 40})
        else:
            self.reply(403 if knows else 401, {"X-Error-Code": "GatedRepo"})

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {SECRET}":
            self.reply(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        account = {"name": "me", "auth": {"accessToken": {"displayName": "mine", "role": "read"}}}
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(account).encode())

    def reply(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub of our own, for the window and for its engine; nobody is logged in."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address, kept = f"http://127.0.0.1:{running.server_port}", tmp_path / "huggingface"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in {
        "HF_ENDPOINT": address,
        "HF_HOME": str(kept),
        "FUSECPATH_WEIGHTS": str(tmp_path / "weights.json"),
        "FUSECPATH_TRUSTED_CODE": str(tmp_path / "trusted.json"),
    }.items():
        monkeypatch.setenv(name, value)
    for name, path in {
        "HF_HUB_CACHE": kept / "hub",
        "HF_TOKEN_PATH": kept / "token",
        "HF_STORED_TOKENS_PATH": kept / "stored_tokens",
    }.items():
        monkeypatch.setattr(constants, name, str(path))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", address)
    yield address
    running.shutdown()
    thread.join()
    running.server_close()


def panel_of(dock: FuseCPathWidget) -> Any:
    dock.go("embed")
    return dock.panels["embed"]


def ask(panel: Any, name: str, kind: type) -> Any:
    panel.rows[name].button.click()
    (dialog,) = [one for one in panel.findChildren(kind) if one.isVisible()]
    return dialog


def test_every_encoder_says_how_it_stands(window: Open, sample: Path) -> None:
    panel = panel_of(window(sample))
    texts = {name: row.text.text() for name, row in panel.rows.items()}
    assert texts["lite0"].endswith("256 px at any scale. Licence: Apache-2.0. Ready.")
    assert texts["phikon-v2"].endswith("research only. Downloads 1.2 GB.")
    assert "licence on huggingface.co/MahmoodLab/UNI2-h; needs a token." in texts["uni2-h"]
    assert "256 px at 0.5 µm. Licence: CC-BY-NC-ND-4.0, research only." in texts["uni2-h"]
    assert texts["hibou-b"].endswith("Import only.")
    assert texts["chief"].endswith("Import only.")
    assert texts["titan"].endswith("Runs code of its own: needs your consent.")
    assert "licence on huggingface.co/MahmoodLab/TITAN; needs a token. " in texts["titan"]
    assert panel.rows["titan"].remedy == panel.rows["prism"].remedy == "consent"
    enabled = {name for name, row in panel.rows.items() if row.box.isEnabled()}
    assert {"lite0", "phikon-v2", "mean-lite0"} <= enabled
    assert not {"uni2-h", "hibou-b", "chief", "titan", "mean-hibou-b"} & enabled
    remedies = {row.remedy for name, row in panel.rows.items() if name in enabled}
    assert remedies == {""}
    tip = panel.rows["hibou-b"].text.toolTip()
    for told in ("224 px at 0.5 µm", "Licence: Apache-2.0", "fusecpath import"):
        assert told in tip
    shown = {name for name in panel.teachers if not panel.rows[name].isHidden()}
    assert {name for name in shown if name.startswith("mean-")} == {"mean-lite0", "mean-texture"}
    titles = [fold.button.text() for fold in panel.folds]
    assert [title[:10] for title in titles] == [
        "▸ Open pat",
        "▸ Gated pa",
        "▸ Import o",
        "▸ Teachers",
    ]


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
    row = panel.rows["hibou-b"]
    assert row.text.text().endswith("Import only, and imported.")
    assert row.box.isEnabled()
    project.reconfigured(project.config.replace(encoders=["texture", "hibou-b"]))
    again = panel_of(window(sample))
    assert again.boxes["hibou-b"].isChecked()
    assert again.folds[2].button.isChecked(), "the fold of what is ticked is open"


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
    assert panel.rows["texture"].text.text().endswith("Ready.")
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
        told = panel.rows[name].text.text()
        assert told.endswith("Ready. Embedded with other weights: made anew by the next run.")
    assert "other weights" not in panel.rows["lite0"].text.text()
    assert panel.main.text() == f"Embed {len(grid)} patches by texture"
    assert panel.say.text() == "texture changed since this slide was embedded: it is done anew."
    panel.note("Said below a long list.")
    qtbot.waitUntil(lambda: not panel.notes.visibleRegion().isEmpty())


@asks_the_hub
def test_a_token_is_asked_for_and_told_to_nobody(
    window: Open, until_idle: Wait, qtbot: Any, tmp_path: Path, caplog: Any, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    dock = window()
    panel = panel_of(dock)
    dialog = ask(panel, "uni2-h", TokenDialog)
    links = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert encoder_card("uni2-h").source_url in links
    assert "/settings/tokens" in links
    assert dialog.field.echoMode() == QLineEdit.EchoMode.Password
    assert not dialog.yes.isEnabled()
    for wrong, why in (("not one", "not a Hugging Face token"), (SECRET + "x", "HTTP 401")):
        dialog.field.setText(wrong)
        dialog.yes.click()
        assert dialog.field.text() == ""
        qtbot.waitUntil(lambda why=why: why in dialog.problem.text(), timeout=10_000)
    dialog.field.setText(SECRET)
    asked: list[Any] = []
    dock.session.runner.changed.connect(lambda: asked.append(dock.session.runner.running))
    with qtbot.waitSignal(dialog.stored, timeout=10_000):
        dialog.yes.click()
    assert panel.rows["uni2-h"].box.isEnabled(), "at once, before the hub was asked"
    until_idle(dock)
    texts = {name: panel.rows[name].text.text() for name in ("uni2-h", "virchow2")}
    assert "You were accepted: downloads" in texts["uni2-h"]
    assert "your account was not accepted yet" in texts["virchow2"]
    titan = panel.rows["titan"]
    assert "your account was not accepted yet" in titan.text.text()
    assert titan.text.text().endswith("needs your consent.")
    agree(titan.card)
    panel.on_enter()
    assert "your account was not accepted yet" in titan.text.text(), "what the hub said stays true"
    assert "needs your consent" not in titan.text.text()
    assert titan.remedy == "token"
    assert panel.warning.text() == ""

    options = [job.options for job in asked if job is not None]
    notes = [str(one.message) for one in notification_manager.records]
    widgets = [w for w in QApplication.allWidgets() if isinstance(w, (QLabel, QLineEdit))]
    said = [w.text() + w.toolTip() for w in widgets]
    out = capfd.readouterr()
    assert options
    told = (caplog.text, repr(options), *notes, *said, out.out, out.err)
    assert not any(HIDDEN in one for one in told)
    holders = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and HIDDEN.encode() in path.read_bytes()
    }
    assert holders == {"huggingface/token", "huggingface/stored_tokens"}, "Hugging Face's own"


def test_an_unreachable_hub_is_a_sentence_in_the_dialog(
    window: Open, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", "http://127.0.0.1:9")
    panel = panel_of(window())
    dialog = ask(panel, "uni2-h", TokenDialog)
    dialog.field.setText(SECRET)
    dialog.yes.click()
    qtbot.waitUntil(lambda: "cannot be reached" in dialog.problem.text(), timeout=20_000)
    assert dialog.field.isEnabled()
    assert dialog.isVisible()


def test_consent_is_given_for_one_commit(window: Open, tmp_path: Path) -> None:
    panel = panel_of(window())
    titan, prism = encoder_card("titan"), encoder_card("prism")
    dialog = ask(panel, "titan", ConsentDialog)
    assert dialog.field.text() == titan.revision
    links = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert f"{titan.source_url}/tree/{titan.revision}" in links
    assert not (tmp_path / "trusted.json").exists()
    dialog.yes.click()
    assert agreed_revision(titan) == titan.revision
    assert "needs your consent" not in panel.rows["titan"].text.text()

    dialog = ask(panel, "prism", ConsentDialog)
    assert dialog.field.text() == ""
    dialog.field.setText("main")
    dialog.yes.click()
    assert "40 digits" in dialog.problem.text()
    assert agreed_revision(prism) is None
    dialog.field.setText("e" * 40)
    dialog.yes.click()
    assert agreed_revision(prism) == "e" * 40
    (tmp_path / "trusted.json").write_text("{}[")
    panel.on_enter()
    assert "trusted.json" in panel.rows["titan"].text.text(), "a damaged list is told"


@asks_the_hub
def test_too_large_a_slide_offers_fewer_patches_or_none(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    dock.panels["prepare"].main.click()
    until_idle(dock)
    panel = panel_of(dock)
    for name, box in panel.boxes.items():
        box.setChecked(name == "texture")
    panel.teachers["gigapath-slide"].setChecked(True)
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
    for name, row in panel.rows.items():
        row.box.setChecked(name == "texture")
    panel.main.click()
    until_idle(dock)
    assert panel.notes.text().startswith("texture was made for patches of 256 px at 0.5 µm")
