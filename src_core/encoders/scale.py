"""Whether patches are of the size and scale that an encoder was made for."""

from __future__ import annotations

from typing import Final

from src_core.encoders.cards import EncoderCard

__all__ = ["scale_note"]

_FACTOR: Final = 1.5
"""From which on it is said: 256 px where a card says 224 are common, twice the scale is not."""


def scale_note(card: EncoderCard, *, mpp: float, patch_px: int) -> str | None:
    """Return what to tell whoever embeds patches unlike those that an encoder was trained on.

    A note and no error: some do so on purpose, and an encoder of several scales has one in its
    card.

    Parameters
    ----------
    card : EncoderCard
        One without a scale of its own fits any.
    mpp : float
        Micrometres per pixel of the patches.
    patch_px : int
        Their side.

    Returns
    -------
    str or None
        A sentence, if scale or side in micrometres differ by more than 1.5 times.
    """
    if card.mpp is None:
        return None
    made, given = card.patch_px * card.mpp, patch_px * mpp
    if max(_ratio(mpp, card.mpp), _ratio(given, made)) <= _FACTOR:
        return None
    return (
        f"{card.name} was made for patches of {card.patch_px} px at {card.mpp:g} µm per pixel "
        f"({made:.0f} µm across), and these are {patch_px} px at {mpp:g} ({given:.0f} µm across): "
        "it may see little in them; grid.patch_px and grid.mpp set that."
    )


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
