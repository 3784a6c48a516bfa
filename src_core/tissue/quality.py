"""What is wrong with a patch: out of focus, pen on it, a fold, or hardly any tissue.

Each patch gets a few measures from a coarse picture of the slide; thresholds turn them into flags.
So thresholds can be changed without reading the slide again, and a flag excludes nothing by itself.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src_core.colours import brightest, darkest, mean_colour
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError, SlideLostError, SlideReadError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.provenance import read_array, read_json, write_artifact
from src_core.slides.base import SlideReader
from src_core.slides.scaled import finer_scale, read_scaled
from src_core.types import BoolArray, Float32, Int64, Rgb

__all__ = [
    "FLAGS",
    "FLAW_WORDS",
    "PatchQuality",
    "QualityConfig",
    "counts",
    "has_flag",
    "measure_quality",
    "quality_recipe",
]

FLAGS = ("blur", "pen", "fold", "background")
"""Flag i is bit i of a patch's flags."""

FLAW_WORDS = {
    "blur": "blurred",
    "pen": "with pen marks",
    "fold": "folded",
    "background": "hardly stained",
}
"""What comes after a number of patches in a sentence."""

_MEASURES = ("sharpness", "pen", "fold", "stained")
_UNKNOWN = (np.inf, 0.0, -np.inf, 1.0)
"""Of a patch that cannot be read: nothing that is a flaw."""

_VERSION = 1
"""Raised when the same pixels come to be measured otherwise."""

_LARGEST_PX = 512
"""Side of a patch as it is looked at; larger patches are looked at more coarsely."""

_BLOCK_PX = 1024
_TOGETHER = 256
"""Patches of a block that are measured at once; they may overlap."""

_THREADS = 2

_NUCLEUS_UM = 8.0
_STROKE_UM = 10.0
"""A pen's stroke is wider, whatever else has its colour is not."""

_FOLD_UM = 20.0
"""A fold is as wide, a group of nuclei is seldom."""

_MOSTLY = 0.7
"""Share of such a width that must have the colour."""

_FAINT = 1e-4
"""Structure of this square density or less is the noise of the camera."""

_FOLD_SHARE = 0.05
"""Of a patch: a fold that covers less is none of its flaws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityConfig(Config):
    """What counts as a flaw of a patch, and which flaws exclude it."""

    exclude: Annotated[
        tuple[str, ...], Help(f"Flaws that exclude a patch, of {', '.join(FLAGS)}; none if empty")
    ] = ()
    min_sharpness: Annotated[
        float, Range(0.0, 100.0), Help("Fine detail relative to structure; less is blurred")
    ] = 0.8
    min_relative_sharpness: Annotated[
        float, Range(0.0, 1.0), Help("The same relative to the slide's median; less is blurred")
    ] = 0.35
    max_pen: Annotated[
        float, Range(0.0, 1.0), Help("Share of a patch in the colours of pens; more is a pen mark")
    ] = 0.03
    max_fold: Annotated[
        float,
        Range(0.0, 2.0),
        Help("How far beyond the slide's dark quarter, dark and saturated, is not yet a fold"),
    ] = 0.25
    min_stained: Annotated[
        float, Range(0.0, 1.0), Help("Share of a patch with stain; less is background")
    ] = 0.1
    mpp: Annotated[
        float, Range(0.5, 8.0), Help("Scale at which patches are judged, µm a pixel", True)
    ] = 2.0

    def __post_init__(self) -> None:
        """Check that every flaw has a name."""
        Config.__post_init__(self)
        for name in self.exclude:
            if name not in FLAGS:
                raise ConfigError(
                    f"QualityConfig.exclude has {name!r}; choose from {', '.join(FLAGS)}."
                )


@dataclass(frozen=True, slots=True, eq=False)
class PatchQuality:
    """The measures of a grid's patches.

    Parameters
    ----------
    measures : ndarray of float32, shape (N, 4)
        Sharpness, share of pen, fold and share of stain; row i is patch i.
    recipe : mapping
        What decided them.
    """

    measures: Float32
    recipe: Mapping[str, Any]

    def flags(self, config: QualityConfig) -> NDArray[np.uint8]:
        """Return the flags of each patch, shape (N,), as bits in the order of `FLAGS`."""
        sharpness, pen, fold, stained = self.measures.T  # (N,) each
        is_background = stained < config.min_stained
        is_pen = pen > config.max_pen
        is_plain = ~is_background & ~is_pen  # of ink and glass neither focus nor folds can be told
        usual_sharpness, usual_fold = _share(sharpness[is_plain], 0.5), _share(fold[is_plain], 0.75)
        limit = max(config.min_sharpness, config.min_relative_sharpness * usual_sharpness)
        flaws = [
            is_plain & (sharpness < limit),
            is_pen,
            is_plain & (fold > usual_fold + config.max_fold),
            is_background,
        ]
        bits = np.zeros(len(self.measures), np.uint8)
        for bit, flaw in enumerate(flaws):
            bits |= flaw.astype(np.uint8) << np.uint8(bit)
        return bits

    def save(self, folder: Path) -> None:
        """Write ``quality.npy`` and, last, ``meta.json``."""
        meta = {"recipe": dict(self.recipe), "columns": list(_MEASURES)}
        write_artifact(folder, "quality.npy", self.measures, meta)

    @classmethod
    def load(cls, folder: Path, *, n_patches: int) -> PatchQuality:
        """Read what `save` wrote for a grid of `n_patches`.

        Raises
        ------
        ProjectError
            If it is missing or damaged.
        """
        shape = (n_patches, len(_MEASURES))
        measures = read_array(folder / "quality.npy", dtype=np.float32, shape=shape)
        recipe = read_json(folder / "meta.json").get("recipe")
        return cls(np.array(measures), recipe if isinstance(recipe, dict) else {})


def _share(values: Float32, share: float) -> float:
    """Return the value below which a share of those that are finite lie, 0 if none is."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else 0.0


