"""Stain, texture and nuclei of a patch as 91 named numbers: an encoder that learnt nothing.

A patch is first reduced to 128 x 128 pixels: at the usual 256 px and 0.5 µm per pixel one of
these *working pixels* is 1 µm, so areas read as µm² and distances as µm. Nothing below changes
(beyond rounding) when a patch of a multiple of 128 px is turned by 90 degrees or mirrored.

====== ===================== ===================================================================
 n     names                 what
====== ===================== ===================================================================
 21    ``h_mean`` ...        haematoxylin, eosin and residual optical density (h, e, r): mean,
                             standard deviation, quantiles 5, 25, 50, 75, 95 %
 3     ``corr_he`` ...       correlation of two of them over the pixels, 0 where one is constant
 1     ``tissue``            share of pixels with a mean optical density above 0.1
 10    ``h_lbp1_*``          uniform rotation-invariant local binary patterns of haematoxylin,
                             8 neighbours at radius 1: share of pixels per code
 18    ``h_lbp3_*``          the same, 16 neighbours at radius 3
 10    ``e_lbp2_*``          the same of eosin, 8 neighbours at radius 2
 10    ``h_energy_*``        log10 of the variance of h and of e that lies between blocks of
                             side 2^k and 2^(k+1), k = 0 to 4 (Haar energies)
 5     ``edge_*``            grey gradient: mean, standard deviation, 90 % quantile; coherence of
                             its direction over the patch, and mean over 16 x 16 blocks
 13    ``nuclei_*``          dark bodies in smoothed haematoxylin, above Otsu's threshold: share of
                             the patch, number per 10^4 working pixels, area (mean, sd, median,
                             90 %), density inside (mean, sd between nuclei), contrast with the
                             rest, elongation (mean, sd), distance to the nearest (mean, sd)
====== ===================== ===================================================================

Sources: colour deconvolution, Ruifrok and Johnston 2001; local binary patterns, Ojala,
Pietikainen and Maenpaa 2002; threshold, Otsu 1979.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.filters import threshold_otsu

from src_core.colours import mean_colour
from src_core.devices import DeviceName
from src_core.encoders.base import check_patches
from src_core.encoders.cards import EncoderCard
from src_core.types import Float32, Float64, Rgb

__all__ = ["TextureEncoder", "feature_names", "load_texture"]

_SIDE = 128
_STAINS = "her"
_QUANTILES = (5, 25, 50, 75, 95)
_LBP = (("h", 8, 1), ("h", 16, 3), ("e", 8, 2))
_SCALES = 5
_BLOCK = 16
_STEPS = 100.0
"""Levels of optical density that make one unit, before local binary patterns compare pixels."""
_MIN_NUCLEUS = 12
_MIN_DENSITY = 0.2
"""Haematoxylin below it is no nucleus, whatever the threshold: background has a histogram too."""
_EDGE = ("mean", "sd", "q90", "coherence", "local_coherence")
_NUCLEI = (
    *("share", "number", "area_mean", "area_sd", "area_median", "area_q90", "density"),
    *("density_sd", "contrast", "elongation_mean", "elongation_sd", "spacing_mean", "spacing_sd"),
)


class TextureEncoder:
    """The statistics of the module's table, on the CPU, the same bytes for the same patch."""

    def __init__(self, card: EncoderCard) -> None:
        self.card = card

    @property
    def batch_size(self) -> int:
        """One patch at a time."""
        return 1

    def encode(self, patches: Rgb) -> Float32:
        """Return embeddings; see :class:`~src_core.encoders.base.PatchEncoder`."""
        check_patches(patches)
        rows = np.empty((len(patches), self.card.dim), np.float32)
        for row, patch in zip(rows, patches, strict=True):
            row[:] = _describe(patch)
        return rows


def load_texture(card: EncoderCard, device: DeviceName, weights: Path | None) -> TextureEncoder:
    """Make the encoder; it computes on the CPU, whatever `device` is."""
    del device
    if weights is not None:
        raise ValueError(f"{card.name} has no weights to load")
    return TextureEncoder(card)


def feature_names() -> tuple[str, ...]:
    """Return the name of each dimension, in order; the module's table says what they mean."""
    spread = ["mean", "sd", *(f"q{q:02d}" for q in _QUANTILES)]
    names = [f"{stain}_{what}" for stain in _STAINS for what in spread]
    names += ["corr_he", "corr_hr", "corr_er", "tissue"]
    names += [f"{c}_lbp{r}_{code}" for c, n, r in _LBP for code in range(n + 2)]
    names += [f"{c}_energy_{k}" for c in "he" for k in range(_SCALES)]
    names += [f"edge_{what}" for what in _EDGE]
    return (*names, *(f"nuclei_{what}" for what in _NUCLEI))


