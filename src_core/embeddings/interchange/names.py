"""What other programs call the encoders, and what this one does."""

from __future__ import annotations

import re

from src_core.encoders.registry import encoder_card
from src_core.errors import ExchangeError, UnknownEncoderError

__all__ = ["check_dim", "differences", "known_name", "trident_name"]

_NAMES = {
    "uni": "uni",
    "univ1": "uni",
    "uni2": "uni2-h",
    "univ2": "uni2-h",
    "uni2h": "uni2-h",
    "conch": "conch",
    "conchv1": "conch",
    "conch15": "conch_v15",
    "conchv15": "conch_v15",
    "virchow": "virchow",
    "virchow2": "virchow2",
    "virchowfull": "virchow",
    "gigapath": "gigapath",
    "provgigapath": "gigapath",
    "hoptimus0": "h-optimus-0",
    "hoptimus1": "h-optimus-1",
    "h0mini": "h0-mini",
    "phikon": "phikon",
    "phikonv2": "phikon-v2",
    "midnight": "midnight12k",
    "hibou": "hibou-l",
    "hiboul": "hibou-l",
    "hiboub": "hibou-b",
    "chiefctranspath": "chief-ctranspath",
    "xiyuewangctranspath": "ctranspath",
    "mahmoodconch": "conch",
    "mahmoodconch15": "conch_v15",
    "mahmoodconchv15": "conch_v15",
    "mahmoodtitan": "titan",
    "paigeaiprism": "prism",
    "mahmooduni": "uni",
    "mahmooduni2": "uni2-h",
    "resnet50": "resnet50-truncated",
    "resnet50trunc": "resnet50-truncated",
}
"""Without capitals and signs, which each program sets in its own way."""

_NAMES_OF = {"trident": {"ctranspath": "chief-ctranspath"}}
"""What a name means in one program alone: TRIDENT's ctranspath has the weights that come with CHIEF
(``trident/patch_encoder_models/load.py``), STAMP's has those of its authors."""

_TRIDENTS = {
    "chief-ctranspath": "ctranspath",
    "conch": "conch_v1",
    "ctranspath": "xiyuewang-ctranspath",  # not CHIEF's, which TRIDENT calls so
    "gigapath-slide": "gigapath",
    "h-optimus-0": "hoptimus0",
    "h-optimus-1": "hoptimus1",
    "hibou-l": "hibou_l",
    "phikon-v2": "phikon_v2",
    "resnet50-truncated": "resnet50",
    "uni": "uni_v1",
    "uni2-h": "uni_v2",
}
"""What TRIDENT calls encoders that have another name here."""

_DIFFERENCES = {
    ("trident", "lunit-vits8"): "TRIDENT scales the colours of lunit-vits8 by ImageNet's "
    "statistics and crops a tenth, as the settings beside the converted weights say; this program "
    "scales them by Lunit's own and crops nothing, so what both make is not the same"
}
"""Encoders that a program shows its patches to in another way than this one."""

_MEAN = "mean-"

_TRAPS = {
    ("virchow2", 1280): "1280 numbers are its class token alone; this program's are the class "
    "token and the mean of the patch tokens, 2560",
    ("virchow", 1280): "1280 numbers are its class token alone; this program's are the class "
    "token and the mean of the patch tokens, 2560",
    ("midnight12k", 1536): "1536 numbers are its class token alone; this program's are the class "
    "token and the mean of the patch tokens, 3072",
    ("h0-mini", 768): "768 numbers are its class token alone; this program's are the class token "
    "and the mean of the patch tokens, 1536",
    ("conch_v15", 1024): "1024 numbers are what comes before its pooling; TITAN reads 768",
}


def known_name(name: str, *, tool: str | None = None) -> str:
    """Return this program's name of an encoder that another program calls `name`.

    A name that is not known stays as it is.

    Parameters
    ----------
    name : str
        As it stands in the file, be it with the hashes that STAMP puts behind it.
    tool : str, optional
        The program: one name may mean different weights in two of them.
    """
    if name.startswith(_MEAN):
        return _MEAN + known_name(name.removeprefix(_MEAN), tool=tool)
    stem = re.sub(r"(-[0-9a-f]{8})+$", "", name.strip())
    stem = re.sub(r"^STAMP-extract-v[0-9.]+_", "", stem)
    plain = re.sub(r"[^a-z0-9]", "", stem.lower())
    own = _NAMES_OF.get(tool or "", {}).get(plain)
    if own is not None:
        return own
    for candidate in dict.fromkeys((_NAMES.get(plain, stem), stem, stem.lower())):
        if _card_dim(candidate) is not None:
            return candidate
    return _NAMES.get(plain, stem)


def trident_name(name: str) -> str:
    """Return TRIDENT's name of the encoder called `name` here; one that it lacks keeps its own."""
    if name.startswith(_MEAN):
        return _MEAN + trident_name(name.removeprefix(_MEAN))
    return _TRIDENTS.get(name, name)


def differences(name: str, *, tool: str) -> tuple[str, ...]:
    """Say in what a program's embeddings by the encoder called `name` here are unlike ours."""
    note = _DIFFERENCES.get((tool, name))
    return () if note is None else (note,)


def check_dim(name: str, dim: int, *, where: str) -> None:
    """Raise if embeddings of length `dim` cannot be those of the encoder called `name`.

    Raises
    ------
    ExchangeError
        If the encoder is known and its embeddings always have another length, or the length is one
        that another program is known to cut them to.
    """
    if _varies(name):
        return
    wanted = _card_dim(name)
    trap = _TRAPS.get((name, dim))
    if wanted == dim or (wanted is None and trap is None):
        return
    why = trap or f"its card says {wanted}"
    raise ExchangeError(
        f"{where} holds {dim} numbers a patch, and {name} does not make that many ({why}); "
        "give the encoder a name of its own."
    )


def _varies(name: str) -> bool:
    try:
        return encoder_card(name).varies
    except UnknownEncoderError:
        return False


def _card_dim(name: str) -> int | None:
    try:
        return encoder_card(name).dim if not name.startswith("timm:") else None
    except UnknownEncoderError:
        return None
