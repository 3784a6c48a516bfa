"""Find tissue on an H&E slide by its colour: stained tissue is saturated, glass is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src_core.colours import brightest, darkest
from src_core.config import Config, Help, Range
from src_core.errors import SlideLostError, SlideReadError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.slides.base import SlideProperties, SlideReader, require_brightfield
from src_core.slides.scaled import Scale, finer_scale, pieces, read_scaled
from src_core.tissue.mask import TissueMask
from src_core.types import BoolArray, Rgb

__all__ = ["TissueConfig", "blank_mask", "segment_tissue", "tissue_in"]

_MIN_LONG_SIDE_PX = 256
"""A small picture is looked at more finely, or its tissue would be a handful of pixels."""

_CERTAIN_SATURATION = 0.2
"""Of a picture of one colour: tissue from here on, glass below."""

_BLACK = 24
"""Brightest channel of a pixel too dark for its hue to mean anything, 0 to 255."""

_THREADS = 2

_DAMAGE_PX = 256
"""What is read around damage at the finest, in pixels of the file: about one of its tiles."""

Piece: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
"""(left, top), (width, height)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueConfig(Config):
    """How tissue is found."""

    mpp: Annotated[float, Range(0.5, 64.0), Help("Scale at which tissue is sought, µm a pixel")] = (
        8.0
    )
    threshold: Annotated[
        float | None,
        Range(0.0, 1.0),
        Help("Saturation above which a pixel is tissue; empty finds it by Otsu's method"),
    ] = None
    min_contrast: Annotated[
        float,
        Range(0.0, 1.0),
        Help("Difference in saturation below which tissue and glass are not told apart", True),
    ] = 0.05
    blur_um: Annotated[
        float, Range(0.0, 1000.0), Help("Width of the median filter against dust, µm", True)
    ] = 25.0
    closing_um: Annotated[
        float, Range(0.0, 1000.0), Help("Gaps up to twice this width are closed, µm", True)
    ] = 32.0
    min_area_um2: Annotated[
        float, Range(0.0, 1e9), Help("Smaller pieces of tissue are dropped, µm²")
    ] = 20_000.0
    min_hole_um2: Annotated[
        float, Range(0.0, 1e9), Help("Smaller holes in tissue are filled, µm²")
    ] = 40_000.0