def _describe(patch: Rgb) -> list[float]:
    # The 1 keeps black finite and makes white 0.
    density = -np.log10((_reduce(patch) + 1) / 256)  # (128, 128, 3)
    stains = _separate(density)  # (3, 128, 128)
    grey = mean_colour(density)  # (128, 128)
    values = [value for stain in stains for value in _spread(stain)]
    values += _correlations(stains)
    values.append(float(np.mean(grey > 0.1)))
    levels = np.rint(stains * _STEPS)
    for stain, neighbours, radius in _LBP:
        values += _binary_patterns(levels[_STAINS.index(stain)], neighbours, radius)
    values += _energies(stains[0]) + _energies(stains[1])
    return values + _edges(grey) + _nuclei(stains[0])


def _reduce(patch: Rgb) -> Float32:
    """Return the patch as float32 of 128 x 128 pixels, (128, 128, 3)."""
    factor, rest = divmod(len(patch), _SIDE)
    if factor and not rest:
        # The exact mean of a block is the same however the patch is turned; a resampler's is not.
        parts = (
            patch[y::factor, x::factor].astype(np.float32)
            for y in range(factor)
            for x in range(factor)
        )
        total: Float32 = np.add.reduce(list(parts)) / np.float32(factor**2)
        return total
    small = Image.fromarray(patch).resize((_SIDE, _SIDE), Image.Resampling.HAMMING)
    return np.asarray(small, np.float32)


@cache
def _unmixing() -> Float32:
    """Return the matrix from RGB optical density (rows) to the amounts of h, e and residual."""
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    unmixing: Float64 = np.linalg.inv(stains)
    return unmixing.astype(np.float32)


def _separate(density: Float32) -> Float32:
    matrix = _unmixing()
    # Written out: a matrix product may sum in another order on another machine.
    red, green, blue = np.ascontiguousarray(density.transpose(2, 0, 1))  # each (128, 128)
    return np.stack([red * m[0] + green * m[1] + blue * m[2] for m in matrix.T])  # (3, 128, 128)


def _spread(values: Float32) -> list[float]:
    ordered = np.sort(values, axis=None)
    quantiles = [float(ordered[round(q / 100 * (ordered.size - 1))]) for q in _QUANTILES]
    return [_mean(values), float(values.std(dtype=np.float64)), *quantiles]


def _correlations(stains: Float32) -> list[float]:
    centred = stains.astype(np.float64) - stains.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    found = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        scale = math.sqrt(_mean(centred[a] ** 2) * _mean(centred[b] ** 2))
        found.append(_mean(centred[a] * centred[b]) / scale if scale > 1e-8 else 0.0)
    return found


def _binary_patterns(levels: Float32, neighbours: int, radius: int) -> list[float]:
    """Return the share of pixels with each uniform pattern (code = ones), and of all others."""
    inner = levels[radius:-radius, radius:-radius]  # the pixels that have all neighbours
    # A hair below equality, so that rounding in the interpolation does not split equal levels.
    floor = inner - np.float32(1e-3)
    bits = [
        _shifted(levels, dy, dx, radius) >= floor for dy, dx in _circle(neighbours, radius)
    ]  # each (128 - 2 radius, 128 - 2 radius)
    ones = np.zeros(inner.shape, np.uint8)
    changes = np.zeros(inner.shape, np.uint8)
    for bit, before in zip(bits, [bits[-1], *bits[:-1]], strict=True):
        ones += bit
        changes += bit != before
    codes = np.where(changes <= 2, ones, neighbours + 1)
    counts = np.bincount(codes.ravel(), minlength=neighbours + 2)
    return [float(count) / inner.size for count in counts]


@cache
def _circle(neighbours: int, radius: int) -> tuple[tuple[float, float], ...]:
    turns = [2 * math.pi * k / neighbours for k in range(neighbours)]
    return tuple((round(-radius * math.sin(t), 5), round(radius * math.cos(t), 5)) for t in turns)


def _shifted(levels: Float32, dy: float, dx: float, radius: int) -> Float32:
    """Return the inner pixels' neighbours at (dy, dx), bilinearly interpolated."""
    top, left = math.floor(dy), math.floor(dx)
    down, right = dy - top, dx - left
    height, width = (side - 2 * radius for side in levels.shape)
    total: Float32 | None = None
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for col, col_weight in ((left, 1 - right), (left + 1, right)):
            weight = row_weight * col_weight
            if weight == 0:
                continue
            y, x = radius + row, radius + col
            part = levels[y : y + height, x : x + width] * np.float32(weight)
            total = part if total is None else total + part
    if total is None:
        raise ValueError("interpolation weights are all zero")
    return total


