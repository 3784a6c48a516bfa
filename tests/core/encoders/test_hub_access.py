"""Who may download what, asked of a simulated hub or told from this machine, and the token."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from src_core.encoders import encoder_access, encoder_problem, registry, remote_code
from src_core.encoders.access import weights_access
from src_core.encoders.hub import store_token
from src_core.errors import ConfigError
from tests.core.encoders.simulated_hub import (
    AGREED,
    CARD,
    COMMIT,
    GATED,
    SECRET,
    WEIGHTS,
)


@pytest.mark.parametrize(
    ("card", "repository", "status"),
    [
        (CARD, "open", "downloadable"),
        (GATED, "open", "gated, accepted"),
        (GATED, "gated", "gated, refused"),
        (GATED, "private", "gated, refused"),
        (CARD, "none", "missing"),
        (CARD, "broken", "unreachable"),
    ],
)
def test_the_hub_is_asked_who_may_download(
    server: str, card: Any, repository: str, status: str
) -> None:
    card = dataclasses.replace(card, weights=f"hub:lab/{repository}")
    assert weights_access(card, ask_hub=True).status == status


def test_without_asking_the_hub_access_is_told_from_this_machine(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert weights_access(CARD).status == "downloadable"
    assert "12 MB downloaded from lab/open at first use" in weights_access(CARD).detail
    assert weights_access(GATED).status == "gated"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    access = weights_access(GATED)
    assert (access.status, access.usable, access.here) == ("gated, no token", False, False)
    assert "127.0.0.1:9/lab/gated" in access.detail
    nowhere = dataclasses.replace(CARD, weights="hub:none")
    assert weights_access(nowhere).status == "import only"


@pytest.fixture
def own_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Put the weights of PRISM, which brings its code, into a repository of the lab."""
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(tmp_path / "trusted.json"))

    def move(repository: str) -> Path:
        entry = registry._entries["prism"]
        card = dataclasses.replace(entry.card, repository=f"lab/{repository}")
        entries = {**registry._entries, "prism": dataclasses.replace(entry, card=card)}
        monkeypatch.setattr(registry, "_entries", entries)
        return tmp_path / "trusted.json"

    return move


@pytest.mark.parametrize(
    ("repository", "status"),
    [
        ("open", "gated, accepted"),
        ("gated", "gated, refused"),
        ("none", "missing"),
        ("broken", "unreachable"),
    ],
)
def test_what_a_model_lacks_beside_its_weights_hides_not_how_they_stand(
    server: str, own_code: Any, monkeypatch: pytest.MonkeyPatch, repository: str, status: str
) -> None:
    trusted = own_code(repository)
    monkeypatch.setattr(remote_code, "version", lambda _: "5.0.1")
    assert encoder_access("prism").status == "gated", "somebody is logged in"
    lacks = encoder_access("prism").lacks
    assert "agree to it" in lacks[0]
    assert "does not work with transformers 5.0.1" in lacks[1]
    assert encoder_problem("prism") == lacks[0]
    trusted.write_text(json.dumps({"prism": AGREED}))
    access = encoder_access("prism", ask_hub=True)
    assert (access.status, access.lacks, access.usable) == (status, lacks[1:], False)
    monkeypatch.setattr(remote_code, "version", lambda _: "4.57.6")
    access = encoder_access("prism", ask_hub=True)
    assert (access.lacks, access.usable) == ((), repository == "open")
    assert "--use" not in access.detail, "it takes no file"
    assert encoder_access("mean-virchow").lacks == ()


def test_a_model_that_brings_code_is_cached_at_the_commit_that_was_agreed_to(
    server: str, cache: Path, own_code: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_code, "version", lambda _: "4.57.6")
    trusted = own_code("open")
    for commit in (COMMIT, AGREED):
        (cache / f"models--lab--open/snapshots/{commit}").mkdir(parents=True, exist_ok=True)
    (cache / f"models--lab--open/snapshots/{AGREED}/pytorch_model.bin").write_bytes(WEIGHTS)
    for commit, status in ((COMMIT, "gated"), (AGREED, "cached")):
        trusted.write_text(json.dumps({"prism": commit}))
        assert encoder_access("prism").status == status
    assert encoder_problem("prism") is None
    trusted.unlink()
    assert "agree to it" in str(encoder_problem("prism"))


def test_an_open_door_needs_no_token(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a repository that is gated no longer."""
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    access = weights_access(dataclasses.replace(GATED, weights="hub:lab/open"), ask_hub=True)
    assert (access.status, access.usable) == ("gated, accepted", True)
    assert access.detail == "12 MB downloaded from lab/open at first use"


@pytest.mark.parametrize("token", ["", "abc", "hf_short", "hf_with blank12", f"{SECRET}\n{SECRET}"])
def test_a_token_of_another_form_is_refused_unread(token: str) -> None:
    with pytest.raises(ConfigError, match="not a Hugging Face token") as caught:
        store_token(token)
    assert not token or token not in str(caught.value)


def test_a_token_is_kept_by_huggingface_hub_alone(server: str, tmp_path: Path) -> None:
    """In a process of its own, for huggingface_hub reads its environment when it is imported."""
    code = (
        "import sys, logging, traceback; logging.basicConfig(level=logging.DEBUG);"
        "from src_core.encoders.hub import store_token\n"
        "from src_core.encoders.hub_refusals import has_token\n"
        "try: store_token(sys.stdin.read()); print('kept', has_token())\n"
        "except Exception: traceback.print_exc()"
    )
    environment = {**os.environ, "HF_ENDPOINT": server, "HF_HOME": str(tmp_path / "home")}
    for name in ("HF_TOKEN", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        environment.pop(name, None)

    def enter(token: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            input=token,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )

    refused = enter(SECRET + "x")
    assert "refused the token (HTTP 401)" in refused.stderr
    accepted = enter(f" {SECRET}\n")
    assert "kept True" in accepted.stdout
    assert "Secret" not in refused.stdout + refused.stderr + accepted.stdout + accepted.stderr
    holders = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in holders} <= {"token", "stored_tokens", ".lock"}
