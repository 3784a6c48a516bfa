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
    "remote_problem",
]

_VARIABLE = "FUSECPATH_TRUSTED_CODE"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PIP = {
    "titan": "'transformers>=4.46,<5' einops einops-exts",
    "prism": "'transformers>=4.46,<5' einops environs sacremoses",
}
"""What the code of a model imports."""


def brings_code(card: EncoderCard) -> bool:
    """Return whether a model's code comes with its weights."""
    return card.name in _PIP


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


def remote_problem(card: EncoderCard) -> str | None:
    """Return in a sentence why the model's code cannot be run here, or None; imports nothing."""
    if not brings_code(card):
        return None
    other = "or import its slide embedding"
    if agreed_revision(card) is None:
        commit = "" if card.revision else "@COMMIT"
        return (
            f"{card.name} runs code of {card.source_url} (licence: {card.licence}) on this "
            f"machine; read it and agree to it (trust_remote_code {card.name}{commit}), {other}."
        )
    try:
        found = version("transformers")
    except PackageNotFoundError:
        return f"{card.name} needs transformers; run pip install {_PIP[card.name]}, {other}."
    if int(found.split(".")[0]) >= 5:
        return (
            f"The code of {card.name} does not work with transformers {found}; "
            f"run pip install {_PIP[card.name]}, {other}."
        )
    return None


def by_its_authors(card: EncoderCard, *, did: str = "broke down") -> AbstractContextManager[None]:
    """Run code that came with the weights of `card`: whatever it raises is that encoder's failure.

    Nothing of ours belongs inside, for a bug would be taken for theirs.
    """
    return as_failure_of(
        card.name,
        did=did,
        remedy=f"its code is that of {card.source_url}, made for {_PIP[card.name]}: install "
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
    problem = remote_problem(card)
    if problem is not None:
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
                f"run pip install {_PIP[card.name]}, or import its slide embedding."
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
