from __future__ import annotations

import pytest

from src_core.encoders.registry import encoder_card
from src_core.encoders.scale import scale_note


@pytest.mark.parametrize(
    ("name", "mpp", "patch_px", "is_told"),
    [
        ("virchow2", 0.5, 224, False),
        ("virchow2", 0.5, 256, False),  # the grid as it comes
        ("virchow2", 0.7, 224, False),
        ("virchow2", 4.0, 64, True),
        ("virchow2", 0.5, 64, True),  # right scale, small patch
        ("virchow2", 1.0, 112, True),  # right patch, coarse
        ("virchow2", 0.25, 448, True),
        ("lite0", 4.0, 64, False),  # made for no scale
    ],
)
def test_patches_unlike_those_of_the_training_are_noted(
    name: str, mpp: float, patch_px: int, is_told: bool
) -> None:
    note = scale_note(encoder_card(name), mpp=mpp, patch_px=patch_px)
    assert (note is not None) == is_told
    if note is not None:
        assert note.startswith(
            "virchow2 was made for patches of 224 px at 0.5 µm per pixel (112 µm "
        )
        assert f"these are {patch_px} px at {mpp:g} ({patch_px * mpp:.0f} µm across)" in note
