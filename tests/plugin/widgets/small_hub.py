"""A hub of our own, for a window and for its engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.hf_api
import pytest
from huggingface_hub import constants

__all__ = ["SECRET", "asks_the_hub", "serving_hub"]

SECRET = "hf_" + "Secret" * 5
OPENED = "/MahmoodLab/UNI2-h/"

# The hub's address is told to an engine when it starts.
asks_the_hub = pytest.mark.parametrize("own_engine", [True])


class Hub(BaseHTTPRequestHandler):
    """Knows one token, which opens one of the gated repositories."""

    def do_HEAD(self) -> None:
        knows = self.headers.get("Authorization") == f"Bearer {SECRET}"
        if self.path == "/" or (knows and OPENED in self.path):
            self.reply(200, {"ETag": '"abc"', "X-Repo-Commit": "c" * 40})
        else:
            self.reply(403 if knows else 401, {"X-Error-Code": "GatedRepo"})

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {SECRET}":
            self.reply(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        account = {"name": "me", "auth": {"accessToken": {"displayName": "mine", "role": "read"}}}
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(account).encode())

    def reply(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a hub for the window and for engines that start meanwhile; nobody is logged in."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address, kept = f"http://127.0.0.1:{running.server_port}", folder / "huggingface"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in {
        "HF_ENDPOINT": address,
        "HF_HOME": str(kept),
        "FUSECPATH_WEIGHTS": str(folder / "weights.json"),
        "FUSECPATH_TRUSTED_CODE": str(folder / "trusted.json"),
        "FUSECPATH_PACE": str(folder / "pace.json"),  # to the window; its engine has another
    }.items():
        monkeypatch.setenv(name, value)
    for name, path in {
        "HF_HUB_CACHE": kept / "hub",
        "HF_TOKEN_PATH": kept / "token",
        "HF_STORED_TOKENS_PATH": kept / "stored_tokens",
    }.items():
        monkeypatch.setattr(constants, name, str(path))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", address)
    try:
        yield address
    finally:
        running.shutdown()
        thread.join()
        running.server_close()
