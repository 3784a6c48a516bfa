"""What an encoder asks of the user: a token, consent to its code, a file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.hf_api
import numpy as np
import pytest
import safetensors.numpy
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel, QLineEdit, QMenu

from napari_fusecpath.widgets.asking import ConsentDialog, TokenDialog
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.encoders.local_weights import local_files
from src_core.encoders.registry import encoder_card
from src_core.encoders.remote_code import agree, agreed_revision
from tests.plugin.widgets.embed_panel import ask, line_of, panel_of, text_of
from tests.plugin.widgets.small_hub import SECRET, asks_the_hub

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

HIDDEN = "Secret"

pytestmark = pytest.mark.usefixtures("hub")


def test_what_a_row_asks_for_is_a_key_away_and_a_file_will_do(
    window: Open, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = panel_of(window())
    choice = panel.choice
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    choice.table.choose("uni2-h")
    buttons = choice.detail.buttons
    qtbot.wait(50)
    text_top = choice.detail.text.geometry().top()
    assert buttons["token"].geometry().bottom() < text_top, "a long text takes it out of view"
    shown = [button.text() for button in buttons.values() if not button.isHidden()]
    assert shown == ["Log in…", "Use a local file…", "Ask for access"]
    assert buttons["token"].accessibleName() == "uni2-h: Log in…"
    qtbot.keyClick(choice.table, Qt.Key.Key_Return)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    assert [entry.text() for entry in menu.actions()] == [*shown, "Sort by"]
    for key in (Qt.Key.Key_Up, Qt.Key.Key_Up, Qt.Key.Key_Return):
        qtbot.keyClick(menu, key)
    page = encoder_card("uni2-h").source_url
    assert opened == [page]
    assert page in panel.warning.text(), "no browser has opened"

    panel.warn("")
    given = tmp_path / "uni2.safetensors"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(given), ""))
    choice.detail.buttons["file"].click()
    qtbot.waitUntil(lambda: "uni2.safetensors" in panel.warning.text())
    assert local_files() == {}, "it is not there"
    safetensors.numpy.save_file({"weight": np.ones((2, 2), np.float32)}, given)
    choice.detail.buttons["file"].click()
    qtbot.waitUntil(lambda: line_of(panel, "uni2-h").weights == "here")
    assert panel.warning.text() == ""
    assert local_files() == {"uni2-h": given}
    assert line_of(panel, "uni2-h").can_tick
    assert choice.detail.buttons["file"].text() == "Another file…"
    given.unlink()
    panel.on_enter()
    assert "uni2.safetensors" in choice.detail.text.text(), "a file that is gone is told"
    choice.detail.buttons["forget"].click()
    qtbot.waitUntil(lambda: line_of(panel, "uni2-h").weights == "token")
    assert local_files() == {}


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
    assert line_of(panel, "uni2-h").can_tick, "at once, before the hub was asked"
    until_idle(dock)
    texts = {name: text_of(panel, name) for name in ("uni2-h", "virchow2")}
    assert "You were accepted: downloads" in texts["uni2-h"]
    assert "your account was not accepted yet" in texts["virchow2"]
    titan = text_of(panel, "titan")
    assert "your account was not accepted yet" in titan
    assert titan.endswith("needs your consent.")
    agree(encoder_card("titan"))
    panel.on_enter()
    titan = text_of(panel, "titan")
    assert "your account was not accepted yet" in titan, "what the hub said stays true"
    assert "needs your consent" not in titan
    assert next(iter(line_of(panel, "titan").actions)) == "token"
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
    assert "needs your consent" not in text_of(panel, "titan")

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
    assert "trusted.json" in text_of(panel, "titan"), "a damaged list is told"
