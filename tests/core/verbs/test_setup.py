"""``fusecpath encoders`` lists what there is and remembers the user's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from src_core.cli import main
from src_core.encoders import encoder_card, list_encoders
from src_core.encoders.weights import package_file
from src_core.verbs import setup


@pytest.fixture(autouse=True)
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of weights of its own, no network."""
    path = tmp_path / "weights.json"
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return path


def test_the_table_fits_a_terminal_and_json_has_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["encoders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 or "/" in line for line in lines)
    row = next(line for line in lines if line.startswith("lite0 "))
    assert row.split() == ["lite0", "patch", "1280", "-", "Apache-2.0", "ready"]
    assert main(["encoders", "--check"]) == 1
    assert "does not answer; connect to the network" in capsys.readouterr().err
    assert main(["encoders", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["encoders"]
    assert [card["name"] for card in rows] == list(list_encoders())
    needed = {
        "licence",
        "gated",
        "download_mb",
        "repository",
        "status",
        "detail",
        "usable",
        "lacks",
    }
    assert all(needed <= card.keys() for card in rows)


def test_a_model_that_brings_code_says_how_its_weights_stand_and_what_else_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"HF_TOKEN": "hf_none", "FUSECPATH_TRUSTED_CODE": "none.json"}.items():
        monkeypatch.setenv(name, str(tmp_path / value) if name.startswith("FUSE") else value)
    assert main(["encoders"]) == 0
    out = capsys.readouterr().out
    for name in ("titan", "prism"):
        row, *_ = (line for line in out.splitlines() if line.startswith(f"{name} "))
        assert row.endswith("CC-BY-NC-ND-4.0          gated")
    told = " ".join(out.split())
    assert "MahmoodLab/TITAN at first use, if you were accepted there. titan runs code of" in told
    assert "agree to it (trust_remote_code titan)" in told


def test_a_file_is_used_until_it_is_forgotten(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(package_file(encoder_card("lite0")).read_bytes())
    assert main(["encoders", "--use", f"lite0={mine}"]) == 0
    assert str(mine) in capsys.readouterr().out
    assert json.loads(listed.read_text()) == {"lite0": str(mine)}
    assert main(["encoders", "--forget", "lite0"]) == 0
    assert str(mine) not in capsys.readouterr().out
    assert main(["encoders", "--forget", "lite0"]) == 1
    assert "No file is used for 'lite0'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("lite0", "write NAME=FILE"),
        ("lite0=", "write NAME=FILE"),
        ("lite0=nowhere.pth", "nowhere.pth, given as the weights of lite0, is not there"),
        ("uni9=x.pth", "There is no encoder 'uni9'"),
        ("texture=x.pth", "texture needs no file"),
        ("mean-lite0=x.pth", "mean-lite0 needs no file"),
        ("hibou-b=x.pth", "take the embeddings in with fusecpath import"),
        ("chief=x.pth", "take the embeddings in with fusecpath import"),
        ("titan=x.pth", "titan is loaded by its own code"),
    ],
)
def test_a_wrong_file_is_refused_and_not_listed(
    listed: Path, capsys: pytest.CaptureFixture[str], pair: str, sentence: str
) -> None:
    assert main(["encoders", "--use", pair]) == 1
    assert sentence in capsys.readouterr().err
    assert not listed.exists()


def test_a_long_licence_is_cut_and_the_row_stays_in_its_columns() -> None:
    row = setup._row(
        "x" * 40, "patch", "1280", "2.7 GB", "A licence with a very long name", "gated"
    )
    assert len(row) <= 100
    assert row.count("…") == 2
