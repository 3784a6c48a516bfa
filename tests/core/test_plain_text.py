"""What strangers wrote, on a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.cli import main
from src_core.plain_text import one_line, printable
from src_core.verbs.base import as_lines, table_lines


def test_controls_and_halves_of_characters_are_replaced_and_lines_stay() -> None:
    assert printable("Fraß\t1\n2") == "Fraß\t1\n2"
    assert printable("a\x1b[31mred\x07\r\x9b2J\u202e") == "a\ufffd[31mred\ufffd\ufffd\ufffd2J\ufffd"
    assert printable("half \ud800") == "half ?"


def test_a_line_stays_one_and_is_cut() -> None:
    assert one_line("a\nFAILED  b\t\x07") == "a FAILED  b \ufffd"
    assert one_line("x" * 1_000_000, 5) == "xxxx…"
    assert one_line("five!", 5) == "five!"


def test_what_a_result_names_begins_no_line_of_a_table_and_of_the_rest() -> None:
    lines = table_lines(["without", "patches"], [["a\nb", "1"], ["c", "22"]], left=(0,))
    assert lines == ["  without  patches", "  a b            1", "  c             22"]
    failed = [{"slide_id": "s", "message": "a\nFAILED t: b"}]
    told = as_lines({"runs": {"a\nrun: b": 1}, "failures": failed})
    assert told.splitlines() == ["runs:", "  a run: b: 1", "FAILED s: a FAILED t: b"]


def test_a_command_writes_no_control_character_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["open", "slide\x1b[2J.svs"]) == 1
    assert "\x1b" not in capsys.readouterr().err
