"""Pictures that come with scikit-image, so that no test of an encoder needs a download."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from src_core.types import Rgb


@pytest.fixture(scope="session")
def tissue() -> Rgb:
    """Four patches of 256 px of real stained tissue (colon, haematoxylin and DAB)."""
    picture = data.immunohistochemistry()  # (512, 512, 3)
    corners = [(y, x) for y in (0, 256) for x in (0, 256)]
    return np.stack([picture[y : y + 256, x : x + 256] for y, x in corners])


@pytest.fixture(scope="session")
def blank() -> Rgb:
    """White, black and grey patches without any structure."""
    return np.stack([np.full((256, 256, 3), level, np.uint8) for level in (255, 0, 128)])
