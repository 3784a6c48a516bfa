"""The code of strangers runs only where the user has agreed, at one commit."""

from __future__ import annotations

import sys
import tomllib
import types
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from torch import nn

from src_core.encoders import create_encoder, encoder_card, encoder_problem, remote_code
from src_core.encoders.remote_code import agree, agreed_revision
from src_core.encoders.remote_slides import TitanSlideEncoder
from src_core.errors import (
    ConfigError,
    EncoderFailedError,
    ProjectError,
    WeightsUnavailableError,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TITAN, PRISM = encoder_card("titan"), encoder_card("prism")


@pytest.fixture(autouse=True)
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's user keeps their agreements."""
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(tmp_path / "user" / "trusted.json"))
    return tmp_path / "user" / "trusted.json"


@pytest.fixture
def fake_transformers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict]]:
    """A transformers of version 4 whose models are recorded; returns the calls."""
    calls: list[tuple[tuple, dict]] = []

    class Model(nn.Module):
        text_decoder: Any = "long"

    def from_pretrained(*args: Any, **options: Any) -> Model:
        calls.append((args, options))
        return Model()

    module = types.ModuleType("transformers")
    module.AutoModel = types.SimpleNamespace(from_pretrained=from_pretrained)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)
    monkeypatch.setattr(remote_code, "version", lambda _: "4.57.6")
    return calls


@pytest.mark.parametrize("name", ["titan", "prism"])
def test_nothing_runs_without_consent(name: str, fake_transformers: list, trusted: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match="trust_remote_code") as caught:
        create_encoder(name, device="cpu")
    card = encoder_card(name)
    for told in (card.source_url, card.licence, "import its slide embedding"):
        assert told in str(caught.value)
    assert encoder_problem(name) == str(caught.value)
    assert fake_transformers == []
    assert not trusted.exists()


def test_consent_is_for_one_commit_and_is_told_in_the_recipe(fake_transformers: list) -> None:
    agree(TITAN)
    assert agreed_revision(TITAN) == TITAN.revision
    assert agreed_revision(PRISM) is None
    encoder = create_encoder("titan", device="cpu")
    ((repository,), options) = fake_transformers[0]
    assert repository == "MahmoodLab/TITAN"
    assert options["revision"] == options["code_revision"] == TITAN.revision
    assert options["trust_remote_code"] is True
    assert encoder.card.recipe()["weights"] == f"hub:MahmoodLab/TITAN@{TITAN.revision}"
    agree(PRISM, COMMIT)
    prism = create_encoder("prism", device="cpu")
    assert fake_transformers[1][1]["revision"] == COMMIT
    assert prism._model.text_decoder is None  # type: ignore[union-attr]
    assert agreed_revision(TITAN) == TITAN.revision, "a second consent keeps the first"


@pytest.mark.parametrize("commit", [None, "main", "0123", COMMIT.upper()])
def test_a_branch_is_no_commit(commit: str | None) -> None:
    with pytest.raises(ConfigError, match="prism@COMMIT"):
        agree(PRISM, commit)


@pytest.mark.parametrize("name", ["gigapath-slide", "chief", "mean-texture", "texture"])
def test_where_there_is_no_code_there_is_nothing_to_agree_to(name: str) -> None:
    with pytest.raises(ConfigError, match="nothing to agree"):
        agree(encoder_card(name))


