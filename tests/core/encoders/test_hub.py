"""Answers of a simulated hub, each of them one sentence that says what to do, without the token.

The server is a real one and huggingface_hub talks to it over HTTP; only the address is changed.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from huggingface_hub import constants, file_download
from safetensors.torch import save

from src_core.encoders import (
    encoder_access,
    encoder_card,
    encoder_problem,
    hub,
    hub_refusals,
    registry,
    remote_code,
)
from src_core.encoders.access import weights_access
from src_core.encoders.hub import cached_file, hub_access, hub_file, store_token
from src_core.encoders.state_dicts import read_state_dict
from src_core.encoders.weights import fetch_weights
from src_core.errors import ConfigError, JobCancelled, WeightsUnavailableError
from src_core.progress import Progress, never

CARD = dataclasses.replace(
    encoder_card("lite2"),
    name="labnet",
    package=None,
    weights="hub:lab/open",
    licence="CC-BY-NC-4.0",
    download_mb=12,
)
GATED = dataclasses.replace(CARD, weights="hub:lab/gated", gated=True)
WEIGHTS = save({"weight": torch.arange(100_000.0)})
ETAG = hashlib.sha256(WEIGHTS).hexdigest()
COMMIT, AGREED = "c" * 40, "d" * 40
SECRET = "hf_" + "Secret" * 5
BAD_CREDENTIALS = {"X-Error-Message": "Invalid credentials in Authorization header"}


class Hub(BaseHTTPRequestHandler):
    """Repositories named after how they answer."""

    def answer(self, *, body: bool) -> None:
        _, owner, repository, *_ = [*self.path.split("/"), "", ""]
        if owner == "api":
            self.whoami()
            return
        refusals: dict[str, tuple[int, dict[str, str]]] = {
            "gated": (403 if self.token else 401, {"X-Error-Code": "GatedRepo"}),
            "private": (401, BAD_CREDENTIALS),
            "scoped": (403, {"X-Error-Message": "enable access to public gated repositories"}),
            "busy": (429, {}),
            "broken": (503, {}),
        }
        if repository in refusals:
            self.reply(*refusals[repository])
        elif repository not in {"open", "short", "wrong", "granted"}:
            self.reply(404, {"X-Error-Code": "RepoNotFound"})
        elif not self.path.endswith(("/model.safetensors", f"/{AGREED}/config.json")):
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            etag = "0" * 64 if repository == "wrong" else ETAG
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            self.reply(200, headers, WEIGHTS, body=body, short=repository == "short")

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def whoami(self) -> None:
        if self.token != SECRET:
            self.reply(401, BAD_CREDENTIALS)
            return
        account = {"name": "me", "auth": {"accessToken": {"displayName": "mine", "role": "read"}}}
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(account).encode())

    def reply(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes = b"",
        *,
        body: bool = True,
        short: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if short else content)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def log_message(self, *args: object) -> None:
        pass


def point_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for module in (hub, hub_refusals):
        monkeypatch.setattr(module, "hub_endpoint", lambda: address)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, a closed port for a hub, and a token never to be shown."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(tmp_path / "weights.json"))
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    point_to(monkeypatch, "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The hub's address."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{running.server_port}"
    point_to(monkeypatch, address)
    yield address
    running.shutdown()
    thread.join()
    running.server_close()


def stored(cache: Path) -> list[Path]:
    """Whatever could be taken for weights, or part of them."""
    folders = {"blobs", "snapshots"}
    return [path for path in cache.rglob("*") if path.is_file() and folders & {*path.parts}]


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
