"""What the hub or the machine may refuse, each as one sentence with the ways out.

Errors of the network are not chained to ours, for an HTTP library may quote the header that it
could not send, and with it the token.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from src_core.encoders.cards import EncoderCard
from src_core.errors import WeightsUnavailableError

__all__ = [
    "cache_folder",
    "check_token",
    "existing",
    "has_token",
    "hub_endpoint",
    "hub_name",
    "lacking",
    "network_errors",
    "no_room",
    "one_sentence",
    "size_text",
]

_PRINTABLE = re.compile(r"[!-~]+")


def hub_endpoint() -> str:
    """Return the hub's address as huggingface_hub was told it."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_name() -> str:
    """Return the hub's address as it may be shown, without a name or password in it."""
    parts = urlsplit(hub_endpoint())
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def cache_folder() -> Path:
    """Return where huggingface_hub keeps what it downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def existing(folder: Path) -> Path | None:
    """Return a folder, or the nearest above it that is there; None on a drive that is not."""
    return next((one for one in (folder, *folder.parents) if one.exists()), None)


def has_token() -> bool:
    """Return whether huggingface_hub has a token, without looking at it."""
    from huggingface_hub import get_token

    return get_token() is not None


def check_token(card: EncoderCard) -> None:
    """Raise if the token cannot be sent; an HTTP library would quote it in its error."""
    from huggingface_hub import get_token

    token = get_token()
    if token is not None and not _PRINTABLE.fullmatch(token):
        why = "the Hugging Face token of this machine holds characters that no token has"
        raise lacking(card, why, "log in again with `hf auth login` or correct HF_TOKEN")


@contextlib.contextmanager
def one_sentence(card: EncoderCard, repository: str, filename: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one sentence with the page, the licence, the ways out.

    `from None`: what lies beneath may quote the request, and with it the token.
    """
    from huggingface_hub import errors

    page = f"{hub_name()}/{repository}"
    try:
        yield
    except errors.GatedRepoError:  # before RepositoryNotFoundError, its parent
        raise lacking(card, _why_gated(card, page), f"request access on {page}") from None
    except errors.LocalEntryNotFoundError:  # before EntryNotFoundError, its parent
        raise _unreachable(card, page) from None
    except (
        errors.RepositoryNotFoundError,
        errors.EntryNotFoundError,
        errors.RevisionNotFoundError,
    ):
        of = f" of {card.revision}" if card.revision else ""
        why = f"{page} is not there, is private, or has no {filename}{of}"
        raise lacking(card, why, "if it is private, log in with `hf auth login`") from None
    except errors.HfHubHTTPError as error:
        raise _refused(card, page, error.response.status_code) from None
    except WeightsUnavailableError:  # an OSError too
        raise
    except OSError as error:
        raise _of_system(card, page, error) from None
    except network_errors(RuntimeError, ValueError):  # RuntimeError is of the Xet protocol
        raise _unreachable(card, page) from None


def lacking(card: EncoderCard, why: str, remedy: str) -> WeightsUnavailableError:
    """Return the sentence: which weights, their licence, why not, and every way out."""
    login = ", log in with `hf auth login` or set HF_TOKEN" if card.gated else ""
    if "hf auth login" in remedy:
        login = ""
    return WeightsUnavailableError(
        f"The weights of {card.name} (licence: {card.licence}) are not here, and {why}; "
        f"{remedy}{login}, or give a file of them with fusecpath encoders --use {card.name}=FILE."
    )


def no_room(card: EncoderCard, size: int | None) -> WeightsUnavailableError:
    """Return the sentence for a full disk."""
    needed = "" if size is None else f" for {size_text(size)}"
    why = f"the disk of {cache_folder()} has no room{needed}"
    return lacking(card, why, "make room, or set HF_HOME to a folder on another disk")


def network_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return `more` and what huggingface_hub's HTTP library raises, another one in each release."""
    from huggingface_hub.errors import HfHubHTTPError

    bases = tuple(base for base in HfHubHTTPError.__mro__ if base.__module__ != "builtins")
    return (OSError, *more, *(base for base in bases if issubclass(base, Exception)))


def size_text(n_bytes: float) -> str:
    """Return a size for people, in powers of 1000 as on the hub's pages: ``"1.2 GB"``."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def _why_gated(card: EncoderCard, page: str) -> str:
    if has_token():
        return f"{page} is gated and your account has no access to it yet"
    return f"{page} is gated and nobody is logged in"


def _unreachable(card: EncoderCard, page: str) -> WeightsUnavailableError:
    return lacking(card, f"{page} cannot be reached", "connect to the network once")


def _refused(card: EncoderCard, page: str, status: int) -> WeightsUnavailableError:
    if status == 401:
        why = f"{page} refused the Hugging Face token, which is wrong or has expired"
        return lacking(card, why, "log in again with `hf auth login` or correct HF_TOKEN")
    if status == 403:
        why = f"{page} does not let your Hugging Face token read it"
        remedy = "allow it to read gated repositories and log in again with `hf auth login`"
        return lacking(card, why, remedy)
    if status == 429:
        why = f"{page} answers too many requests for now (HTTP 429)"
        return lacking(card, why, "wait some minutes")
    return lacking(card, f"{page} has trouble (HTTP {status})", "try again later")


def _of_system(card: EncoderCard, page: str, error: OSError) -> WeightsUnavailableError:
    """Tell a full or locked disk from a broken connection."""
    folder = cache_folder()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_room(card, None)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        why = f"{folder} cannot be written to"
        return lacking(card, why, "set HF_HOME to a folder of yours")
    if "Consistency check failed" in str(error):
        return lacking(card, f"{page} sent less than the whole file", "try again")
    return _unreachable(card, page)
