"""Weights from the Hugging Face cache or hub: one sentence for whatever goes wrong.

Nothing here reads, keeps or tells a token: huggingface_hub does all of it. Errors of the network
are not chained to ours, for an HTTP library may quote the header that it could not send.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from src_core.encoders.cards import EncoderCard
from src_core.encoders.hub_refusals import (
    cache_folder,
    check_token,
    existing,
    has_token,
    hub_endpoint,
    hub_name,
    lacking,
    network_errors,
    no_room,
    one_sentence,
    size_text,
)
from src_core.errors import ConfigError, WeightsUnavailableError
from src_core.progress import Progress, Report, Stop, check, ignore, never
from src_core.provenance import file_sha256

__all__ = [
    "HubAccess",
    "cache_size",
    "cached_file",
    "hub_access",
    "hub_answers",
    "hub_file",
    "store_token",
]

HubAccess: TypeAlias = Literal["open", "accepted", "refused", "no token", "absent", "unreachable"]

_CONNECT_SECONDS = 4.0
_MAX_RESTARTS = 5
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"hf_[A-Za-z0-9_]{8,200}")
_MEGABYTE = 10**6


def hub_file(
    card: EncoderCard,
    repository: str,
    filename: str | None = None,
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> Path:
    """Return a file of a Hugging Face repository, from the cache or else from the hub.

    The hub is asked once, with a short limit, before anything is downloaded: by itself
    huggingface_hub tries an unreachable hub five times, with growing pauses.

    Parameters
    ----------
    card : EncoderCard
        Whose weights they are; its `revision` is taken.
    repository : str
        ``owner/name``
    filename : str, optional
        The file in it; the card's by default.
    report, stop : callable
        Told of every piece of some megabytes and asked between them; see
        :mod:`src_core.progress`. Releases of huggingface_hub below 1.0 cannot, and with its Xet
        protocol `stop` is heard at the end.

    Raises
    ------
    WeightsUnavailableError
        If it is neither in the cache nor to be had: gated, unknown, no network, no room, damaged.
    JobCancelled
        If `stop` said so; no part of the file is left as if it were whole.
    """
    name = filename or card.filename
    cached = cached_file(repository, name, card.revision)
    if cached is not None:
        return cached
    with one_sentence(card, repository, name):
        path, etag = _download(card, repository, name, report, stop)
    check(stop)
    _check_arrived(card, path, etag)
    return path


def cached_file(repository: str, filename: str, revision: str | None = None) -> Path | None:
    """Return a file of the Hugging Face cache, or None; the network is not used."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(
        repository, filename, revision=revision, cache_dir=constants.HF_HUB_CACHE
    )
    return Path(found) if isinstance(found, str) else None


def hub_access(card: EncoderCard, repository: str) -> HubAccess:
    """Ask the hub, within seconds, whether this user may download from `repository`.

    ``"no token"``: it is gated and nobody is logged in; ``"refused"``: somebody is, but has not
    been accepted, or the token is not valid; ``"accepted"``: gated, and the user may.
    """
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        _knock()
        check_token(card)
        url = hf_hub_url(repository, card.filename, revision=card.revision, endpoint=hub_endpoint())
        get_hf_file_metadata(url, timeout=_CONNECT_SECONDS)
    except errors.GatedRepoError:  # before its parent
        return "refused" if has_token() else "no token"
    except (
        errors.RepositoryNotFoundError,
        errors.EntryNotFoundError,
        errors.RevisionNotFoundError,
    ):
        return "absent"
    except WeightsUnavailableError:
        return "refused"
    except errors.HfHubHTTPError as error:
        return "refused" if error.response.status_code in (401, 403) else "unreachable"
    except network_errors(ValueError):
        return "unreachable"
    return "accepted" if card.gated else "open"


