"""Encoders by name: the card at once, the network when it is asked for.

Beside the names that :func:`list_encoders` gives there are two families without end:

``mean-<patch encoder>``
    the slide encoder that averages that encoder's embeddings;
``timm:<model>``
    any model of timm with its pretrained weights (from the Hugging Face cache or hub), and
    ``timm:<model>@random`` the same architecture, untrained, from a fixed seed: for tests and
    for speed. Their cards need timm, so a process that must not load torch asks another one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TypeAlias, cast

from src_core.devices import DeviceName
from src_core.encoders.access import Access, weights_access
from src_core.encoders.base import PatchEncoder, SlideEncoder
from src_core.encoders.breakdown import as_failure_of
from src_core.encoders.cards import STAND_INS, EncoderCard, EncoderKind, mean_card
from src_core.encoders.foundation_cards import FOUNDATION_CARDS
from src_core.encoders.import_cards import IMPORT_CARDS
from src_core.encoders.local_weights import local_file
from src_core.encoders.remote_code import brings_code, remote_problems
from src_core.encoders.slide_cards import SLIDE_CARDS
from src_core.encoders.weights import fetch_weights
from src_core.errors import UnknownEncoderError, WeightsUnavailableError
from src_core.progress import Report, Stop, ignore, never

__all__ = [
    "Loader",
    "create_encoder",
    "encoder_access",
    "encoder_card",
    "encoder_problem",
    "import_problem",
    "list_encoders",
    "register_encoder",
]

Loader: TypeAlias = Callable[[EncoderCard, DeviceName, Path | None], PatchEncoder | SlideEncoder]
"""Builds an encoder from its card, for a device, from a weights file if one is given."""

_MEAN = "mean-"
_TIMM = "timm:"
_MEAN_WEIGHTS = "mean:"


@dataclass(frozen=True, slots=True)
class _Entry:
    card: EncoderCard
    loader: str | None


_entries: dict[str, _Entry] = {}


def register_encoder(card: EncoderCard, *, loader: str | None) -> None:
    """Make an encoder known by its card.

    Parameters
    ----------
    card : EncoderCard
        Static: registering loads nothing.
    loader : str or None
        Where its `Loader` is, ``"package.module:function"``; imported when it is first needed.
        None if the encoder cannot be made here and its embeddings are imported.

    Raises
    ------
    ValueError
        If the name is taken or belongs to a family.
    """
    if card.name in _entries or card.name.startswith((_MEAN, _TIMM)):
        raise ValueError(f"encoder {card.name!r} is registered already")
    _entries[card.name] = _Entry(card, loader)


def list_encoders(kind: EncoderKind | None = None) -> tuple[str, ...]:
    """Return the names of the registered encoders and of the means of the patch encoders.

    Parameters
    ----------
    kind : {"patch", "slide"}, optional
        Only these.
    """
    cards = [entry.card for entry in _entries.values()]
    cards += [mean_card(card) for card in cards if card.kind == "patch"]
    return tuple(card.name for card in cards if kind in (None, card.kind))


def encoder_card(name: str) -> EncoderCard:
    """Return the card of the encoder called `name`, without loading its weights.

    Raises
    ------
    UnknownEncoderError
        If there is none; the message lists those that are there.
    """
    if name in _entries:
        return _entries[name].card
    if name.startswith(_MEAN) and not name.startswith(_MEAN * 2):
        patch = encoder_card(name.removeprefix(_MEAN))
        if patch.kind == "patch":
            return mean_card(patch)
    if name.startswith(_TIMM):
        from src_core.encoders.timm_encoders import timm_card

        return timm_card(name)
    close = difflib.get_close_matches(name, list_encoders(), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UnknownEncoderError(
        f"There is no encoder {name!r}; {hint}Choose one of {', '.join(list_encoders())}, "
        "timm:<model> or timm:<model>@random."
    )


def encoder_access(name: str, *, ask_hub: bool = False) -> Access:
    """Return how this machine and this user stand to the weights of an encoder.

    Loads nothing, and uses the network only if `ask_hub`: then for one question, of a few seconds
    at most, about weights that are not here. A mean needs what its patch encoder needs. What a
    model that brings its code lacks beside its weights is told apart from how they stand.
    """
    problem = import_problem(name)
    if problem is not None:
        return Access(status="import only", detail=problem)
    card = encoder_card(name)
    if card.weights.startswith(_MEAN_WEIGHTS):
        card = encoder_card(str(card.patch_encoder))
    return replace(weights_access(card, ask_hub=ask_hub), lacks=remote_problems(card))


def encoder_problem(name: str) -> str | None:
    """Return why the encoder is not ready, in a sentence, or None if nothing is missing.

    Looks at this machine only, loads nothing and never uses the network.
    """
    access = encoder_access(name)
    return next(iter(access.lacks), None if access.here else access.detail)


def import_problem(name: str) -> str | None:
    """Return how to import the embeddings of an encoder that has no code here, or None.

    Raises
    ------
    UnknownEncoderError
        If there is no such encoder.
    """
    card = encoder_card(name)
    if card.weights.startswith(_MEAN_WEIGHTS):
        card = encoder_card(str(card.patch_encoder))
    entry = _entries.get(card.name)
    if entry is None or entry.loader is not None:
        return None
    what = "patches" if card.kind == "patch" else "slides"
    return (
        f"{card.name} is not run here, for its code is its authors' own: embed the {what} with "
        f"the code of {card.source_url}, and take the embeddings in with fusecpath import."
    )


def create_encoder(
    name: str,
    *,
    device: DeviceName = "auto",
    weights: str | Path | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> PatchEncoder | SlideEncoder:
    """Return the encoder called `name`, its weights loaded.

    Parameters
    ----------
    name : str
        One of :func:`list_encoders`, or of the families in the module's text.
    device : {"auto", "cpu", "cuda", "mps"}
        Where it computes; some encoders know only the CPU.
    weights : path, optional
        A file to load instead of the one that would be found: in the user's list
        (:mod:`~src_core.encoders.local_weights`), a package, the Hugging Face cache, the hub. If it
        is another file than the card's, the encoder's own ``card`` says so, and so does its recipe.
    report, stop : callable
        For the download, if there is one; see :mod:`src_core.progress`.

    Raises
    ------
    UnknownEncoderError
        If there is no such encoder.
    WeightsUnavailableError
        If its weights are not here, gated, damaged or made for another network, or if its
        embeddings can only be imported.
    EncoderFailedError
        If it cannot be loaded, for want of memory perhaps.
    ConfigError
        If the device is not here.
    ProjectError
        If the user's list of weights is damaged.
    ValueError
        If `weights` is given to an encoder that has none.
    JobCancelled
        If `stop` said so.
    """
    card = encoder_card(name)
    problem = import_problem(name)
    for refusal in remote_problems(card) if problem is None else (problem,):
        raise WeightsUnavailableError(refusal)
    path = local_file(name) if weights is None else Path(weights)
    if path is None and not brings_code(card):  # such code fetches what it needs by itself
        fetch_weights(card, report=report, stop=stop)
    with as_failure_of(name, did="cannot be loaded"):
        return _loader(name)(card, device, path)


def _loader(name: str) -> Loader:
    if name in _entries:
        where = str(_entries[name].loader)
    elif name.startswith(_MEAN):
        where = "src_core.encoders.slide_encoders:load_mean"
    else:
        where = "src_core.encoders.timm_encoders:load_timm"
    module, _, function = where.partition(":")
    return cast(Loader, getattr(import_module(module), function))


for _card in STAND_INS:
    _family = "texture:load_texture" if _card.name == "texture" else "timm_encoders:load_lite"
    register_encoder(_card, loader=f"src_core.encoders.{_family}")
for _card, _slide_loader in SLIDE_CARDS.items():
    register_encoder(_card, loader=_slide_loader and f"src_core.encoders.{_slide_loader}")
for _card in FOUNDATION_CARDS:
    _family = "conch:load_conch" if _card.name == "conch_v15" else "foundation_timm:load_foundation"
    register_encoder(_card, loader=f"src_core.encoders.{_family}")
for _card in IMPORT_CARDS:
    register_encoder(_card, loader=None)
