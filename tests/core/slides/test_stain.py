from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.slides import open_slide
from src_core.slides.stain import stain_of


def test_a_fluorescence_slide_is_told_from_stained_ones(shared_data: Path) -> None:
    slides = shared_data / "slides"
    assert open_slide(slides / "test3-DAPI-2-387.ndpi").stain() == "fluorescence"
    assert open_slide(slides / "CMU-1-Small-Region.svs").stain() == "brightfield"


@pytest.mark.parametrize(
    ("fill", "stain"),
    [
        ({0: 1.0}, "fluorescence"),
        ({10: 0.9, 220: 0.01, 120: 0.09}, "fluorescence"),
        ({0: 0.6, 240: 0.3, 150: 0.1}, "brightfield"),  # black margins around glass
        ({120: 1.0}, "brightfield"),  # nothing but dark tissue
        ({243: 1.0}, "brightfield"),
    ],
)
def test_dark_without_glass_is_fluorescence(fill: dict[int, float], stain: str) -> None:
    values = np.concatenate([np.full(round(1000 * share), grey) for grey, share in fill.items()])
    assert stain_of(np.repeat(values.astype(np.uint8)[:, None], 3, axis=1)) == stain
