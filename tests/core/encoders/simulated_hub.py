"""A simulated hub, and an empty cache for what is downloaded from it.

The server is a real one and huggingface_hub talks to it over HTTP; only the address is changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from src_core.encoders import encoder_card, hub, hub_refusals

__all__ = [
    "AGREED",
    "CARD",
    "COMMIT",
    "ETAG",
    "GATED",
    "SECRET",
    "WEIGHTS",
    "empty_cache",
    "point_to",
    "running_hub",
    "stored",
]

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


def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache; the hub is a closed port, and the token is never to be shown."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(tmp_path / "weights.json"))
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    point_to(monkeypatch, "http://127.0.0.1:9")
    return tmp_path / "hub"


@contextmanager
def running_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address of a hub that is there for one test."""
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
