"""The table of encoders of step 2: how each stands, in which order, and what is ticked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QMenu, QStyle

from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.encoder_model import SHORT, Column
from src_core.encoders.hub_refusals import size_text
from src_core.encoders.presets import PRESETS
from src_core.encoders.registry import encoder_card, list_encoders
from tests.plugin.widgets.embed_panel import panel_of

Open = Callable[..., FuseCPathWidget]

pytestmark = pytest.mark.usefixtures("hub")


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
