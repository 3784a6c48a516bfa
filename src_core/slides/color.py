"""The colours that a slide's scanner meant, by its ICC profile: for looking, never for computing.

Encoders were made for colours as files have them, so what is embedded is never converted.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageCms

from src_core.errors import SlideReadError
from src_core.types import Rgb

__all__ = [
    "MAX_PROFILE_BYTES",
    "Convert",
    "DisplayLevel",
    "check_profile_size",
    "damaged_profile",
    "to_srgb",
]

MAX_PROFILE_BYTES: Final = 4 * 2**20
"""Those of scanners have some hundred kilobytes."""

_REMEDY = "the slide is shown as its file has it"

Convert: TypeAlias = Callable[[Rgb], Rgb]
"""From pixels of any shape (..., 3) to as many of the screen's colours; from any thread."""


def to_srgb(profile: bytes, *, name: str) -> Convert:
    """Return what turns a slide's colours into sRGB.

    Parameters
    ----------
    profile : bytes
        An ICC profile, from a file that nobody vouches for.
    name : str
        Of the slide, for the sentence.

    Raises
    ------
    SlideReadError
        If it is no profile, too large to be one, or not one of RGB colours.
    """
    check_profile_size(len(profile), name=name)
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            raise SlideReadError(f"{name}: its colour profile is not one of RGB; {_REMEDY}.")
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent(ImageCms.getDefaultIntent(source)),
        )
    except (ImageCms.PyCMSError, ValueError) as error:  # an intent that there is not
        raise damaged_profile(name) from error

    def convert(pixels: Rgb) -> Rgb:
        if pixels.size == 0:
            return pixels
        flat = np.ascontiguousarray(pixels).reshape(1, -1, 3)
        return np.asarray(transform.apply(Image.fromarray(flat))).reshape(pixels.shape)

    return convert


def check_profile_size(size: int, *, name: str) -> None:
    """Raise `SlideReadError`, if a slide's profile has more bytes than one has."""
    if size > MAX_PROFILE_BYTES:
        raise SlideReadError(f"{name}: its colour profile is too large to be one; {_REMEDY}.")


def damaged_profile(name: str) -> SlideReadError:
    """Return what is to be raised where a slide's profile cannot be used."""
    return SlideReadError(f"{name}: its colour profile is damaged; {_REMEDY}.")


class DisplayLevel:
    """A level of a slide in the screen's colours: converted where it is indexed, and not kept.

    Parameters
    ----------
    level : array-like
        (height, width, 3) uint8.
    convert : callable
        From `to_srgb`.
    """

    dtype: Final = np.dtype(np.uint8)
    ndim: Final = 3

    def __init__(self, level: Any, convert: Convert) -> None:
        self.shape: tuple[int, int, int] = level.shape
        self._level, self._convert = level, convert

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1] * 3

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            keys = (*keys[:place], *[slice(None)] * (4 - len(keys)), *keys[place + 1 :])
        converted = self._convert(np.asarray(self._level[keys[:2]]))
        return converted[..., keys[2]] if len(keys) == 3 else converted
