"""Encoders that go well together, by one name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["PRESETS", "Preset", "PresetName"]

PresetName: TypeAlias = Literal["paper", "open", "offline"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Patch encoders, and the slide encoders to distil from."""

    encoders: tuple[str, ...]
    teachers: tuple[str, ...] = ()


PRESETS: dict[PresetName, Preset] = {
    "paper": Preset(("conch_v15", "virchow2", "gigapath"), ("gigapath-slide", "titan", "prism")),
    "open": Preset(
        ("phikon-v2", "midnight12k", "h-optimus-0", "gpfm", "kaiko-vitl14", "lunit-vits8")
    ),
    "offline": Preset(("lite0", "texture")),
}
"""``paper``: those of arXiv 2510.27237, all of them gated; ``open``: of pathology, given to
everybody, of each family one; ``offline``: without network, token or GPU."""