def _energies(stain: Float32) -> list[float]:
    """Return log10 of the variance lost at each halving of the resolution."""
    blocks = stain.astype(np.float64)
    power = _mean(blocks**2)
    found = []
    for _ in range(_SCALES):
        left, right = blocks[:, ::2], blocks[:, 1::2]
        rows = left + right  # (2 side, side)
        blocks = (rows[::2] + rows[1::2]) / 4  # (side, side): the mean of 2 x 2
        coarser = _mean(blocks**2)
        # Below 1e-6 lies the rounding of 8-bit pixels.
        found.append(math.log10(max(power - coarser, 0.0) + 1e-6))
        power = coarser
    return found


def _edges(grey: Float32) -> list[float]:
    down = (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2  # (126, 126)
    right = (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2  # (126, 126)
    size = np.hypot(down, right)
    ordered = np.sort(size, axis=None)
    tensor = np.stack([right**2, down**2, right * down])  # (3, 126, 126)
    padded = np.pad(tensor, ((0, 0), (1, 1), (1, 1)))  # (3, 128, 128)
    side = _SIDE // _BLOCK
    local = padded.reshape(3, side, _BLOCK, side, _BLOCK).sum(axis=(2, 4), dtype=np.float64)
    q90 = float(ordered[round(0.9 * (ordered.size - 1))])
    coherence = float(_coherence(local.sum(axis=(1, 2))))
    spread = float(size.std(dtype=np.float64))
    return [_mean(size), spread, q90, coherence, _mean(_coherence(local))]


def _coherence(tensor: Float64) -> Float64:
    """Return 0 for directions that cancel and for none, 1 for one direction; (3, ...) to (...)."""
    xx, yy, xy = tensor
    result: Float64 = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-9)
    return result


def _nuclei(haematoxylin: Float32) -> list[float]:
    smooth = ndimage.gaussian_filter(haematoxylin, 1.0, truncate=3.0)
    levels = np.clip(np.rint(smooth * _STEPS), 0, 255).astype(np.uint8)
    threshold = max(_MIN_DENSITY, float(threshold_otsu(levels)) / _STEPS)
    labels, n = ndimage.label(smooth > threshold)
    areas = np.bincount(labels.ravel(), minlength=n + 1)[1:]  # (n,)
    kept = np.flatnonzero(areas >= _MIN_NUCLEUS) + 1  # label of each nucleus
    if len(kept) == 0:
        return [0.0] * len(_NUCLEI)
    area = areas[kept - 1].astype(np.float64)
    sums = np.bincount(labels.ravel(), weights=haematoxylin.ravel(), minlength=n + 1)
    density = sums[kept] / area  # (nuclei,)
    inside = float(area.sum())
    rest = max(_SIDE**2 - inside, 1.0)
    outside = (float(haematoxylin.sum(dtype=np.float64)) - float(sums[kept].sum())) / rest
    mean_density = float(sums[kept].sum()) / inside
    elongation, spacing = _shapes(labels, kept, area)
    ordered = np.sort(area)
    return [
        inside / _SIDE**2,
        len(kept) / _SIDE**2 * 1e4,
        _mean(area),
        float(area.std()),
        float(np.median(area)),
        float(ordered[round(0.9 * (len(ordered) - 1))]),
        mean_density,
        float(density.std()),
        mean_density - outside,
        _mean(elongation),
        float(elongation.std()),
        _mean(spacing),
        float(spacing.std()),
    ]


def _shapes(
    labels: NDArray[np.int32], kept: NDArray[np.intp], area: Float64
) -> tuple[Float64, Float64]:
    """Return the elongation of each nucleus (0 round, 1 a line) and the way to its neighbour."""
    y, x = np.nonzero(labels)
    label = labels[y, x]
    size = int(labels.max()) + 1

    def moment(values: NDArray[np.intp]) -> Float64:
        return np.bincount(label, weights=values, minlength=size)[kept] / area  # (nuclei,)

    cx, cy = moment(x), moment(y)
    # A pixel is a square of side 1: 1/12 is its own variance, so no body is a bare line.
    xx, yy = moment(x * x) - cx**2 + 1 / 12, moment(y * y) - cy**2 + 1 / 12
    xy = moment(x * y) - cx * cy
    elongation: Float64 = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    if len(kept) == 1:
        return elongation, np.array([float(_SIDE)])
    centres = np.column_stack([cx, cy])  # (nuclei, 2)
    distances, _ = cKDTree(centres).query(centres, k=2)  # (nuclei, 2): itself, then the nearest
    return elongation, np.asarray(distances[:, 1], np.float64)


def _mean(values: Float32 | Float64) -> float:
    return float(np.mean(values, dtype=np.float64))
