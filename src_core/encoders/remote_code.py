"""Models whose code comes with their weights: run only after the user has agreed, at one commit.

Such code may do on this machine whatever the user may. So it is loaded only if the user has
named the model, and only at the commit that they agreed to; the agreement is kept for the user in
``trusted-code.json`` in their configuration folder, or where ``FUSECPATH_TRUSTED_CODE`` says.
"""

from __future__ import annotations

import dataclasses
import os
import re
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from src_core.encoders.breakdown import as_failure_of
from src_core.encoders.cards import EncoderCard
from src_core.errors import ConfigError, ProjectError, WeightsUnavailableError
from src_core.locking import locked
from src_core.provenance import read_json, write_json

__all__ = [
    "agree",
    "agreed_card",
    "agreed_revision",
    "brings_code",
    "by_its_authors",
    "load_remote_model",
    "remote_problems",
]

_VARIABLE = "FUSECPATH_TRUSTED_CODE"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NEEDS = {
    "titan": ("transformers", "einops", "einops-exts"),
    "prism": ("transformers", "einops", "environs", "sacremoses"),
}
"""What the code of a model imports."""
_TOO_NEW = 5
"""Release of transformers that expects of a model what the code of neither has: TITAN's stops for
want of ``all_tied_weights_keys``, PRISM's has a list where a mapping is read."""
_TRANSFORMERS = f"'transformers>=4.46,<{_TOO_NEW}'"


def brings_code(card: EncoderCard) -> bool:
    """Return whether a model's code comes with its weights."""
    return card.name in _NEEDS


def agree(card: EncoderCard, revision: str | None = None) -> None:
    """Remember that the user lets the code of a model run, at one commit of its repository.

    Raises
    ------
    ConfigError
        If the model brings no code, or no commit is given and its card knows none.
    """
    if not brings_code(card):
        raise ConfigError(f"{card.name} brings no code of its own; there is nothing to agree to.")
    commit = revision or card.revision
    if commit is None or not _COMMIT.fullmatch(commit):
        raise ConfigError(
            f"Name the commit of {card.source_url} whose code you have read and trust, as "
            f"{card.name}@COMMIT with its 40 digits; it is under Files and versions, History."
        )
    with locked(_list().parent):
        write_json(_list(), _agreements() | {card.name: commit})


def agreed_revision(card: EncoderCard) -> str | None:
    """Return the commit at which the user lets the model's code run, or None."""
    return _agreements().get(card.name)


def agreed_card(card: EncoderCard) -> EncoderCard:
    """Return the card of the model at the commit that the user has agreed to, if there is one.

    Its `weights` name that commit, so that embeddings by another one are of another recipe.
    """
    commit = agreed_revision(card)
    if commit is None:
        return card
    return dataclasses.replace(card, weights=f"hub:{card.repository}@{commit}")


def remote_problems(card: EncoderCard) -> tuple[str, ...]:
    """Return what the model's code lacks to be run here, a sentence each; imports nothing.

    First the user's consent, then packages; empty for a model that brings no code.
    """
    if not brings_code(card):
        return ()
    found = []
    other = "or import its slide embedding"
    if agreed_revision(card) is None:
        commit = "" if card.revision else "@COMMIT"
        found.append(
            f"{card.name} runs code of {card.source_url} (licence: {card.licence}) on this "
            f"machine; read it and agree to it (trust_remote_code {card.name}{commit}), {other}."
        )
    releases = {name: _release(name) for name in _NEEDS[card.name]}
    missing = [name for name, release in releases.items() if release is None]
    release = releases["transformers"]
    if missing:
        names = ", ".join(missing)
        found.append(f"{card.name} needs {names}; run pip install {_pip(card)}, {other}.")
    elif release is not None and int(release.split(".")[0]) >= _TOO_NEW:
        found.append(
            f"The code of {card.name} does not work with transformers {release}; "
            f"run pip install {_pip(card)}, {other}."
        )
    return tuple(found)


def _release(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _pip(card: EncoderCard) -> str:
    return " ".join((_TRANSFORMERS, *_NEEDS[card.name][1:]))


def by_its_authors(card: EncoderCard, *, did: str = "broke down") -> AbstractContextManager[None]:
    """Run code that came with the weights of `card`: whatever it raises is that encoder's failure.

    Nothing of ours belongs inside, for a bug would be taken for theirs.
    """
    return as_failure_of(
        card.name,
        did=did,
        remedy=f"its code is that of {card.source_url}, made for {_pip(card)}: install "
        "these, compute on the CPU if memory was short, or import its slide embedding",
        is_foreign=True,
    )


def load_remote_model(card: EncoderCard) -> Any:
    """Return the model of `card` by its own code, at the commit that the user has agreed to.

    Raises
    ------
    WeightsUnavailableError
        If the user has not agreed, a package is missing or too new, or the files are not to be
        had.
    EncoderFailedError
        If the code breaks down.
    """
    for problem in remote_problems(card):
        raise WeightsUnavailableError(problem)
    revision = str(agreed_revision(card))
    what: dict[str, Any] = {"revision": revision, "code_revision": revision}
    with by_its_authors(card, did="cannot be loaded"):
        try:
            from transformers import AutoModel

            model = AutoModel.from_pretrained(str(card.repository), trust_remote_code=True, **what)
            return model.eval()
        except ImportError as error:
            raise WeightsUnavailableError(
                f"The code of {card.name} needs more packages ({str(error)[:200]}); "
                f"run pip install {_pip(card)}, or import its slide embedding."
            ) from error
        except OSError:  # transformers' word for gated, absent and unreachable alike
            # from None: what lies beneath may quote the request, and with it a token.
            raise WeightsUnavailableError(
                f"The weights of {card.name} (licence: {card.licence}) are not here and could not "
                f"be had; request access on {card.source_url}, log in with `hf auth login` or set "
                "HF_TOKEN, or import its slide embedding."
            ) from None


def _list() -> Path:
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else user_config_path("fusecpath", False) / "trusted-code.json"


def _agreements() -> dict[str, str]:
    path = _list()
    if not path.exists():
        return {}
    values = read_json(path)
    if not all(isinstance(one, str) and _COMMIT.fullmatch(one) for one in values.values()):
        raise ProjectError(f"{path} does not list commits by encoder; remove it and agree again.")
    return values
