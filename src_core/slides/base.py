"""What every slide is, whatever file it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from src_core.errors import SlideReadError, SlideScaleError
from src_core.types import Rgb

if TYPE_CHECKING:
    import dask.array as da

    from src_core.slides.levels import LevelArray

__all__ = ["MppSource", "SlideProperties", "SlideReader", "Stain", "require_brightfield"]

MppSource: TypeAlias = Literal["openslide", "vendor", "tiff", "objective", "user", "unknown"]
"""Where the size of a pixel was found, in the order of trust."""

Stain: TypeAlias = Literal["brightfield", "fluorescence", "grey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideProperties:
    """The geometry and scale of a slide."""

    path: Path
    vendor: str
    """OpenSlide's vendor, or ``"image"`` for a plain picture."""
    level_dimensions: tuple[tuple[int, int], ...]
    """(width, height) of each level of the file, level 0 first."""
    downsamples: tuple[float, ...]
    """Level-0 pixels per pixel of each level, at least 1; the same on both axes."""
    mpp: float | None
    """Micrometres per level-0 pixel, mean of both axes; None where nothing says."""
    mpp_source: MppSource
    file_mpp: tuple[float | None, MppSource] = (None, "unknown")
    """What the file itself says of `mpp`, and where, also where the user says otherwise."""
    objective_power: float | None
    bounds_xywh: tuple[int, int, int, int]
    """Scanned rectangle in level-0 pixels: x, y, width, height."""
    background_rgb: tuple[int, int, int]
    """Shown where the scanner recorded nothing."""
    interpolated: frozenset[int] = frozenset()
    """Levels that are read between their pixels, wherever the place that is asked for."""

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0."""
        return self.level_dimensions[0]

    def require_mpp(self) -> float:
        """Return `mpp`, or raise `SlideScaleError` with the remedy."""
        if self.mpp is None:
            raise SlideScaleError(
                f"{self.path.name} does not say how large its pixels are; "
                "give slide_mpp (in a table of slides the column mpp): micrometres per pixel, "
                "about 0.25 at 40x and 0.5 at 20x."
            )
        return self.mpp


@runtime_checkable
class SlideReader(Protocol):
    """An open slide. Safe to read from several threads at once."""

    @property
    def properties(self) -> SlideProperties:
        """Geometry and scale."""
        ...

    @property
    def pyramid_origin_xy(self) -> tuple[int, int]:
        """Level-0 pixel at which the arrays of `pyramid` begin (the bounds' corner, or 0, 0)."""
        ...

    def read_region(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        """Read pixels.

        Parameters
        ----------
        xy : tuple of int
            Top-left corner in level-0 pixels of the whole slide; it may lie outside.
        level : int
            A level of the file.
        size : tuple of int
            (width, height) in pixels of `level`.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Background colour where the slide has nothing.

        Raises
        ------
        SlideReadError
            If the file cannot be read there.
        SlideLostError
            If the file had to be opened again and cannot be.
        """
        ...

    def stain(self) -> Stain:
        """Tell what the slide is, by its pixels: some of them are read when it is first asked.

        A slide whose pixels cannot be read is called brightfield: reading them says what is wrong.
        """
        ...

    def color_profile(self) -> bytes | None:
        """Return the slide's ICC profile, None where the file has none that is known here.

        Raises
        ------
        SlideReadError
            If it is damaged.
        """
        ...

    def read_level(self, level: int, start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb:
        """Read a part of a level's array in `pyramid`, for looking.

        It may differ from `read_region` by what two decoders of JPEG may differ, which nobody
        sees: what is measured or embedded is read by `read_region`.

        Parameters
        ----------
        level : int
            A level of the file.
        start_hw, end_hw : tuple of int
            (row, column) of its first pixel, and of the first beyond it.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)

        Raises
        ------
        SlideReadError
            If the file cannot be read there.
        """
        ...

    def levels(self, cache: Path | None = None) -> list[LevelArray | NDArray[Any]]:
        """Return what `pyramid` returns as plain arrays that read what is indexed, for a viewer.

        Loading dask takes half a second, which a slide that is dropped on a window has not.

        Parameters
        ----------
        cache : Path, optional
            As for `pyramid`.
        """
        ...

    def pyramid(self, cache: Path | None = None) -> list[da.Array]:
        """Return the levels as lazy (height, width, 3) uint8 arrays, finest first.

        Parameters
        ----------
        cache : Path, optional
            Folder that may hold coarse levels made by
            :func:`src_core.slides.pyramid.build_coarse_levels`; they come last.
        """
        ...

    def close(self) -> None:
        """Release the file; reading afterwards opens it again."""
        ...


def require_brightfield(reader: SlideReader) -> None:
    """Raise `SlideReadError` with the remedy, if a slide's colours are not those of a stain."""
    stain = reader.stain()
    if stain != "brightfield":
        raise SlideReadError(
            f"{reader.properties.path.name} is a {stain} slide, and tissue is found, and patches "
            "are embedded, by the colours of a brightfield stain such as H&E; paint the tissue "
            "mask by hand, and import embeddings of another program."
        )
