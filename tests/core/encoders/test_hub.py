"""Answers of a simulated hub, each of them one sentence that says what to do, without the token."""

from __future__ import annotations

import dataclasses
import errno
import logging
import shutil
import time
import traceback
from pathlib import Path
from typing import IO, Any

import pytest
from huggingface_hub import constants, file_download

from src_core.encoders.access import weights_access
from src_core.encoders.hub import cached_file, hub_access, hub_file
from src_core.encoders.state_dicts import read_state_dict
from src_core.encoders.weights import fetch_weights
from src_core.errors import JobCancelled, WeightsUnavailableError
from src_core.progress import Progress, never
from tests.core.encoders.simulated_hub import (
    CARD,
    ETAG,
    GATED,
    SECRET,
    WEIGHTS,
    point_to,
    stored,
)


def refusal(cache: Path, caplog: pytest.LogCaptureFixture, repository: str, **details: Any) -> str:
    """The sentence for `repository`; nothing is left behind and no token is told."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(WeightsUnavailableError) as caught:
        hub_file(details.pop("card", CARD), repository, **details)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value)
    told += "".join(
        path.read_bytes().decode("latin-1") for path in cache.parent.rglob("*") if path.is_file()
    )
    assert "Secret" not in told
    assert stored(cache) == []
    assert cached_file(repository, "model.safetensors") is None
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for must in ("labnet", "CC-BY-NC-4.0", "fusecpath encoders --use labnet=FILE"):
        assert must in message
    return message


def test_a_file_is_fetched_once_and_then_found_without_the_hub(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Progress] = []
    path = hub_file(CARD, "lab/open", report=told.append)
    assert path.is_relative_to(cache)
    assert len(read_state_dict(CARD, path)["weight"]) == 100_000
    assert told[0].done == 0
    assert "labnet, 400 kB, CC-BY-NC-4.0" in told[0].detail
    point_to(monkeypatch, "http://127.0.0.1:9")
    assert hub_file(CARD, "lab/open") == path
    assert weights_access(CARD).status == "cached"
    fetch_weights(CARD, report=told.append, stop=never)


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ("gated", ("has no access to it yet", "request access on", "hf auth login", "HF_TOKEN")),
        ("private", ("wrong or has expired", "hf auth login", "HF_TOKEN")),
        ("scoped", ("does not let your", "allow it to read gated")),
        ("busy", ("429", "wait")),
        ("broken", ("503", "later")),
        ("none", ("is not there", "hf auth login")),
        ("wrong", ("damaged", "try again")),
    ],
)
def test_a_refusal_is_one_sentence_without_a_token(
    server: str,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    repository: str,
    words: tuple[str, ...],
) -> None:
    message = refusal(cache, caplog, f"lab/{repository}", card=GATED)
    assert all(word in message for word in words)
    if repository != "wrong":
        assert f"{server}/lab/{repository}" in message


def test_a_gated_page_says_when_nobody_is_logged_in(
    server: str,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    message = refusal(cache, caplog, "lab/gated", card=GATED)
    assert "nobody is logged in" in message
    assert "hf auth login" in message


def test_a_file_that_the_repository_lacks_is_named(
    server: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "has no other.bin" in refusal(cache, caplog, "lab/open", filename="other.bin")
    pinned = dataclasses.replace(CARD, revision="v9")
    assert "other.bin of v9" in refusal(
        cache, caplog, "lab/open", filename="other.bin", card=pinned
    )


def test_a_file_that_never_comes_whole_is_given_up(
    server: str,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    message = refusal(cache, caplog, "lab/short")
    assert "cannot be reached" in message or "less than the whole" in message


def test_a_file_that_is_not_the_cards_is_removed(
    server: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pinned = dataclasses.replace(CARD, weights=f"sha256:{'1' * 64}", repository="lab/open")
    assert "of another version" in refusal(cache, caplog, "lab/open", card=pinned)
    exact = dataclasses.replace(pinned, weights=f"sha256:{ETAG}")
    assert hub_file(exact, "lab/open").is_file()


@pytest.mark.parametrize("offline", [False, True])
def test_an_unreachable_hub_is_told_within_seconds(
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    offline: bool,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    start = time.monotonic()
    assert "cannot be reached" in refusal(cache, caplog, "lab/open")
    assert time.monotonic() - start < 5
    assert not cache.exists()


def test_a_silent_hub_is_given_up_within_seconds(
    cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://user:{SECRET}@127.0.0.1:{silent.getsockname()[1]}"
        point_to(monkeypatch, address)
        start = time.monotonic()
        assert "cannot be reached" in refusal(cache, caplog, "lab/open")
        assert time.monotonic() - start < 5


def full_disk(temporary: Path, stream: IO[bytes]) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_left_clean(
    server: str,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", lambda *args, **details: full_disk(*args[:2]))
        assert "no room; make room, or set HF_HOME" in refusal(cache, caplog, "lab/open")
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "no room for 400 kB" in refusal(cache, caplog, "lab/open")


def test_a_folder_that_is_not_ours_is_told(
    server: str,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(*args: object, **details: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(file_download, "http_get", locked)
    assert "cannot be written to; set HF_HOME" in refusal(cache, caplog, "lab/open")


def test_a_download_is_stopped_between_its_pieces(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    asked = iter([False] * 5)
    with pytest.raises(JobCancelled):
        hub_file(CARD, "lab/open", stop=lambda: next(asked, True))
    assert stored(cache) == []
    assert hub_file(CARD, "lab/open").stat().st_size == len(WEIGHTS)


def test_a_token_that_no_header_can_carry_is_told_and_not_quoted(
    server: str, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for odd in ("\x01", "ä", " "):
        monkeypatch.setenv("HF_TOKEN", f"{SECRET}{odd}{SECRET}")
        assert "characters that no token has" in refusal(cache, caplog, "lab/open")
        assert hub_access(CARD, "lab/open") == "refused"
