"""Colours for clusters and classes that people with colour-blindness can tell apart."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["cluster_colors"]

_OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe and Ito's colours without black, which is lost on a dark canvas."""

_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
"""Linear RGB as a deuteranope sees it (Machado et al. 2009, severity 1)."""


@cache
def _palette(n: int) -> tuple[tuple[float, float, float], ...]:
    chosen = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in _OKABE_ITO]
    candidates = _candidates()
    seen = _appearance(candidates)
    gaps = np.full(len(candidates), np.inf)
    for colour in chosen:
        gaps = np.minimum(gaps, _distance(seen, _appearance(np.array([colour]))))
    while len(chosen) < n:
        # The colour that is farthest from all chosen ones, to whichever eye sees it closer.
        best = int(np.argmax(gaps))
        chosen.append(candidates[best].tolist())
        gaps = np.minimum(gaps, _distance(seen, seen[:, best : best + 1]))
    return tuple((r, g, b) for r, g, b in chosen[:n])


def cluster_colors(n: int) -> NDArray[np.float32]:
    """Return colours for `n` clusters; the first ones do not depend on `n`.

    The first seven are Okabe and Ito's. Each further one is the colour, among those neither too
    dark nor too pale to see on tissue, that lies farthest from all before it in OKLab, both as
    usually seen and as seen with deuteranopia.

    Parameters
    ----------
    n : int
        At least 0.

    Returns
    -------
    ndarray of float32, shape (n, 3)
        Red, green, blue from 0 to 1 (sRGB).
    """
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    return np.array(_palette(n), dtype=np.float32).reshape(n, 3)


def _candidates() -> NDArray[np.float64]:
    levels = np.linspace(0, 1, 16)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lightness = _oklab(_linear(rgb))[:, 0]
    return np.asarray(rgb[(lightness > 0.35) & (lightness < 0.92)])


def _appearance(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return OKLab of the colours for both kinds of eye, shape (2, n, 3)."""
    linear = _linear(rgb)
    return np.stack([_oklab(linear), _oklab(np.clip(linear @ _DEUTERANOPIA.T, 0, 1))])


def _distance(seen: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = np.linalg.norm(seen - one, axis=2)  # (2, n)
    # Deuteranopes lose a dimension, so their distances are smaller: half of them is asked for.
    return np.asarray(np.minimum(apart[0], 2 * apart[1]))


def _linear(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4))


def _oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert linear sRGB to OKLab (Ottosson 2020)."""
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(np.cbrt(linear @ to_lms.T) @ to_lab.T)
