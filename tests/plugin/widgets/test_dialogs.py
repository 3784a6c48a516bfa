"""What is written is the file that was asked about, with an ending that it can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_fusecpath.widgets.dialogs import ask_name
from src_core.errors import ConfigError

KINDS = "Picture (*.png);;TIFF (*.tiff *.tif);;PDF (*.pdf)"


@pytest.mark.parametrize(
    ("typed", "kind", "written"),
    [
        ("a", "TIFF (*.tiff *.tif)", "a.tiff"),
        ("a", "", "a.png"),  # some systems do not say which kind was chosen
        ("a.pdf", "Picture (*.png)", "a.pdf"),
        ("a.TIF", "Picture (*.png)", "a.TIF"),
        (".a", "PDF (*.pdf)", ".a.pdf"),
    ],
)
def test_a_name_has_an_ending_that_it_can_have(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, kind: str, written: str
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    named = (str(tmp_path / typed), kind)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: named)
    assert ask_name(parent, "A file", tmp_path, KINDS) == tmp_path / written
    if typed == written:  # the system has asked
        (tmp_path / written).touch()
        assert ask_name(parent, "A file", tmp_path, KINDS) == tmp_path / written


def test_a_name_that_cannot_be_or_that_nobody_was_asked_about_is_refused(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    typed = [str(tmp_path / "a.jpg")]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (typed[-1], "PDF (*.pdf)"))
    with pytest.raises(ConfigError) as refused:
        ask_name(parent, "A file", tmp_path, KINDS)
    listed = ".png, .tiff, .tif or .pdf"
    assert str(refused.value) == f"a.jpg cannot end with .jpg; let it end with {listed}."
    typed.append(str(tmp_path / "a"))
    (tmp_path / "a.pdf").touch()
    with pytest.raises(ConfigError, match=r"a\.pdf is there already"):
        ask_name(parent, "A file", tmp_path, KINDS)
    typed.append("")
    assert ask_name(parent, "A file", tmp_path, KINDS) is None
