"""What was chosen last, in a file that may be damaged and that another window may write."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QCheckBox, QComboBox, QSlider

from napari_fusecpath.remembered import keep, recall, remember, store_choices
from src_core.provenance import read_json, write_json


@pytest.fixture
def file(tmp_path: Path, qapp: Any) -> Path:
    return tmp_path / "state" / "window.json"


def test_choices_of_two_processes_are_all_kept_and_the_last_one_holds(file: Path) -> None:
    other = (
        "import sys, platformdirs\n"
        "platformdirs.user_state_dir = lambda *_, **__: sys.argv[1]\n"
        "from napari_fusecpath.remembered import keep\n"
        "from qtpy.QtCore import QCoreApplication\n"
        "app = QCoreApplication([])\n"
        "keep('theirs', 1); keep('both', 'they')\n"  # written when the process ends
    )
    keep("ours", True)
    store_choices()
    subprocess.run([sys.executable, "-c", other, str(file.parent)], check=True)
    assert recall("both") == "they"
    keep("both", "we")
    assert recall("both") == "we", "before it is written"
    store_choices()
    assert read_json(file)["choices"] == {"ours": True, "theirs": 1, "both": "we"}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"format": 2, "choices": {"a": 1}}',
        '{"format": 1, "choices": [1]}',
        '{"format": 1, "choices": {"a": 1}}' + " " * 100_000,
    ],
)
def test_a_file_that_cannot_be_used_is_logged_and_replaced(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    with caplog.at_level(logging.INFO):
        assert recall("a") is None
    assert "window.json holds no choices" in caplog.text
    keep("b", 2)
    store_choices()
    assert read_json(file) == {"format": 1, "choices": {"b": 2}}


def test_widgets_take_only_what_they_offer(file: Path, qtbot: Any) -> None:
    wrong = {"box": "stranger", "check": 1, "slider": 10**30, "list": [1]}
    write_json(file, {"format": 1, "choices": wrong})
    box, check, slider = QComboBox(), QCheckBox(), QSlider()
    for widget in (box, check, slider):
        qtbot.addWidget(widget)
    box.addItems(["a", "b"])
    remember(box, "box")
    remember(check, "check")
    remember(slider, "slider")
    assert (box.currentText(), check.isChecked(), slider.value()) == ("a", False, 0)
    assert recall("list") is None
    check.setChecked(True)
    assert recall("check") == 1, "the program's doing is not the user's choice"
    check.click()
    assert recall("check") is False


def test_a_disk_that_takes_nothing_costs_only_the_memory(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.write_text("no folder", encoding="utf-8")
    keep("a", 1)
    with caplog.at_level(logging.INFO):
        store_choices()
    assert "is not remembered" in caplog.text
