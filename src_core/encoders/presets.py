"""Encoders that go well together, by one name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["PRESETS", "Preset", "PresetName"]

PresetName: TypeAlias = Literal["paper", "open", "offline"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Patch encoders, and the slide encoders to distil from."""

    title: str
    """For people, in a word or two."""
    about: str
    """In a few words which they are, and what they ask for."""
    encoders: tuple[str, ...]
    teachers: tuple[str, ...] = ()


PRESETS: dict[PresetName, Preset] = {
    "offline": Preset(
        "Offline",
        "Small stand-ins, without network, token or GPU; never trained on tissue",
        ("lite0", "texture"),
    ),
    "open": Preset(
        "Open",
        "Pathology encoders that everybody may download, of each family one",
        ("phikon-v2", "midnight12k", "h-optimus-0", "gpfm", "kaiko-vitl14", "lunit-vits8"),
    ),
    "paper": Preset(
        "Paper",
        "Those of arXiv 2510.27237, with its teachers; all of them are gated",
        ("conch_v15", "virchow2", "gigapath"),
        ("gigapath-slide", "titan", "prism"),
    ),
}