def quality_recipe(grid_id: str, config: QualityConfig) -> dict[str, Any]:
    """Return what decides the measures of a grid's patches, thresholds apart."""
    return {"grid_id": grid_id, "mpp": config.mpp, "version": _VERSION}


def has_flag(flags: NDArray[np.uint8], names: tuple[str, ...]) -> BoolArray:
    """Tell which patches have at least one of the flags in `names`, shape (N,)."""
    bits = sum(1 << FLAGS.index(name) for name in set(names))
    found: BoolArray = (flags & np.uint8(bits)) != 0
    return found


def counts(flags: NDArray[np.uint8], names: tuple[str, ...] = FLAGS) -> dict[str, int]:
    """Return how many patches have each flag; a patch with two counts for both."""
    return {name: int(has_flag(flags, (name,)).sum()) for name in names}


def measure_quality(
    reader: SlideReader,
    corners_xy: Int64,
    side: float,
    config: QualityConfig,
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> Float32:
    """Look at patches of an H&E slide and measure what may be wrong with them.

    Parameters
    ----------
    reader : SlideReader
        An open slide; memory is bounded however many patches there are.
    corners_xy : ndarray of int64, shape (N, 2)
        Top-left corners of the patches in level-0 pixels of the whole slide, columns x, y.
    side : float
        Their side in level-0 pixels.
    config : QualityConfig
        Only its scale matters here.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    ndarray of float32, shape (N, 4)
        Columns: sharpness, share of pen, fold, share of stain. Sharpness is infinite where the
        slide is too coarse to tell, fold minus infinity where there is no stain. A patch that
        cannot be read has no flaw that anybody knows of.

    Raises
    ------
    SlideLostError, SlideScaleError
        If the slide is gone, or has no known pixel size.
    JobCancelled
        If `stop` says so.

    Notes
    -----
    Sharpness is the mean square of the Laplacian (Pertuz et al. 2013) over that of the structure
    up to the size of a nucleus, so contrast does not matter. A fold is darker and more saturated
    than the tissue beside it (Bautista and Yagi, 2010).
    """
    mpp = reader.properties.require_mpp()
    pixel_um = max(config.mpp, mpp, side * mpp / _LARGEST_PX)
    view = _View(reader, side, max(1, round(side * mpp / pixel_um)))
    out = np.empty((len(corners_xy), len(_MEASURES)), np.float32)
    tracker = Tracker(report, stop, stage="Judging patches", total=len(corners_xy), unit="patches")
    with closing(_measured_blocks(view, corners_xy)) as found:
        for rows, measures in found:
            out[rows] = measures
            tracker.advance(len(rows), detail=reader.properties.path.name)
    if pixel_um > config.mpp * 1.25:
        out[:, 0] = np.inf
    return out


def _measured_blocks(view: _View, corners_xy: Int64) -> Generator[tuple[Int64, Float32]]:
    """Yield rows of patches and what is measured of them, several blocks at a time."""
    blocks = list(_blocks(corners_xy, max(view.side, _BLOCK_PX * view.downsample)))
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield from zip(
            blocks, pool.map(lambda rows: _measured(view, corners_xy[rows]), blocks), strict=True
        )
    finally:
        pool.shutdown(cancel_futures=True)


def _measured(view: _View, corners_xy: Int64) -> Float32:
    """Measure neighbours; where they cannot be read together, one by one: (n, 4)."""
    try:
        return view.measure(corners_xy)
    except SlideLostError:
        raise
    except SlideReadError:
        if len(corners_xy) == 1:
            return np.array([_UNKNOWN], np.float32)
    rows = [_measured(view, corners_xy[row : row + 1]) for row in range(len(corners_xy))]
    return np.concatenate(rows)


def _blocks(corners_xy: Int64, side: float) -> Iterator[Int64]:
    """Yield the rows of patches that lie close together, at most `_TOGETHER` at once."""
    if len(corners_xy) == 0:
        return
    block = ((corners_xy - corners_xy.min(axis=0)) // side).astype(np.int64)  # (N, 2)
    order = np.lexsort((block[:, 0], block[:, 1]))
    ends = np.flatnonzero((np.diff(block[order], axis=0) != 0).any(axis=1)) + 1
    for rows in np.split(order, ends):
        for start in range(0, len(rows), _TOGETHER):
            yield rows[start : start + _TOGETHER]


@dataclass(frozen=True, slots=True)
class _View:
    """How patches are looked at: `side` level-0 pixels as `px` pixels."""

    reader: SlideReader
    side: float
    px: int

    @property
    def downsample(self) -> float:
        """Level-0 pixels per pixel."""
        return self.side / self.px

    def measure(self, corners_xy: Int64) -> Float32:
        """Return the measures of patches that lie close together, shape (n, 4)."""
        start = corners_xy.min(axis=0)
        places = np.rint((corners_xy - start) / self.downsample).astype(np.int64)
        columns, rows = (int(last) + self.px for last in places.max(axis=0))
        inner = max(1, self.px - 2)  # the outermost pixels have neighbours in other patches
        picture = self._read((int(start[0]), int(start[1])), (columns, rows))
        maps = _maps(
            picture, self.downsample * self.reader.properties.require_mpp()
        )  # (6, rows, columns)
        windows = np.lib.stride_tricks.sliding_window_view(maps, (inner, inner), axis=(1, 2))
        left, top = (places + (self.px - inner) // 2).T
        patches = windows[:, top, left]  # (5, n, inner, inner)
        return _measures_of(patches.reshape(*patches.shape[:2], -1))

    def _read(self, xy: tuple[int, int], size: tuple[int, int]) -> Rgb:
        scale = finer_scale(self.reader.properties, self.downsample)
        finer = [side * self.downsample / scale.downsample for side in size]
        region = read_scaled(
            self.reader, xy, scale, (math.ceil(finer[0] - 1e-6), math.ceil(finer[1] - 1e-6))
        )
        height, width = region.shape[:2]
        box = (0, 0, min(finer[0], width), min(finer[1], height))
        return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.BOX, box=box))


def _maps(pixels: Rgb, pixel_um: float) -> Float32:
    """Return what is measured at each pixel, shape (5, h, w)."""
    from scipy import ndimage

    rgb: Float32 = pixels.astype(np.float32) / np.float32(255)  # (h, w, 3)
    lightest, mean = brightest(rgb), mean_colour(rgb)  # (h, w)
    saturation = (lightest - darkest(rgb)) / np.maximum(lightest, 1e-3)
    stained = ((lightest < 0.97) & (saturation > 0.08)) | (lightest < 0.75)
    density = -np.log10(np.maximum(mean, 1 / 255))
    detail = ndimage.laplace(density) ** 2
    structure = (density - ndimage.gaussian_filter(density, _NUCLEUS_UM / pixel_um)) ** 2
    stroke = max(1, round(_STROKE_UM / pixel_um))
    inked = _has_pen_colour(rgb, lightest, saturation).astype(np.float32)
    pen = ndimage.uniform_filter(inked, stroke) > _MOSTLY
    dark = saturation - mean
    fold = ndimage.uniform_filter(dark, max(1, round(_FOLD_UM / pixel_um)))
    return np.stack(
        [stained, stained * detail, stained * structure, pen, np.where(stained, fold, np.nan)]
    ).astype(np.float32)


def _has_pen_colour(rgb: Float32, lightest: Float32, saturation: Float32) -> BoolArray:
    """Tell blue, green, red and black ink from what haematoxylin, eosin and blood look like."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    inks = [
        (blue == lightest) & (saturation > 0.45) & (green > red * 1.1),
        (green == lightest) & (saturation > 0.2),
        (red == lightest) & (saturation > 0.75) & (blue < green * 1.6 + 0.1),
        (lightest < 0.3) & (saturation < 0.45),
    ]
    return np.asarray(np.logical_or.reduce(inks))


def _measures_of(maps: Float32) -> Float32:
    """Return the measures of patches, (n, 4), from the maps of their pixels, (5, n, px * px)."""
    stained, detail, structure, pen = maps[:4].mean(axis=-1)  # (n,) each
    sharpness = detail / (structure + _FAINT * stained + 1e-12)
    share = int((1 - _FOLD_SHARE) * (maps.shape[-1] - 1))
    fold = np.partition(np.nan_to_num(maps[4], nan=-np.inf), share, axis=-1)[:, share]
    return np.stack([sharpness, pen, fold, stained], axis=1)
