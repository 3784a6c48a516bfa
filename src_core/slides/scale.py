"""How large a pixel is: a chain of sources, the trusted first, absurd values refused."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Final

from src_core.errors import SlideScaleError
from src_core.slides.base import MppSource

__all__ = ["MAX_MPP", "MIN_MPP", "find_mpp", "objective_power"]

MIN_MPP: Final = 0.05
MAX_MPP: Final = 5.0
"""Beyond these a value is a default of some writer (72 dpi is 353 µm), not a measurement."""

_MAX_ASPECT: Final = 1.1
"""Sides of a pixel that differ by more are no rounding of a scanner."""

_log = logging.getLogger(__name__)

_PIXEL_SPACING: Final = (
    "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing"
)
# OpenSlide turns these into openslide.mpp-* itself where it understands the whole of the file's
# metadata; they are asked again for files and versions where it does not.
_VENDOR_KEYS: Final[tuple[tuple[str, str, float], ...]] = (
    ("aperio.MPP", "aperio.MPP", 1.0),
    (
        "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X",
        "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_Y",
        1.0,
    ),
    ("ome.mpp-x", "ome.mpp-y", 1.0),  # OME-Zarr, turned into micrometres by its reader
    ("ventana.ScanRes", "ventana.ScanRes", 1.0),
    (f"{_PIXEL_SPACING}[1]", f"{_PIXEL_SPACING}[0]", 1000.0),  # millimetres, row spacing first
)
_MICROMETRES: Final = {"inch": 25_400.0, "centimeter": 10_000.0}
_DESCRIPTION_KEYS: Final = ("tiff.ImageDescription", "openslide.comment")
_OME_UNITS: Final = {None: 1.0, "µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3}
_POWER_KEYS: Final = (
    "openslide.objective-power",
    "aperio.AppMag",
    "hamamatsu.SourceLens",
    "leica.objective",
    "ventana.Magnification",
)


def find_mpp(
    values: Mapping[str, str], *, slide_mpp: float | None, name: str
) -> tuple[float | None, MppSource]:
    """Find the micrometres per level-0 pixel and where they were found.

    Parameters
    ----------
    values : mapping of str to str
        The slide's properties under OpenSlide's names.
    slide_mpp : float, optional
        What the user says, µm; it goes before all others.
    name : str
        Names the slide in messages.

    Raises
    ------
    SlideScaleError
        If `slide_mpp` is not within 0.05 to 5 µm.
    """
    if slide_mpp is not None:
        if not _plausible(slide_mpp):
            raise SlideScaleError(
                f"slide_mpp = {slide_mpp:g} for {name} is out of range; give micrometres per "
                f"pixel from {MIN_MPP:g} to {MAX_MPP:g}."
            )
        return float(slide_mpp), "user"
    power = objective_power(values)
    candidates: tuple[tuple[MppSource, float | None], ...] = (
        ("openslide", _pair(values, "openslide.mpp-x", "openslide.mpp-y", 1.0)),
        *(("vendor", _pair(values, *keys)) for keys in _VENDOR_KEYS),
        ("vendor", _ome(values)),
        ("tiff", _tiff(values)),
        ("objective", 10.0 / power if power else None),
    )
    for source, mpp in candidates:
        if mpp is not None and _plausible(mpp):
            return mpp, source
        if mpp is not None:
            _log.info("%s: %g micrometres per pixel (%s) is not believed", name, mpp, source)
    return None, "unknown"


def objective_power(values: Mapping[str, str]) -> float | None:
    """Return the objective's magnification, None where nothing says."""
    powers = (_number(values.get(key)) for key in _POWER_KEYS)
    return next((power for power in powers if power is not None), None)


def _plausible(mpp: float) -> bool:
    return MIN_MPP <= mpp <= MAX_MPP  # false for NaN too


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 else None


def _pair(values: Mapping[str, str], key_x: str, key_y: str, factor: float) -> float | None:
    known = [value for key in (key_x, key_y) if (value := _number(values.get(key))) is not None]
    return _mean([factor * value for value in known])


def _ome(values: Mapping[str, str]) -> float | None:
    """Read the pixel size of OME-XML, which OpenSlide passes on unread."""
    text = next(
        (values[key] for key in _DESCRIPTION_KEYS if "PhysicalSizeX" in values.get(key, "")), ""
    )
    sizes = []
    for axis in "XY":
        size = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        factor = _OME_UNITS.get(unit[1].replace("\N{GREEK SMALL LETTER MU}", "µ") if unit else None)
        number = _number(size[1]) if size else None
        if number is not None and factor is not None:
            sizes.append(number * factor)
    return _mean(sizes)


def _tiff(values: Mapping[str, str]) -> float | None:
    unit = _MICROMETRES.get(values.get("tiff.ResolutionUnit", ""))
    dots = [_number(values.get(f"tiff.{axis}Resolution")) for axis in "XY"]
    sizes = [unit / dot for dot in dots if unit is not None and dot is not None]
    return _mean(sizes)


def _mean(sizes: Sequence[float]) -> float | None:
    """Return the mean of both sides of a pixel; None if it is no square, or nothing is known.

    A patch is a square of pixels: where it would be none of tissue, the user has to say what holds.
    """
    if not sizes or max(sizes) > _MAX_ASPECT * min(sizes):
        return None
    return sum(sizes) / len(sizes)
