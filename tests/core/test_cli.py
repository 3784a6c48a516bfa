from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src_core.cli import main
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import VERBS
from src_core.verbs.base import as_lines


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "slide.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(2048, 2048), seed=1))
    return path


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    for spec in VERBS[verb].options.fields():
        assert spec.help, f"{verb} does not say what {spec.name} is"
        assert spec.help.split()[0] in told


def test_json_is_one_line(
    tmp_path: Path, slide_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tmp_path / "p")
    assert main(["prepare", root, str(slide_file), "--encoders", "texture", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["patches"]["slide"] > 5
    assert main(["cluster", root, "--n-clusters", "2"]) == 0
    assert "slide: 2" in capsys.readouterr().out


def test_an_option_that_is_given_twice_means_both(tmp_path: Path, slide_file: Path) -> None:
    root = tmp_path / "p"
    settings = ["--set", "grid.patch_px=512", "--set", "training.epochs=3"]
    assert main(["prepare", str(root), str(slide_file), *settings, "--no-embed"]) == 0
    config = Project.open(root).config
    assert (config.grid.patch_px, config.training.epochs) == (512, 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cluster", "nowhere"], "is not a project"),
        (["open", "nowhere"], "does not exist"),
        (["prepare", "p", "--encoders", "uni9"], "There is no encoder 'uni9'"),
        (["demo", "--slides", "somewhere"], "need both"),
        (["prepare", "p", "--slide-mpp", "7"], "prepare: --slide-mpp is 7.0; give a value"),
    ],
)
def test_a_users_error_is_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert sentence in told
    assert list(tmp_path.iterdir()) == []


def test_one_bad_slide_does_not_stop_the_others(
    tmp_path: Path, slide_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide")
    root = str(tmp_path / "p")
    status = main(["prepare", root, str(bad), str(slide_file), "--no-embed", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert status == 1
    assert list(result["patches"]) == ["slide"]
    assert "bad.svs" in result["failures"][0]["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_an_interrupted_command_says_so_and_goes_on_later(tmp_path: Path) -> None:
    slide = tmp_path / "slide.tiff"
    write_sample_slide(slide, SyntheticSlide(size_px=(2560, 2560), seed=1))
    root = tmp_path / "p"
    command = [sys.executable, "-m", "src_core.cli", "prepare", str(root), str(slide)]
    command += ["--encoders", "texture", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(root.rglob("grids/*/cells.npy")) and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "run it again to go on" in told
    assert "Traceback" not in told
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["failures"] == []


def test_a_result_says_nothing_of_what_is_not_there() -> None:
    told = as_lines({"flagged": {"a": {"ink": 2}, "b": {}}, "excluded": {"a": {}, "b": {}}})
    assert told == "flagged:\n  a: ink 2"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE")
@pytest.mark.parametrize("arguments", ["encoders", "prepare --help"])
def test_who_stops_reading_gets_no_traceback(arguments: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; from src_core.cli import main;"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1);"
        f"sys.exit(main({arguments.split()!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""
    # argparse passes over what it cannot write of a help, in some versions of Python.
    assert done.returncode in ({141} if "--help" not in arguments else {0, 141})
