"""Whether patches are of the size and scale that an encoder was made for."""

from __future__ import annotations

from typing import Final

from src_core.encoders.cards import EncoderCard

__all__ = ["scale_note", "unlike_card"]

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
    unlike = unlike_card(card, mpp=mpp, patch_px=patch_px)
    if unlike is None:
        return None
    return f"{unlike}: it may see little in them; grid.patch_px and grid.mpp set that."


def unlike_card(card: EncoderCard, *, mpp: float, patch_px: int) -> str | None:
    """Return in what patches are unlike those that an encoder was made for, or None.

    An encoder that reads patches of its own lattice and no others was made for so many pixels;
    for the others a side that is up to 1.5 times another will do, as `scale_note` says.
    """
    if card.mpp is None:
        return None
    made, given = card.patch_px * card.mpp, patch_px * mpp
    is_near = max(_ratio(mpp, card.mpp), _ratio(given, made)) <= _FACTOR
    if is_near and (patch_px == card.patch_px or not card.own_lattice):
        return None
    return (
        f"{card.name} was made for patches of {card.patch_px} px at {card.mpp:g} µm per pixel "
        f"({made:.0f} µm across), and these are {patch_px} px at {mpp:g} ({given:.0f} µm across)"
    )


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
