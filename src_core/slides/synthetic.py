"""Synthetic slides: drawings with a known truth, for samples, demonstrations and tests.

They come from no patient and show that the software works, nothing of pathology.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tifffile
from PIL import Image

from src_core.provenance import write_array, write_atomically
from src_core.slides.drawing import SlideTruth, draw_square, draw_tissue
from src_core.types import Rgb

__all__ = [
    "CLASSES",
    "SyntheticSlide",
    "write_sample_cohort",
    "write_sample_slide",
    "write_square_slide",
]

CLASSES: Final = ("normal", "nodule")
"""The classes of a sample cohort: without and with a nodule."""

GLASS_RGB: Final = (243, 243, 243)

_DOWNSAMPLES: Final = (4.0, 16.0)
_DESCRIPTION: Final = "napari-fusecpath synthetic tissue, a drawing, from no patient"
_TILE: Final = 256
_WRITERS: Final = 2
_SAMPLE_PX: Final = (2560, 2560)  # of a cohort: all its patches are embedded within a demo


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSlide:
    """What is drawn."""

    size_px: tuple[int, int] = (3072, 3072)
    """(width, height) of level 0."""
    mpp: float = 0.5
    seed: int = 0
    """The same seed gives the same slide."""
    nodule_fraction: float = 0.0
    """Share of the tissue that is nodule, 0 to 1."""
    n_pieces: int = 1
    tissue_fraction: float = 0.6
    """Share of the slide that is tissue."""


def write_sample_slide(
    path: Path,
    slide: SyntheticSlide = SyntheticSlide(),
    *,
    downsamples: Sequence[float] = _DOWNSAMPLES,
    compression: Literal["jpeg", "deflate"] = "jpeg",
) -> SlideTruth:
    """Draw a slide and write it as a pyramidal, tiled TIFF.

    Parameters
    ----------
    path : Path
        The file, e.g. ``slide.tiff``; written whole or not at all.
    slide : SyntheticSlide, optional
        What is drawn.
    downsamples : sequence of float, optional
        Factors of the levels below level 0.
    compression : {"jpeg", "deflate"}, optional
        Deflate keeps every pixel and is about five times larger.

    Returns
    -------
    SlideTruth
        Which pixels are tissue and which nodule.

    Raises
    ------
    ValueError
        If a share is not within 0 to 1.
    """
    if not (0 < slide.tissue_fraction < 1 and 0 <= slide.nodule_fraction <= 1):
        raise ValueError(f"tissue_fraction and nodule_fraction of {slide} must be within 0 to 1.")
    pixels, truth = draw_tissue(
        slide.size_px,
        mpp=slide.mpp,
        nodule_fraction=slide.nodule_fraction,
        n_pieces=slide.n_pieces,
        tissue_fraction=slide.tissue_fraction,
        rng=np.random.default_rng(slide.seed),
    )
    _write_pyramid(path, pixels, slide.mpp, downsamples, compression)
    return truth


def write_sample_cohort(folder: Path, *, n_slides: int = 16, seed: int = 2025) -> Path:
    """Write a cohort of two classes that a model can learn, and its table of labels.

    Half of the slides hold a nodule of 10 to 30 % of their tissue; a patient has one slide or
    two. At 0.5 µm a slide has about 60 patches of 256 px.

    Parameters
    ----------
    folder : Path
        Gets ``labels.csv``, ``slides/<slide_id>.tiff`` and ``truth/<slide_id>.npy`` (bool, the
        nodule, one pixel a 4 µm).
    n_slides : int, optional
        Slides, at least 2.
    seed : int, optional
        The same seed gives the same cohort.

    Returns
    -------
    Path
        ``labels.csv`` with columns slide_id, path (relative to it), patient_id, label.
    """
    if n_slides < 2:
        raise ValueError(f"n_slides is {n_slides}; a cohort of two classes needs at least 2.")
    rng = np.random.default_rng(seed)
    rows = [("slide_id", "path", "patient_id", "label")]
    work = []
    patients = _patients(n_slides)
    for index, patient in enumerate(patients):
        label = CLASSES[patient % 2]
        name = f"synthetic-{index + 1:02d}"
        share = float(rng.uniform(0.1, 0.3)) if label == CLASSES[1] else 0.0
        slide = SyntheticSlide(
            size_px=_SAMPLE_PX,
            seed=int(rng.integers(2**31)),
            nodule_fraction=share,
            n_pieces=int(rng.integers(1, 3)),
        )
        rows.append((name, f"slides/{name}.tiff", f"patient-{patient + 1:02d}", label))
        work.append((folder, name, slide))
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(_write_member, work))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_atomically(
        folder / "labels.csv", lambda stream: _ignore(stream.write(table.getvalue().encode()))
    )
    return folder / "labels.csv"


def write_square_slide(
    path: Path,
    *,
    size_px: tuple[int, int] = (1500, 1100),
    square_xywh: tuple[int, int, int, int] = (300, 200, 640, 512),
    mpp: float | None = 0.5,
    downsamples: Sequence[float] = _DOWNSAMPLES,
    nodule: bool = False,
    seed: int = 0,
    aperio: bool = False,
    bounds_xy: tuple[int, int] | None = None,
) -> None:
    """Write a slide of plain glass with one rectangle of tissue in a known place, lossless.

    Parameters
    ----------
    path : Path
        The file.
    size_px : tuple of int
        (width, height) of level 0.
    square_xywh : tuple of int
        Left, top, width and height of the tissue in pixels of what is drawn.
    mpp : float, optional
        None writes a slide that does not say how large its pixels are.
    downsamples : sequence of float
        Factors of the levels below level 0, whole or not; sizes are rounded.
    nodule : bool
        Crowded dark nuclei instead of fibres.
    seed : int
        Of the drawing.
    aperio : bool
        Describe the file as a scanner of that make does, so that OpenSlide reads its keys.
    bounds_xy : tuple of int, optional
        Write a Leica SCN file (it needs `mpp`) in which what is drawn is the scanned area, its
        corner at this level-0 pixel of the whole slide; nothing is recorded around it.
    """
    width, height = size_px
    left, top, across, down = square_xywh
    pixels = np.full((height, width, 3), GLASS_RGB, np.uint8)
    rng = np.random.default_rng(seed)
    pixels[top : top + down, left : left + across] = draw_square(
        (across, down), mpp=mpp or 0.5, nodule=nodule, rng=rng
    )
    description = _DESCRIPTION
    if aperio:
        scale = "" if mpp is None else f"|MPP = {mpp}|AppMag = {10 / mpp:g}"
        description = f"Aperio Image Library ({_DESCRIPTION})\r\n{width}x{height}{scale}"
    if bounds_xy is not None:
        if mpp is None:
            raise ValueError("mpp is None; bounds_xy needs it, for Leica counts in nanometres.")
        description = _leica_description(size_px, bounds_xy, mpp, downsamples)
    _write_pyramid(path, pixels, mpp, downsamples, "deflate", description=description)


def _patients(n_slides: int) -> list[int]:
    """Return the patient of each slide: of three slides of a class, two are of one patient."""
    next_of = [0, 1]  # even patients are of the first class, odd ones of the second
    of_class: list[list[int]] = [[], []]
    for index in range(n_slides):
        which = index % 2
        if len(of_class[which]) % 3 != 1:
            next_of[which] += 2
        of_class[which].append(next_of[which] - 2)
    return [of_class[index % 2][index // 2] for index in range(n_slides)]


def _write_member(work: tuple[Path, str, SyntheticSlide]) -> None:
    folder, name, slide = work
    truth = write_sample_slide(folder / "slides" / f"{name}.tiff", slide)
    write_array(folder / "truth" / f"{name}.npy", truth.nodule)


def _write_pyramid(
    path: Path,
    pixels: Rgb,
    mpp: float | None,
    downsamples: Sequence[float],
    compression: Literal["jpeg", "deflate"],
    *,
    description: str = _DESCRIPTION,
) -> None:
    jpeg = compression == "jpeg"
    options: dict[str, Any] = {
        "photometric": "rgb",
        "compression": compression,
        "compressionargs": {"level": 88} if jpeg else {"level": 6},
        "tile": (_TILE, _TILE),
        "metadata": None,
        "software": "napari-fusecpath",
        "description": description,
    }

    def write(stream: Any) -> None:
        leica = description.startswith("<scn")
        with tifffile.TiffWriter(stream, bigtiff=leica) as tiff:
            if leica:  # its first picture is the overview
                tiff.write(np.full((64, 64, 3), GLASS_RGB, np.uint8), **options)
                options["description"] = None
            for index, downsample in enumerate((1.0, *downsamples)):
                if mpp:
                    options["resolution"] = (1e4 / (mpp * downsample),) * 2
                    options["resolutionunit"] = "CENTIMETER"
                tiff.write(_shrunk(pixels, downsample), subfiletype=int(index > 0), **options)

    write_atomically(path, write)


def _leica_description(
    size_px: tuple[int, int],
    bounds_xy: tuple[int, int],
    mpp: float,
    downsamples: Sequence[float],
) -> str:
    """Return the XML of an SCN file whose levels are the directories 1, 2 ..."""
    nanometres = mpp * 1000
    area = [round(side * nanometres) for side in size_px]
    offset = [round(side * nanometres) for side in bounds_xy]
    whole = [2 * before + side for before, side in zip(offset, area, strict=True)]
    sizes = [[max(1, round(side / factor)) for side in size_px] for factor in (1.0, *downsamples)]
    levels = "".join(
        f'<dimension sizeX="{width}" sizeY="{height}" r="{k}" ifd="{k + 1}"/>'
        for k, (width, height) in enumerate(sizes)
    )

    def image(name: str, pixels: str, size: list[int], corner: list[int], power: float) -> str:
        return (
            f'<image name="{name}"><device model="none" version="1"/>{pixels}'
            f'<view sizeX="{size[0]}" sizeY="{size[1]}" offsetX="{corner[0]}" '
            f'offsetY="{corner[1]}" spacingZ="0"/><scanSettings><objectiveSettings>'
            f"<objective>{power:g}</objective></objectiveSettings><illuminationSettings>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings>"
            "</scanSettings></image>"
        )

    overview = '<pixels sizeX="64" sizeY="64"><dimension sizeX="64" sizeY="64" r="0" ifd="0"/>'
    main = f'<pixels sizeX="{size_px[0]}" sizeY="{size_px[1]}">{levels}</pixels>'
    return (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="{_DESCRIPTION}" sizeX="{whole[0]}" sizeY="{whole[1]}">'
        + image("overview", overview + "</pixels>", whole, [0, 0], 0.6)
        + image("scan", main, area, offset, 10 / mpp)
        + "</collection></scn>"
    )


def _shrunk(pixels: Rgb, downsample: float) -> Rgb:
    if downsample == 1:
        return pixels
    height, width = (max(1, round(side / downsample)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def _ignore(_: int) -> None:
    """Make a writer of what returns a count."""