def hub_answers() -> bool:
    """Return whether the hub answers at all, within seconds."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(hub_endpoint(), timeout=_CONNECT_SECONDS)
    except network_errors(ValueError):
        return False
    return True


def cache_size() -> int:
    """Return how many bytes of models the Hugging Face cache holds."""
    blobs = cache_folder().glob("models--*/blobs/*")
    return sum(blob.stat().st_size for blob in blobs if blob.is_file())


def store_token(token: str) -> None:
    """Hand a token to huggingface_hub, which asks the hub about it and keeps it.

    Raises
    ------
    ConfigError
        If it has not the form of a token, the hub refuses it, or cannot be reached. No message
        repeats it.
    """
    from huggingface_hub import login

    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            "This is not a Hugging Face token: one begins with hf_ and has letters and digits "
            f"only; copy it from {hub_name()}/settings/tokens."
        )
    try:
        login(token, add_to_git_credential=False)
    except network_errors(ValueError) as error:
        answer = getattr(error, "response", None)
        if answer is not None:
            raise ConfigError(
                f"The hub refused the token (HTTP {answer.status_code}); make a new one with the "
                f"right to read on {hub_name()}/settings/tokens."
            ) from None
        raise ConfigError(
            f"The token could not be checked, for {hub_name()} cannot be reached; connect to the "
            "network and enter it again."
        ) from None


def _knock() -> None:
    """Raise at once if nobody answers; huggingface_hub below 1.0 would try for half a minute."""
    if not hub_answers():
        raise ConnectionError


def _download(
    card: EncoderCard, repository: str, filename: str, report: Report, stop: Stop
) -> tuple[Path, str | None]:
    """Return the file in the cache, and the hub's ETag of it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    check(stop)
    check_token(card)
    _knock()
    endpoint = hub_endpoint()
    url = hf_hub_url(repository, filename, revision=card.revision, endpoint=endpoint)
    found = get_hf_file_metadata(url, timeout=_CONNECT_SECONDS)
    _check_room(card, found.size)
    details: dict[str, Any] = {}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:  # not below 1.0
        details["tqdm_class"] = _progress_bar(card, found.size, report, stop)
    path = hf_hub_download(
        repository,
        filename,
        revision=card.revision,
        endpoint=endpoint,
        cache_dir=cache_folder(),
        etag_timeout=_CONNECT_SECONDS,
        **details,
    )
    return Path(path), found.etag


def _check_room(card: EncoderCard, size: int | None) -> None:
    """Raise before a download that cannot end well."""
    folder = existing(cache_folder())
    if size is not None and folder is not None and shutil.disk_usage(folder).free < size:
        raise no_room(card, size)


def _check_arrived(card: EncoderCard, path: Path, etag: str | None) -> None:
    """Remove a download that is not what the hub or the card promised.

    The ETag of a large file is its SHA-256; that of a small one is Git's, which proves no more
    than the card can.
    """
    promised = (
        {card.weights.removeprefix("sha256:")} if card.weights.startswith("sha256:") else set()
    )
    if etag is not None and _SHA256.fullmatch(etag):
        promised.add(etag)
    if not promised or {file_sha256(path)} == promised:
        return
    blob = path.resolve()
    path.unlink()
    blob.unlink(missing_ok=True)
    why = "what was downloaded is damaged, or of another version than this release knows"
    raise lacking(card, why, "try again")


def _progress_bar(
    card: EncoderCard, size: int | None, report: Report, stop: Stop
) -> Callable[..., Any]:
    """Return what huggingface_hub takes for the class of a progress bar."""

    def bar(*args: Any, total: int | None = None, initial: int = 0, **details: Any) -> _Bar:
        del args, details
        return _Bar(card, total or size or 0, report, stop, initial)

    return bar


class _Bar:
    """The part of a tqdm bar that huggingface_hub uses; raising in `update` ends a download."""

    def __init__(
        self, card: EncoderCard, total: int, report: Report, stop: Stop, initial: int
    ) -> None:
        self.total, self.n = total, initial
        self._card, self._report, self._stop = card, report, stop
        self._best, self._restarts = initial, 0
        self.update(0)

    def update(self, n: float = 1) -> None:
        """Count bytes; fewer than none if a server begins again."""
        check(self._stop)
        self._restarts += n < 0
        if self._restarts > _MAX_RESTARTS:  # huggingface_hub would go on for ever
            raise ConnectionError("the server breaks off again and again")
        self.n += int(n)
        self._best = max(self._best, self.n)
        self._report(
            Progress(
                stage="Downloading weights",
                done=self._best // _MEGABYTE,
                total=max(self.total, self._best) // _MEGABYTE,
                unit="MB",
                detail=f"{self._card.name}, {size_text(self.total)}, {self._card.licence}",
            )
        )

    def set_postfix_str(self, *args: Any, **details: Any) -> None:
        """Show nothing."""

    def refresh(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Leave nothing behind."""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
