"""The encoders of step 2: how each stands, logging in, agreeing to code, fewer patches."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.hf_api
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel, QLineEdit, QMenu, QStyle

from napari_fusecpath.widgets.asking import ConsentDialog, TokenDialog
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.encoder_model import SHORT, Column
from napari_fusecpath.widgets.encoder_texts import EncoderLine
from src_core.embeddings.extract import save_slide_embedding
from src_core.embeddings.known_pace import remember_paces
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.hub_refusals import size_text
from src_core.encoders.local_weights import local_files
from src_core.encoders.presets import PRESETS
from src_core.encoders.registry import encoder_card, list_encoders
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
        "FUSECPATH_PACE": str(tmp_path / "pace.json"),  # to the window; its engine has another
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


def line_of(panel: Any, name: str) -> EncoderLine:
    (line,) = [one for one in panel.choice.table.encoders.lines if one.name == name]
    return line


def text_of(panel: Any, name: str) -> str:
    return line_of(panel, name).text


def only(panel: Any, *names: str) -> None:
    for name in {*panel.choice.encoders, *names}:
        panel.choice.set_ticked(name, name in names)


def ask(panel: Any, name: str, kind: type) -> Any:
    panel.choice.table.choose(name)
    panel.choice.detail.buttons["token" if kind is TokenDialog else "consent"].click()
    (dialog,) = [one for one in panel.findChildren(kind) if one.isVisible()]
    return dialog


def test_every_encoder_says_how_it_stands(window: Open, sample: Path) -> None:
    panel = panel_of(window(sample))
    lines = {line.name: line for line in panel.choice.table.encoders.lines}
    texts = {name: line.text for name, line in lines.items()}
    assert texts["lite0"].endswith("256 px at any scale. Licence: Apache-2.0. Ready.")
    assert texts["phikon-v2"].endswith("research only. Downloads 1.2 GB.")
    assert ", 681 M parameters. " in texts["uni2-h"]
    assert "licence on huggingface.co/MahmoodLab/UNI2-h; needs a token." in texts["uni2-h"]
    assert "256 px at 0.5 µm. Licence: CC-BY-NC-ND-4.0, research only." in texts["uni2-h"]
    assert texts["hibou-b"].endswith("Import only.")
    assert texts["chief"].endswith("Import only.")
    assert texts["titan"].endswith("Runs code of its own: needs your consent.")
    assert "licence on huggingface.co/MahmoodLab/TITAN; needs a token. " in texts["titan"]
    assert "these are 256 px at 0.5 (128 µm across). Licence" in texts["conch_v15"]
    for name in ("titan", "prism"):
        assert lines[name].actions == {"consent": "Let its code run…", "page": "Ask for access"}
    can = {name for name, line in lines.items() if line.can_tick}
    assert {"lite0", "phikon-v2", "mean-lite0"} <= can
    assert not {"uni2-h", "hibou-b", "chief", "titan", "mean-hibou-b"} & can
    assert not any({"token", "consent"} & lines[name].actions.keys() for name in can)
    for told in ("224 px at 0.5 µm", "Licence: Apache-2.0", "fusecpath import"):
        assert told in lines["hibou-b"].tip
    order = panel.choice.table.order
    shown = [order.line_at(order.index(row, 0)).name for row in range(order.rowCount())]
    assert {name for name in shown if name.startswith("mean-")} == {"mean-lite0", "mean-texture"}
    assert len(shown) == len(lines) - sum(name.startswith("mean-") for name in lines) + 2

    panel.choice.set_ticked("mean-texture", True)
    for imported in ({"texture": "trident"}, {"mine": "clam"}, {}):  # as of slide after slide
        panel.show_snapshot(replace(panel.session.snapshot, imported=imported))
        assert panel.choice.teachers == ["mean-texture"], imported
        names = [line.name for line in panel.choice.table.encoders.lines]
        assert ("mine" in names) == ("mine" in imported)


def column(choice: Any, of: Column) -> list[str]:
    """Return what a column of the table of encoders says, row by row."""
    order = choice.table.order
    return [str(order.index(row, of).data()) for row in range(order.rowCount())]


def test_the_table_tells_what_each_encoder_is(window: Open, qtbot: Any, sample: Path) -> None:
    choice = panel_of(window(sample)).choice
    table, order = choice.table, choice.table.order

    def cells(name: str) -> list[str]:
        row = column(choice, Column.NAME).index(name)
        return [order.index(row, of).data() for of in Column if of != Column.USE]

    at = column(choice, Column.NAME).index("phikon-v2")
    mark = order.index(at, Column.LICENCE).data(SHORT)
    said = order.index(0, Column.NAME).data(Qt.ItemDataRole.AccessibleTextRole)
    assert (mark, said) == ("NC", "lite0, ticked")
    known = ["phikon-v2", "patch", "1024", "Owkin non-commercial", "open", "1.2 GB", "yes"]
    assert cells("phikon-v2") == known
    assert cells("conch_v15")[4:] == ["gated", "token", "no"], "256 px are not its 512"
    assert cells("titan")[1:] == ["slide", "768", "CC-BY-NC-ND-4.0", "gated", "consent", "own"]
    assert cells("keep")[4:] == ["", "import", "yes"]
    first = column(choice, Column.NAME)[:4]
    assert first == ["lite0", "texture", "lite1", "lite2"], "in use, then ready"
    viewport, heads = table.viewport(), table.horizontalHeader()
    qtbot.waitUntil(lambda: heads.length() <= viewport.width())  # no column is out of view
    hidden = {of for of in Column if heads.isSectionHidden(of)}
    assert hidden == {Column.SIZE}, "said below the table"
    margin = 1 + table.style().pixelMetric(QStyle.PixelMetric.PM_FocusFrameHMargin)
    shown_px = heads.sectionSize(Column.NAME) - 2 * margin
    names = [*list_encoders("patch"), *list_encoders("slide")]
    elide = table.fontMetrics().elidedText
    seen = {elide(name, table.textElideMode(), shown_px) for name in names}
    assert len(seen) == len(names), "no two of them look alike"
    assert len(seen - set(names)) < 4, "few are cut in their middle"
    table.setMinimumWidth(table.width() + 90)
    qtbot.waitUntil(lambda: not any(map(heads.isSectionHidden, Column)))
    assert heads.length() <= viewport.width()


def test_the_table_is_sorted_by_its_heads(window: Open, qtbot: Any, sample: Path) -> None:
    choice = panel_of(window(sample)).choice
    heads = choice.table.horizontalHeader()
    choice.table.setMinimumWidth(choice.table.width() + 90)
    qtbot.waitUntil(lambda: not heads.isSectionHidden(Column.SIZE))
    firsts = [(Column.SIZE, "4608"), (Column.SIZE, "any"), (Column.NAME, "abmil")]
    firsts += [(Column.TASK, "patch"), (Column.LICENCE, "Apache-2.0"), (Column.WEIGHTS, "here")]
    firsts += [(Column.WEIGHTS, "import"), (Column.FITS, "yes"), (Column.ACCESS, "gated")]
    for of, first in firsts:
        middle = heads.sectionViewportPosition(of) + heads.sectionSize(of) // 2
        qtbot.mouseClick(
            heads.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(middle, heads.height() // 2)
        )
        assert column(choice, of)[0] == first
    access = choice.table.order.headerData(Column.ACCESS, Qt.Orientation.Horizontal)
    assert access == "▴Access"


def test_encoders_are_ticked_by_keys_and_clicks(window: Open, qtbot: Any, sample: Path) -> None:
    dock = window(sample)
    choice = panel_of(dock).choice
    table, order = choice.table, choice.table.order
    table.choose("lite1")
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert choice.encoders == ["lite0", "lite1", "texture"]
    assert dock.session.workbench.encoders == ("lite0", "lite1", "texture")
    assert table.current.name == "lite1", "its row stays where it is"
    table.choose("mean-lite1")
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert choice.teachers == ["mean-lite1"]
    table.choose("uni2-h")
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert "uni2-h" not in choice.encoders, "it cannot be had"
    index = order.index_of("lite1").siblingAtColumn(Column.USE)
    table.scrollTo(index)
    at = table.visualRect(index).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert (choice.encoders, choice.teachers) == (["lite0", "texture"], []), "nor can its mean be"
    assert not order.index_of("mean-lite1").isValid()


def test_presets_tick_a_set_and_say_what_it_costs(window: Open, sample: Path) -> None:
    dock = window(sample)
    panel = panel_of(dock)
    choice = panel.choice
    tips = {name: button.toolTip() for name, button in choice.presets.items()}
    assert "Nothing to download" in tips["offline"]
    lines = {line.name: line for line in choice.table.encoders.lines}
    absent = [lines[one] for one in PRESETS["open"].encoders if lines[one].weights != "here"]
    assert absent
    size = size_text(sum(one.card.download_mb for one in absent) * 1e6)
    assert f"Downloads {size}" in tips["open"]
    assert "once you have access" in tips["paper"]
    choice.table.order.sort_by(Column.USE)
    choice.presets["open"].click()
    assert set(choice.encoders) == set(PRESETS["open"].encoders)
    assert dock.session.workbench.encoders == tuple(choice.encoders)
    assert panel.warning.text() == ""
    assert column(choice, Column.NAME)[0] in PRESETS["open"].encoders, "what is ticked is in view"
    choice.presets["paper"].click()
    assert choice.encoders == [], "none can be had yet, nor is another set's left to be run"
    assert "Not ticked: conch_v15, virchow2, gigapath, gigapath-slide" in panel.warning.text()
    assert choice.table.current.name == "conch_v15"
    assert not choice.detail.buttons["token"].isHidden()
    choice.presets["offline"].click()
    assert choice.encoders == list(PRESETS["offline"].encoders)
    assert panel.warning.text() == ""


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


def test_encoders_are_sorted_by_keys(window: Open, qtbot: Any) -> None:
    table = panel_of(window()).choice.table
    sizes: list[str] = []
    for _ in range(2):  # largest first, then the other way round
        qtbot.keyClick(table, Qt.Key.Key_Return)
        menu = QApplication.activePopupWidget()
        assert menu is not None
        for key in (Qt.Key.Key_Up, Qt.Key.Key_Right):
            qtbot.keyClick(menu, key)
        sorts = QApplication.activePopupWidget()
        assert isinstance(sorts, QMenu)
        assert sorts is not menu
        for key in (*[Qt.Key.Key_Down] * Column.SIZE, Qt.Key.Key_Return):
            qtbot.keyClick(sorts, key)
        assert QApplication.activePopupWidget() is None
        line = table.order.line_at(table.order.index(0, 0))
        assert line is not None
        sizes.append("any" if line.card.varies else str(line.card.dim))
    largest = max(card.dim for card in map(encoder_card, list_encoders()) if not card.varies)
    assert sizes[0] == str(largest)
    assert sizes[1] != sizes[0]


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