def test_a_version_that_breaks_the_code_is_told(
    fake_transformers: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(TITAN)
    monkeypatch.setattr(remote_code, "version", lambda _: "5.23.0")
    with pytest.raises(WeightsUnavailableError, match=r"5\.23\.0; run pip install 'transformers"):
        create_encoder("titan", device="cpu")

    def absent(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(remote_code, "version", absent)
    with pytest.raises(WeightsUnavailableError, match="needs transformers, einops, einops-exts; "):
        create_encoder("titan", device="cpu")
    assert fake_transformers == []


def test_the_extra_brings_what_the_code_needs_and_nothing_that_it_refuses(
    project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {one.name: one.specifier for one in map(Requirement, extras["foundation"])}
    assert set(wanted) == {name for names in remote_code._NEEDS.values() for name in names}
    assert f"'transformers{spelled(wanted['transformers'])}'" == remote_code._TRANSFORMERS
    agree(TITAN)
    for release, refused in (("4.46.0", False), ("4.57.6", False), ("5.0.0", True)):
        monkeypatch.setattr(remote_code, "version", lambda _, release=release: release)
        assert bool(remote_code.remote_problems(TITAN)) is refused
        assert (release in wanted["transformers"]) is not refused
    every = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    bounded = [one for one in every if "<" in one or "==" in one or "~=" in one]
    assert bounded == [one for one in extras["foundation"] if one.startswith("transformers")]


def spelled(specifiers: SpecifierSet) -> str:
    return ",".join(sorted(map(str, specifiers), key=lambda one: one.startswith("<")))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ImportError("requires einops_exts"), "needs more packages"),
        (OSError("401 for token hf_secretsecret"), "request access on https"),
    ],
)
def test_what_goes_wrong_is_one_sentence_without_a_token(
    fake_transformers: list, error: Exception, told: str
) -> None:
    agree(TITAN)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    sys.modules["transformers"].AutoModel.from_pretrained = fail  # type: ignore[attr-defined]
    with pytest.raises(WeightsUnavailableError, match=told) as caught:
        create_encoder("titan", device="cpu")
    assert "hf_" not in str(caught.value).replace("HF_TOKEN", "")
    assert isinstance(error, ImportError) or caught.value.__cause__ is None


@pytest.mark.parametrize("where", ["from_pretrained", "eval", "to"])
@pytest.mark.parametrize("error", [AttributeError("no all_tied_weights_keys"), MemoryError()])
def test_whatever_the_code_of_strangers_raises_is_that_encoders_failure(
    fake_transformers: list,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: Exception,
) -> None:
    agree(TITAN)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    if where == "from_pretrained":
        sys.modules["transformers"].AutoModel.from_pretrained = fail  # type: ignore[attr-defined]
    else:
        monkeypatch.setattr(nn.Module, where, fail)
    with pytest.raises(EncoderFailedError, match=r"^titan cannot be loaded \(") as caught:
        create_encoder("titan", device="cpu")
    assert type(error).__name__ in str(caught.value)
    assert "transformers>=4.46,<5" in str(caught.value)
    assert "in fail" in caplog.text, "its traceback is in the log"


class Broken:
    """What `titan` or `prism` may give for an embedding."""

    def __init__(self, given: Any = None) -> None:
        self.given = given

    def to(self, device: Any) -> Broken:
        return self

    def encode_slide_from_patch_features(self, *_: Any) -> Any:
        return self.no_such_thing if self.given is None else self.given  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "titan broke down (AttributeError: 'Broken' object has no attribute"),
        ({"pooled": 1}, "titan gave dict instead of numbers"),
        (torch.zeros(1, 767), "titan gave numbers of shape (767,), and its card says (768,)"),
        (torch.full((1, 768), torch.nan), "titan gave NaN or infinity"),
    ],
)
def test_what_the_code_of_strangers_gives_is_looked_at(given: Any, told: str) -> None:
    encoder = TitanSlideEncoder(TITAN, Broken(given), device=torch.device("cpu"))
    with pytest.raises(EncoderFailedError) as caught:
        encoder.encode(np.ones((1, 768), np.float32), np.array([[0, 0]]), patch_l0=512)
    assert told in str(caught.value)


def test_a_bug_of_ours_beside_the_code_of_strangers_stays_one() -> None:
    encoder = TitanSlideEncoder(TITAN, Broken(), device=torch.device("cpu"))
    with pytest.raises(AttributeError):
        encoder.encode(None, np.array([[0, 0]]), patch_l0=512)  # type: ignore[arg-type]


def test_a_file_of_weights_is_refused(fake_transformers: list, tmp_path: Path) -> None:
    agree(TITAN)
    torch.save({}, tmp_path / "titan.pth")
    with pytest.raises(WeightsUnavailableError, match="takes no file"):
        create_encoder("titan", device="cpu", weights=tmp_path / "titan.pth")


@pytest.mark.parametrize("text", ['{"titan": 3}', '{"titan": "main"}', "[]", "nonsense"])
def test_a_damaged_list_is_told_and_agrees_to_nothing(trusted: Path, text: str) -> None:
    trusted.parent.mkdir()
    trusted.write_text(text)
    with pytest.raises(ProjectError, match=r"trusted\.json"):
        agreed_revision(TITAN)
