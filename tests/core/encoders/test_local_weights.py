"""The user's list of weights goes before every other place, and a wrong path in it is an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src_core.encoders import create_encoder, encoder_access, encoder_card
from src_core.encoders.local_weights import forget_file, local_file, local_list, use_file
from src_core.encoders.weights import package_file
from src_core.errors import ProjectError, WeightsUnavailableError


@pytest.fixture(autouse=True)
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of its own for each test."""
    path = tmp_path / "config" / "weights.json"
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(path))
    return path


def test_a_listed_file_is_taken_and_forgotten(listed: Path, tmp_path: Path) -> None:
    assert local_file("lite0") is None
    copy = tmp_path / "mine.pth"
    copy.write_bytes(package_file(encoder_card("lite0")).read_bytes())
    use_file("lite0", copy)
    assert json.loads(listed.read_text()) == {"lite0": str(copy)}
    access = encoder_access("lite0")
    assert (access.status, access.detail) == ("ready", str(copy))
    assert encoder_access("mean-lite0") == access
    assert create_encoder("lite0", device="cpu").card == encoder_card("lite0")  # the same content
    assert forget_file("lite0")
    assert not forget_file("lite0")
    assert copy.exists()


def test_a_listed_file_that_is_gone_is_an_error_and_nothing_else_is_tried(tmp_path: Path) -> None:
    use_file("lite0", tmp_path / "gone.pth")  # while the package of lite0 is there
    assert encoder_access("lite0").status == "missing"
    with pytest.raises(WeightsUnavailableError, match=r"gone\.pth.*is not there"):
        create_encoder("lite0", device="cpu")


@pytest.mark.parametrize("content", ["[]", "{", '{"lite0": 3}', '{"lite0": "relative.pth"}', ""])
def test_a_damaged_list_is_told_once(listed: Path, content: str) -> None:
    listed.parent.mkdir()
    listed.write_text(content)
    with pytest.raises(ProjectError, match=r"weights\.json"):
        create_encoder("lite0", device="cpu")
    assert encoder_access("lite0").status == "missing"


def test_without_the_variable_the_list_is_in_the_users_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FUSECPATH_WEIGHTS")
    assert local_list().parts[-2:] == ("fusecpath", "weights.json")
