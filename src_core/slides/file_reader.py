"""What the readers of slide files share, whoever decodes the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from src_core.errors import SlideReadError
from src_core.slides.base import SlideProperties, SlideReader, Stain
from src_core.slides.geometry import level_location, pyramid_origin
from src_core.slides.stain import find_stain
from src_core.types import Rgb

if TYPE_CHECKING:
    import dask.array as da

    from src_core.slides.levels import LevelArray

__all__ = ["FileReader"]


class FileReader(SlideReader):
    """A slide whose geometry and storage tiles are known once its file is open.

    Children set both when they open the file, and add `read_region` and `close`.
    """

    _stain: Stain | None = None
    _properties: SlideProperties
    _tiles: tuple[tuple[int, int], ...]
    """(width, height) of the storage tiles of each level."""

    @property
    def properties(self) -> SlideProperties:
        """Geometry and scale."""
        return self._properties

    def stain(self) -> Stain:
        """Tell what the slide is; see :class:`src_core.slides.base.SlideReader`."""
        if self._stain is None:  # two threads at once would only find the same twice
            try:
                self._stain = self._find_stain()
            except SlideReadError:  # not kept: the file may be readable again
                return "brightfield"
        return self._stain

    def _find_stain(self) -> Stain:
        return find_stain(self)

    def color_profile(self) -> bytes | None:
        """Return the slide's ICC profile, None where the file has none that is known here.

        Raises
        ------
        SlideReadError
            If it is damaged.
        """
        return None

    @property
    def pyramid_origin_xy(self) -> tuple[int, int]:
        """Level-0 pixel at which the arrays of `pyramid` begin."""
        return pyramid_origin(self._properties)

    def read_level(self, level: int, start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb:
        """Read a part of a level; see :class:`src_core.slides.base.SlideReader`."""
        (top, left), (bottom, right) = start_hw, end_hw
        xy = level_location(self._properties, level, start_hw)
        return self.read_region(xy, level, (right - left, bottom - top))

    def levels(self, cache: Path | None = None) -> list[LevelArray | NDArray[Any]]:
        """Return the levels as arrays; see :class:`src_core.slides.base.SlideReader`."""
        from src_core.slides.pyramid import lazy_levels

        return lazy_levels(self, self._tiles, cache)

    def pyramid(self, cache: Path | None = None) -> list[da.Array]:
        """Return the levels as dask arrays; see :class:`src_core.slides.base.SlideReader`."""
        from src_core.slides.pyramid import dask_levels

        return dask_levels(self.levels(cache))
