"""Which boxes step 2 has, in which groups, and which of them are ticked."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtWidgets import QCheckBox

from src_core.encoders.registry import encoder_card, import_problem, list_encoders

__all__ = ["encoder_groups", "is_mean", "set_quietly", "tick", "ticked"]


def encoder_groups() -> dict[str, list[str]]:
    """Return the patch encoders by what they ask of the user, least first."""
    groups: dict[str, list[str]] = {
        "": [],
        "Open pathology encoders": [],
        "Gated pathology encoders": [],
        "Import only": [],
    }
    for name in list_encoders("patch"):
        card = encoder_card(name)
        if import_problem(name) is not None:
            groups["Import only"].append(name)
        elif card.repository is None:
            groups[""].append(name)
        else:
            groups[f"{'Gated' if card.gated else 'Open'} pathology encoders"].append(name)
    return groups


def is_mean(name: str) -> bool:
    """Tell whether a slide encoder is the mean of a patch encoder."""
    return name.startswith("mean-")


def ticked(boxes: Mapping[str, QCheckBox]) -> list[str]:
    """Return the names of the boxes that are ticked."""
    return [name for name, box in boxes.items() if box.isChecked()]


def tick(boxes: Mapping[str, QCheckBox], names: tuple[str, ...]) -> None:
    """Tick the boxes of these names that can be, and no others, without a signal."""
    for name, box in boxes.items():
        set_quietly(box, name in names and box.isEnabled())


def set_quietly(box: QCheckBox, on: bool) -> None:
    """Tick a box or not, without a signal."""
    box.blockSignals(True)
    box.setChecked(on)
    box.blockSignals(False)
