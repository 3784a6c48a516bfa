"""Draw tissue that a microscope might show: two patterns in haematoxylin and eosin.

Stroma is wavy pink fibres with a few spindle nuclei; a nodule is nests of crowded, large, dark
nuclei around lumina. Both may hold aggregates of small round lymphocytes, so that dark blue alone
does not tell them apart, and every slide is stained a little differently. Everything is drawn as
the amount of two dyes and turned into colour by the Beer-Lambert law, as light does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from src_core.types import BoolArray, Float32, Rgb

__all__ = ["MASK_UM", "SlideTruth", "draw_square", "draw_tissue"]

MASK_UM: Final = 4.0
"""Side of a pixel of the truth masks, micrometres (rounded to whole level-0 pixels)."""

_HAEMATOXYLIN: Final = (0.65, 0.70, 0.29)
_EOSIN: Final = (0.14, 0.96, 0.23)
_STRIP_ROWS: Final = 64
_N_STAMPS: Final = 64
_NEST: Final = 0.75
_LUMEN: Final = 1.35
"""In a smooth field of deviation 1 a nest lies above -_NEST and its lumen above _LUMEN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideTruth:
    """What is where on a drawn slide."""

    tissue: BoolArray
    """Shape (rows, columns)."""
    nodule: BoolArray
    """Same shape; a part of `tissue`."""
    mask_px: int
    """Level-0 pixels per mask pixel; mask and slide share their top-left corner."""


@dataclass(frozen=True, slots=True)
class _Canvas:
    """The amounts of dye, and how pixels and micrometres go together."""

    haematoxylin: Float32
    eosin: Float32
    mpp: float
    mask_px: int
    rng: np.random.Generator

    def strips(self) -> Iterator[slice]:
        """Cut the rows into strips that stay in the processor's cache."""
        for row in range(0, len(self.eosin), _STRIP_ROWS):
            yield slice(row, min(row + _STRIP_ROWS, len(self.eosin)))

    def enlarge(self, field: Float32, rows: slice) -> Float32:
        """Enlarge a field of mask pixels smoothly to some rows of the canvas."""
        width = self.eosin.shape[1]
        part = Image.fromarray(field).resize(
            (width, rows.stop - rows.start),
            Image.Resampling.BICUBIC,
            box=(0, rows.start / self.mask_px, width / self.mask_px, rows.stop / self.mask_px),
        )
        return np.array(part)