def segment_tissue(
    reader: SlideReader,
    config: TissueConfig = TissueConfig(),
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> TissueMask:
    """Find the tissue of an H&E slide.

    Saturation (HSV) is thresholded by Otsu's method, then cleaned: median filter, closing,
    small pieces dropped, small holes filled. What cannot be read counts as tissue: whether it is
    will be told by its patches. A slide without two separate saturations is all
    glass or, if strongly coloured, all tissue.

    Parameters
    ----------
    reader : SlideReader
        An open slide; memory is bounded however large its coarsest level is.
    config : TissueConfig
        Settings; lengths are physical.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    TissueMask
        Of the scanned rectangle; empty if the slide is blank.

    Raises
    ------
    SlideScaleError
        If the slide has no known pixel size.
    SlideReadError
        If the slide cannot be read, or is a fluorescence or grey slide.
    JobCancelled
        If `stop` says so.
    """
    properties = reader.properties
    properties.require_mpp()
    require_brightfield(reader)
    blank = blank_mask(reader, config)
    scale = _mask_scale(properties, config)
    pixels, unknown = _read_overview(reader, scale, blank.mask.shape, report, stop)
    found = tissue_in(
        pixels,
        config,
        mpp=properties.require_mpp() * scale.downsample,
        background_rgb=properties.background_rgb,
        unknown=unknown,
    )
    recipe = {**blank.recipe, "source": "saturation"}
    if unknown.any():
        recipe["unreadable_px"] = int(unknown.sum())
    return TissueMask(found, blank.origin_xy, blank.pixel_xy, recipe)


def tissue_in(
    pixels: Rgb,
    config: TissueConfig,
    *,
    mpp: float,
    background_rgb: tuple[int, int, int],
    unknown: BoolArray | None = None,
) -> BoolArray:
    """Find the tissue in a picture of a slide.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The whole slide, at a coarse scale.
    config : TissueConfig
        Settings; the scale that it names does not count.
    mpp : float
        Micrometres per pixel of the picture.
    background_rgb : tuple of int
        What the picture shows where nothing was scanned.
    unknown : ndarray of bool, shape (height, width), optional
        What could not be read; it counts as tissue.

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    lost = np.zeros(pixels.shape[:2], np.bool_) if unknown is None else unknown
    scanned = (pixels != background_rgb).any(axis=-1) & ~lost  # (h, w)
    saturation = _saturation(pixels)
    threshold = _threshold(saturation[scanned], config)
    return _clean(((saturation > 255 * threshold) & scanned) | lost, config, mpp)


def blank_mask(reader: SlideReader, config: TissueConfig = TissueConfig()) -> TissueMask:
    """Return the mask that `segment_tissue` would fill, without tissue: to be painted.

    Raises
    ------
    SlideScaleError
        If the slide has no known pixel size.
    """
    properties = reader.properties
    mpp = properties.require_mpp()
    scale = _mask_scale(properties, config)
    x, y, width, height = properties.bounds_xywh
    shape = (math.ceil(height / scale.downsample), math.ceil(width / scale.downsample))
    recipe = {
        "source": "blank",
        "slide_mpp": mpp,
        "bounds_xywh": [x, y, width, height],
        "downsample": scale.downsample,
        "config": config.to_dict(),
    }
    step = (scale.downsample, scale.downsample)
    return TissueMask(np.zeros(shape, np.bool_), (float(x), float(y)), step, recipe)


def _mask_scale(properties: SlideProperties, config: TissueConfig) -> Scale:
    long_side = max(properties.bounds_xywh[2:])
    wanted = min(config.mpp / properties.require_mpp(), long_side / _MIN_LONG_SIDE_PX)
    return finer_scale(properties, max(1.0, wanted))


def _read_overview(
    reader: SlideReader, scale: Scale, shape: tuple[int, ...], report: Report, stop: Stop
) -> tuple[Rgb, BoolArray]:
    """Read the bounds at `scale`, piece by piece: (h, w, 3), and what cannot be read: (h, w)."""
    x, y, *bounds = reader.properties.bounds_xywh
    # A last pixel that only begins inside would be mixed with what lies outside: it is copied.
    width, height = (max(1, int(side / scale.downsample)) for side in bounds)
    plan = list(pieces(scale, (width, height)))
    errors: list[SlideReadError] = []

    def read(piece: Piece) -> Rgb | None:
        (left, top), part = piece
        corner = (round(x + left * scale.downsample), round(y + top * scale.downsample))
        try:
            return read_scaled(reader, corner, scale, part)
        except SlideLostError:
            raise
        except SlideReadError as error:
            errors.append(error)
            return None

    out, unknown = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
    tracker = Tracker(report, stop, stage="Finding tissue", total=len(plan), unit="regions")
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for piece, part in zip(plan, pool.map(read, plan), strict=True):
            _lay(read, piece, part, out, unknown, smallest=max(1, _DAMAGE_PX // scale.factor))
            tracker.advance(1, detail=reader.properties.path.name)
    finally:
        pool.shutdown(cancel_futures=True)
    if unknown.all():
        raise errors[0]
    margin = ((0, shape[0] - height), (0, shape[1] - width))
    return np.pad(out, (*margin, (0, 0)), mode="edge"), np.pad(unknown, margin, mode="edge")


def _lay(
    read: Callable[[Piece], Rgb | None],
    piece: Piece,
    pixels: Rgb | None,
    out: Rgb,
    unknown: BoolArray,
    *,
    smallest: int,
) -> None:
    """Lay a piece into `out`, or what can be read of its quarters; the rest is `unknown`."""
    (left, top), (across, down) = piece
    place = (slice(top, top + down), slice(left, left + across))
    if pixels is not None:
        out[place] = pixels
    elif max(across, down) <= smallest:
        unknown[place] = True
    else:
        step = (max(across, down) + 1) // 2
        for y in range(top, top + down, step):
            for x in range(left, left + across, step):
                part = (min(step, left + across - x), min(step, top + down - y))
                quarter = ((x, y), part)
                _lay(read, quarter, read(quarter), out, unknown, smallest=smallest)


def _saturation(pixels: Rgb) -> NDArray[np.uint8]:
    """Return HSV saturation, 0 to 255; black has none."""
    lightest = brightest(pixels)  # (h, w)
    chroma = (lightest - darkest(pixels)).astype(np.uint16)
    share = chroma * 255 // np.maximum(lightest, 1)
    return np.where(lightest < _BLACK, 0, share).astype(np.uint8)


def _clean(mask: BoolArray, config: TissueConfig, mpp: float) -> BoolArray:
    """Drop dust and specks, close gaps and holes; `mpp` is of the mask's pixels."""
    from scipy import ndimage
    from skimage.morphology import isotropic_closing

    width = 2 * round(config.blur_um / mpp / 2) + 1
    if width > 1:
        # The median of a picture, thresholded, is the majority of the thresholded picture.
        share = ndimage.uniform_filter(mask.astype(np.float32), width, mode="nearest")
        mask = share > 0.5
    holes_px = config.min_hole_um2 / mpp**2
    radius = config.closing_um / mpp
    if radius >= 1 and mask.any():
        # Without a margin of glass the closing would join tissue to the edge of the slide.
        margin = math.ceil(radius) + 1
        closed = isotropic_closing(np.pad(mask, margin), radius)
        mask = np.asarray(closed[margin:-margin, margin:-margin], np.bool_)
    # A rim of glass makes one of all that touches the slide's edge: a bay there is no hole.
    glass = _without_small(np.pad(~mask, 1, constant_values=True), holes_px, touching=4)
    mask = ~glass[1:-1, 1:-1]
    return _without_small(mask, config.min_area_um2 / mpp**2, touching=8)


def _threshold(saturation: NDArray[np.uint8], config: TissueConfig) -> float:
    """Return the saturation, 0 to 1, above which a pixel is tissue, from those of all, (n,)."""
    if config.threshold is not None:
        return config.threshold
    if saturation.size == 0:
        return _CERTAIN_SATURATION
    counts = np.bincount(saturation, minlength=256).astype(np.float64)
    values = np.arange(256)
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    total = np.cumsum(counts * values)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = total / below, (total[-1] - total) / above
    between = np.nan_to_num(below * above * (high - low) ** 2)
    # A run of empty bins gives one maximum on a plateau: its middle is as far from both as can be.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    split = int(best[len(best) // 2])
    if not high[split] - low[split] >= 255 * config.min_contrast:
        return _CERTAIN_SATURATION  # Otsu splits anything: here there is but one population
    return split / 255


def _without_small(mask: BoolArray, min_area_px: float, *, touching: int) -> BoolArray:
    """Drop connected pieces of fewer pixels; `touching` is 4 or 8 neighbours."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)) if touching == 8 else None)
    large = np.bincount(labels.ravel()) >= min_area_px
    large[0] = False  # what is not in the mask
    kept: BoolArray = large[labels]
    return kept
