"""What a script passes on is what was meant, whatever a name holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src_core.errors import ExchangeError
from src_core.exchange.script_text import Beside, Call, Copy, Inside, Step, as_cmd, as_sh, given

NASTY = (
    "plain",
    "",
    "two words",
    "it's",
    'a "quoted" one',
    "50 % of %PATH%",
    "$HOME `id` $(id)",
    "a&b|c<d>e^f",
    "back\\slash\\",
    "*?[x]~#!",
    "Grüße-µm",
    "name=a,b;c",
)


def written(*steps: Step) -> str:
    return as_sh(steps, about=("What it is",), project="a-again", files="my files' 5%")


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no POSIX shell here")
def test_a_shell_passes_every_word_on_as_it_is(tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"
    shim = tmp_path / "bin" / "fusecpath"
    shim.parent.mkdir()
    code = "import json,os,sys; open(os.environ['TOLD'],'a').write(json.dumps(sys.argv[1:])+'\\n')"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -c "{code}" "$@"\n')
    shim.chmod(0o755)
    script = tmp_path / "a folder" / "repeat.sh"
    beside = script.parent / "my files' 5%" / "it's" / "marks $x.jsonl"
    beside.parent.mkdir(parents=True)
    beside.write_text("kept")
    target = Inside("slides/it's 5%/review/marks.jsonl")
    steps = (
        Step(("First; a name with a\nbreak `id`",), (Call(("relabel", Inside(), *NASTY)),)),
        Step((), (Copy(Beside("it's/marks $x.jsonl"), target),)),
        Step((), (Call(("prepare", Beside("a b.csv")), threads=3),)),
    )
    script.write_text(written(*steps), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    paths = os.pathsep.join((str(shim.parent), os.environ["PATH"]))
    command: dict[str, Any] = {
        "cwd": empty,
        "env": {**os.environ, "PATH": paths, "TOLD": str(told)},
    }
    subprocess.run(["sh", str(script)], check=True, **command)
    calls = [json.loads(line) for line in told.read_text().splitlines()]
    assert calls[0] == ["relabel", "a-again", *NASTY]
    assert calls[1] == ["prepare", str(beside.parents[1] / "a b.csv")]
    assert (empty / "a-again" / target.path).read_text() == "kept"
    again = subprocess.run(
        ["sh", str(script)], check=False, capture_output=True, text=True, **command
    )
    assert again.returncode == 1, "what is there is not touched"
    assert "run this script in an empty folder" in again.stderr


def test_windows_is_told_the_same_in_its_own_quotes() -> None:
    steps = (
        Step(("100 % of it",), (Call(("relabel", Inside(), *NASTY)),)),
        Step((), (Copy(Beside("a b/m.jsonl"), Inside("slides/5%/m.jsonl")),)),
        Step((), (Call(("train", Inside()), threads=2),)),
    )
    text = as_cmd(steps, about=("What it is",), project="a-again", files="f-files")
    lines = text.split("\r\n")
    assert "rem 100 %% of it" in lines
    call = next(line for line in lines if line.startswith("fusecpath relabel"))
    words = (
        'plain "" "two words" "it\'s"',
        '^"a \\^"quoted\\^" one^"',
        '"50 %% of %%PATH%%"',
        '"$HOME `id` $(id)"',
        '"a&b|c<d>e^f"',
        "back\\slash\\",
    )
    assert call.startswith(f'fusecpath relabel "%project%" {" ".join(words)} ')
    assert call.endswith(" || exit /b 1")
    assert (
        'copy /y "%files%\\a b\\m.jsonl" "%project%\\slides\\5%%\\m.jsonl" >nul || exit /b 1'
        in lines
    )
    threads = lines.index('set "OMP_NUM_THREADS=2"')
    assert lines[threads + 1] == 'fusecpath train "%project%" || exit /b 1'
    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize(
    "word", ["two\nlines", "a\rb", "nul\0", "\u202etxt.sh", "\x9b2J", "\ud800"]
)
def test_what_no_script_can_hold_is_refused(word: str) -> None:
    step = Step((), (Call(("train", word)),))
    for make in (as_sh, as_cmd):
        with pytest.raises(ExchangeError, match="has a line break or another sign that no script"):
            make((step,), about=(), project="a", files="b")


def test_no_name_is_taken_for_an_option_or_ends_a_quote() -> None:
    assert given("a", "b-c") == ["a", "b-c"]
    with pytest.raises(ExchangeError, match=r"'--scheduler=.* begins as an option"):
        given("a", "--scheduler=tcp://10.0.0.1:1")
    step = Step((), (Call(("import", Inside(), Beside('imported/a" & calc & ".h5'))),))
    with pytest.raises(ExchangeError, match="has a quote, which no file of Windows"):
        as_cmd((step,), about=(), project="a", files="b")


def test_what_is_said_of_a_step_shows_what_stands_there() -> None:
    said = Step(("of \u202etxt.sh\x1b[2J \u2028 rm -rf",))
    for make in (as_sh, as_cmd):
        text = make((said,), about=(), project="a", files="b")
        assert "of \ufffdtxt.sh [2J rm -rf" in text
        assert not any(line.startswith("rm") for line in text.splitlines())
