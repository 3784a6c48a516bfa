"""What strangers wrote, on a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.cli import main
from src_core.plain_text import printable


def test_controls_and_halves_of_characters_are_replaced_and_lines_stay() -> None:
    assert printable("Fraß\t1\n2") == "Fraß\t1\n2"
    assert printable("a\x1b[31mred\x07\r\x9b2J\u202e") == "a\ufffd[31mred\ufffd\ufffd\ufffd2J\ufffd"
    assert printable("half \ud800") == "half ?"


def test_a_command_writes_no_control_character_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["open", "slide\x1b[2J.svs"]) == 1
    assert "\x1b" not in capsys.readouterr().err