def draw_tissue(
    size_px: tuple[int, int],
    *,
    mpp: float,
    nodule_fraction: float,
    n_pieces: int,
    tissue_fraction: float,
    rng: np.random.Generator,
) -> tuple[Rgb, SlideTruth]:
    """Draw a slide: glass, pieces of tissue with irregular outlines, and a nodule in them.

    Parameters
    ----------
    size_px : tuple of int
        (width, height).
    mpp : float
        Micrometres per pixel; what is drawn has the same size in micrometres at any `mpp`.
    nodule_fraction, tissue_fraction : float
        Share of the tissue that is nodule, share of the slide that is tissue.
    n_pieces : int
        Pieces of tissue; near ones may grow together.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The slide.
    SlideTruth
        Its masks.
    """
    mask_px = max(1, round(MASK_UM / mpp))
    shape = (-(-size_px[1] // mask_px), -(-size_px[0] // mask_px))
    outline = _outline(shape, n_pieces, rng)
    outline -= np.quantile(outline, 1 - tissue_fraction)
    tissue = outline > 0
    growth = _smooth_noise(shape, 160, rng) * 0.2 - _distance(shape, _seed_point(tissue, rng))
    growth -= np.quantile(growth[tissue], 1 - nodule_fraction) if nodule_fraction else np.inf
    canvas = _paint(size_px, mpp, mask_px, growth, rng)
    # The outline is a soft step of some micrometres, ragged by the grain of the fibres.
    slope = np.abs(np.gradient(outline)[0]).mean() + 1e-6
    edge = (outline / slope).astype(np.float32)
    for rows in canvas.strips():
        alpha = np.clip(canvas.enlarge(edge, rows) * 2 + 0.5, 0, 1)
        canvas.haematoxylin[rows] *= alpha
        canvas.eosin[rows] *= alpha
    return _stain(canvas), SlideTruth(tissue=tissue, nodule=tissue & (growth > 0), mask_px=mask_px)


def draw_square(
    size_px: tuple[int, int], *, mpp: float, nodule: bool, rng: np.random.Generator
) -> Rgb:
    """Draw a rectangle filled with one tissue, (height, width, 3)."""
    mask_px = max(1, round(MASK_UM / mpp))
    shape = (-(-size_px[1] // mask_px), -(-size_px[0] // mask_px))
    return _stain(
        _paint(size_px, mpp, mask_px, np.full(shape, 1 if nodule else -np.inf, np.float32), rng)
    )


def _paint(
    size_px: tuple[int, int], mpp: float, mask_px: int, growth: Float32, rng: np.random.Generator
) -> _Canvas:
    width, height = size_px
    canvas = _Canvas(
        haematoxylin=np.zeros((height, width), np.float32),
        eosin=np.empty((height, width), np.float32),
        mpp=mpp,
        mask_px=mask_px,
        rng=rng,
    )
    shape = growth.shape
    flow = _smooth_noise(shape, 170, rng) * 70 + _ramp(shape, rng)  # in micrometres across fibres
    nests = np.minimum(_smooth_noise(shape, 45, rng), growth * 40 - _NEST)
    nests = np.maximum(nests, -9).astype(np.float32)  # finite, so that it can be resized
    lumen = nests > _LUMEN
    epithelium = (nests > -_NEST) & ~lumen
    crowd = _smooth_noise(shape, 60, rng) > rng.uniform(1.3, 2.4)  # much or little inflammation
    _paint_ground(canvas, flow, nests)
    direction = np.arctan2(*np.gradient(flow)) + np.pi / 2
    stroma = ~epithelium & ~lumen
    _scatter(canvas, stroma & ~crowd, spacing_um=27, stamps=_spindles(canvas), angle=direction)
    lymphocytes = _discs(canvas, diameter_um=(5.0, 6.5), dye=1.05, elongation=1.12)
    _scatter(canvas, stroma & ~crowd, spacing_um=75, stamps=lymphocytes)
    _scatter(canvas, stroma & crowd, spacing_um=6.8, stamps=lymphocytes)
    tumour = _discs(canvas, diameter_um=(7.5, 11.5), dye=0.85, elongation=1.35)
    _scatter(canvas, epithelium, spacing_um=10.5, stamps=tumour)
    return canvas


def _paint_ground(canvas: _Canvas, flow: Float32, nests: Float32) -> None:
    """Lay the fibres of the stroma and the cytoplasm of the nests."""
    wander = _smooth_noise(flow.shape, 25, canvas.rng)
    coarse, fine = _Profile(14.0, canvas.rng), _Profile(3.5, canvas.rng)
    nests, speckle = np.maximum(nests, -2), _grain(canvas)
    for rows in canvas.strips():
        across, along = canvas.enlarge(flow, rows), canvas.enlarge(wander, rows)
        grain = speckle[np.arange(rows.start, rows.stop) % len(speckle)]
        bundles = coarse(across)
        across += along * 6  # filaments wander within their bundles, bundles begin and end
        fibres = 0.5 + (0.12 + 0.1 * along) * bundles + 0.1 * fine(across) + 0.05 * along
        fibres += 0.09 * grain
        fibres[bundles + along < -2.0] *= 0.3  # clefts, where the section has come apart
        field = canvas.enlarge(nests, rows)
        soft = np.clip((field + _NEST) * 3 + 0.35 * grain, 0, 1)
        open_ = np.clip((_LUMEN - field) * 8, 0.03, 1)
        cytoplasm = (0.42 + 0.08 * grain) * soft
        canvas.eosin[rows] = np.maximum(fibres * (1 - soft) + cytoplasm, 0) * open_
        canvas.haematoxylin[rows] = (0.05 + (0.16 + 0.05 * grain) * soft) * open_


class _Profile:
    """Random smooth values along a line, about one bump a period, mean 0, deviation 1."""

    def __init__(self, period_um: float, rng: np.random.Generator) -> None:
        values = rng.standard_normal(4096).astype(np.float32)
        spectrum = np.fft.rfft(values)
        spectrum *= np.exp(-((np.arange(len(spectrum)) * 8 / 2048) ** 2))
        values = np.fft.irfft(spectrum).astype(np.float32)
        self._values = (values - values.mean()) / values.std()
        self._per_um = 16 / period_um

    def __call__(self, position_um: Float32) -> Float32:
        values: Float32 = self._values[(position_um * self._per_um).astype(np.int32) & 4095]
        return values


def _grain(canvas: _Canvas) -> Float32:
    """Return fine texture of about 1 µm, (512, width), a tile repeated."""
    side = 512
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(side), np.fft.fftfreq(side)))
    noise = np.fft.rfft2(canvas.rng.standard_normal((side, side)))
    noise *= np.exp(-((frequency * 1.6 / canvas.mpp) ** 2))
    tile = np.fft.irfft2(noise).astype(np.float32)
    tile /= tile.std()
    width = canvas.eosin.shape[1]
    return np.asarray(np.tile(tile, (1, -(-width // side)))[:, :width], np.float32)


def _spindles(canvas: _Canvas) -> list[Float32]:
    """Return thin nuclei, their angle growing from 0 to pi through the list."""
    angles = np.arange(_N_STAMPS) * np.pi / _N_STAMPS
    sizes = canvas.rng.uniform((9, 2.2), (15, 3.6), (_N_STAMPS, 2))
    return [
        _nucleus(canvas, long, short, angle, 0.85)
        for angle, (long, short) in zip(angles, sizes, strict=True)
    ]


def _discs(
    canvas: _Canvas, *, diameter_um: tuple[float, float], dye: float, elongation: float
) -> list[Float32]:
    rng = canvas.rng
    stamps = []
    for diameter in rng.uniform(*diameter_um, _N_STAMPS):
        stretch = np.sqrt(rng.uniform(1, elongation))
        amount = dye * rng.uniform(0.75, 1.25)
        stamps.append(
            _nucleus(canvas, diameter * stretch, diameter / stretch, rng.uniform(0, np.pi), amount)
        )
    return stamps


def _nucleus(canvas: _Canvas, long: float, short: float, angle: float, dye: float) -> Float32:
    """Return the dye of one nucleus: a soft ellipse, clumps of chromatin, a dark rim."""
    half = int(np.ceil(long / canvas.mpp / 2)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * canvas.mpp
    u = (x * np.cos(angle) + y * np.sin(angle)) / (long / 2)
    v = (y * np.cos(angle) - x * np.sin(angle)) / (short / 2)
    wobble = 1 + 0.08 * np.sin(3 * np.arctan2(v, u) + canvas.rng.uniform(0, 2 * np.pi))
    radius = np.hypot(u, v) * wobble
    inside = np.clip((1 - radius) * short / 2 / max(canvas.mpp, 0.35) + 0.5, 0, 1)
    clumps = canvas.rng.standard_normal((2 * half // 3 + 2,) * 2).astype(np.float32)
    chromatin = np.asarray(Image.fromarray(clumps).resize(x.shape[::-1], Image.Resampling.BICUBIC))
    rim = 0.25 * np.exp(-(((radius - 0.85) / 0.15) ** 2))
    return np.asarray(dye * inside * np.clip(0.85 + 0.2 * chromatin + rim, 0.3, None), np.float32)


def _scatter(
    canvas: _Canvas,
    where: BoolArray,
    *,
    spacing_um: float,
    stamps: list[Float32],
    angle: Float32 | None = None,
) -> None:
    """Stamp nuclei on a jittered grid, wherever `where` (in mask pixels) is true."""
    rng, step = canvas.rng, spacing_um / canvas.mpp
    height, width = canvas.eosin.shape
    rows, columns = np.mgrid[0 : height / step, 0 : width / step]
    columns = columns + rows % 2 / 2
    jitter = rng.uniform(-0.38, 0.38, (2, *rows.shape))
    y = ((rows + jitter[0]) * step).astype(int).ravel()
    x = ((columns + jitter[1]) * step).astype(int).ravel()
    choice = rng.integers(0, len(stamps), len(y))
    kept = (y >= 0) & (x >= 0) & (y < height) & (x < width)
    kept[kept] = where[y[kept] // canvas.mask_px, x[kept] // canvas.mask_px]
    y, x, choice = y[kept], x[kept], choice[kept]
    if angle is not None:
        turn = angle[y // canvas.mask_px, x // canvas.mask_px] + rng.normal(0, 0.2, len(y))
        choice = (turn % np.pi / np.pi * len(stamps)).astype(int) % len(stamps)
    for row, column, index in zip(y.tolist(), x.tolist(), choice.tolist(), strict=True):
        _stamp(canvas, stamps[index], row, column)


def _stamp(canvas: _Canvas, stamp: Float32, row: int, column: int) -> None:
    half = len(stamp) // 2
    top, left = max(0, row - half), max(0, column - half)
    place = np.s_[top : row + half + 1, left : column + half + 1]
    target = canvas.haematoxylin[place]
    start = (top - row + half, left - column + half)
    part = stamp[start[0] :, start[1] :][: target.shape[0], : target.shape[1]]
    np.maximum(target, part, out=target)


def _stain(canvas: _Canvas) -> Rgb:
    """Turn amounts of dye into colour, with this slide's own stains and lamp."""
    rng = canvas.rng
    vectors = np.array([_HAEMATOXYLIN, _EOSIN]) + rng.normal(0, 0.03, (2, 3))
    vectors = np.clip(vectors, 0.02, None)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= rng.uniform((1.15, 0.6), (1.75, 0.95))[:, None]
    vectors = vectors.astype(np.float32)
    glass = (rng.uniform(238, 246) + rng.uniform(-3, 3, 3)).astype(np.float32)
    noise = rng.normal(0, 1.2, (512, canvas.eosin.shape[1])).astype(np.float32)
    picture = np.empty((*canvas.eosin.shape, 3), np.uint8)
    for rows in canvas.strips():
        for channel in range(3):  # planes first: loops over three values are slow
            light = canvas.haematoxylin[rows] * -vectors[0, channel]  # (rows, width)
            light -= canvas.eosin[rows] * vectors[1, channel]
            np.exp(light, out=light)
            light *= glass[channel]
            light += noise[np.arange(rows.start, rows.stop) % len(noise)]
            picture[rows, :, channel] = np.clip(light, 0, 255, out=light)
    return picture


def _outline(shape: tuple[int, int], n_pieces: int, rng: np.random.Generator) -> Float32:
    """Return a field that is high within the pieces and low on the glass around them."""
    turn = rng.uniform(0, 2 * np.pi)
    centres = [(0.5, 0.5)]
    if n_pieces > 1:
        angles = turn + np.arange(n_pieces) * 2 * np.pi / n_pieces
        centres = [(0.5 + 0.25 * np.sin(a), 0.5 + 0.25 * np.cos(a)) for a in angles]
    distance = np.min([_distance(shape, centre) for centre in centres], axis=0)
    rows, columns = _axes(shape)
    border = np.minimum(1 - np.abs(rows * 2 - 1), 1 - np.abs(columns * 2 - 1))
    ragged = 0.09 * _smooth_noise(shape, 220, rng) + 0.02 * _smooth_noise(shape, 40, rng)
    return np.asarray(ragged - distance - np.exp(-border * 30) * 0.6, np.float32)


def _axes(shape: tuple[int, int]) -> tuple[Float32, Float32]:
    rows, columns = (((np.arange(n) + 0.5) / n).astype(np.float32) for n in shape)
    return rows[:, None], columns[None, :]


def _distance(shape: tuple[int, int], centre: tuple[float, float]) -> Float32:
    rows, columns = _axes(shape)
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]), np.float32)


def _seed_point(tissue: BoolArray, rng: np.random.Generator) -> tuple[float, float]:
    rows, columns = np.nonzero(tissue)
    index = int(rng.integers(len(rows)))
    return float(rows[index] / tissue.shape[0]), float(columns[index] / tissue.shape[1])


def _ramp(shape: tuple[int, int], rng: np.random.Generator) -> Float32:
    """Return micrometres along a random direction: the main run of the fibres."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32) * MASK_UM
    return np.asarray(rows * np.sin(angle) + columns * np.cos(angle), np.float32)


def _smooth_noise(shape: tuple[int, int], length_um: float, rng: np.random.Generator) -> Float32:
    """Return a smooth random field with features of about `length_um`, mean 0, deviation 1."""
    coarse = [int(np.ceil(n * MASK_UM / length_um)) + 3 for n in shape]
    field = Image.fromarray(rng.standard_normal(coarse).astype(np.float32))
    box = (1, 1, 1 + shape[1] * MASK_UM / length_um, 1 + shape[0] * MASK_UM / length_um)
    values = np.asarray(field.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))
    return np.asarray((values - values.mean()) / (values.std() + 1e-9), np.float32)
