from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from src_core.errors import SlideReadError
from src_core.slides import open_slide
from src_core.slides.array_reader import ArrayReader
from src_core.slides.channels import display_shift, mixed, rgb_of
from src_core.tissue.segment import TissueConfig, segment_tissue


def _write_channels(path: Path, pixels: Any) -> Path:
    """Write (c, h, w) as OME-TIFF with one coarser level, mpp 0.5."""
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        how: Any = {"tile": (64, 64), "photometric": "minisblack", "compression": "deflate"}
        tiff.write(pixels, subifds=1, metadata=metadata, **how)
        tiff.write(pixels[:, ::2, ::2], subfiletype=1, **how)
    return path


def test_channels_of_a_camera_are_seen_in_colours_and_refused_as_tissue(tmp_path: Path) -> None:
    pixels = np.zeros((3, 300, 400), np.uint16)
    pixels[0, 100:200, 100:200] = 4000  # twelve bits
    pixels[1, 150:250, 150:300] = 500
    reader = open_slide(_write_channels(tmp_path / "cells.ome.tiff", pixels))
    found = reader.properties
    assert (reader.stain(), found.level_dimensions) == ("fluorescence", ((400, 300), (200, 150)))
    assert (found.mpp, found.mpp_source) == (0.5, "vendor")
    whole = reader.read_region((0, 0), 0, (400, 300))
    assert tuple(whole[120, 120]) == (0, 0, 250)
    assert tuple(whole[220, 220]) == (0, 250, 0)
    assert tuple(whole[170, 170]) == (0, 250, 250)
    assert whole[:90].max() == 0
    np.testing.assert_array_equal(reader.levels()[0][:], whole)
    with pytest.raises(SlideReadError, match="is a fluorescence slide"):
        segment_tissue(reader, TissueConfig())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_picture_opens_visibly_and_is_refused_as_tissue(tmp_path: Path, dtype: Any) -> None:
    row = np.linspace(0, 255 if dtype is np.uint8 else 4095, 400).astype(dtype)
    path = tmp_path / "grey.tiff"
    resolution: Any = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, np.tile(row, (300, 1)), photometric="minisblack", **resolution)
    reader = open_slide(path, slide_mpp=0.5)
    assert reader.stain() == "grey"
    assert reader.read_region((0, 0), 0, (400, 300)).max() == 255
    with pytest.raises(SlideReadError, match="is a grey slide"):
        segment_tissue(reader, TissueConfig())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("how", [{}, {"tile": (64, 64), "compression": "deflate"}])
def test_a_grey_picture_that_counts_darkness_is_shown_the_right_way_round(
    tmp_path: Path, dtype: Any, how: Any
) -> None:
    """Dark tissue on white glass, stored as MINISWHITE: 0 is white."""
    most = np.iinfo(dtype).max
    shown = np.full((300, 400), 240, np.uint8)
    shown[100:200, 100:300] = np.linspace(40, 200, 200).astype(np.uint8)
    stored = most - shown.astype(dtype) * (most // 255)
    path = tmp_path / "grey.tiff"
    tifffile.imwrite(path, stored, photometric="miniswhite", **how)
    reader = ArrayReader(path)
    assert reader.stain() == "grey"
    pixels = reader.read_region((0, 0), 0, (400, 300))
    np.testing.assert_allclose(pixels[..., 0].astype(int), shown, atol=1)
    assert (pixels == pixels[..., :1]).all()
    outside = reader.read_region((390, 290), 0, (20, 20))
    assert (outside[12:, 12:] == 255).all()


@pytest.mark.parametrize("how", [{}, {"compression": "deflate"}, {"compression": "jpeg"}])
def test_a_grey_slide_that_openslide_opens_is_refused_as_tissue_too(
    tmp_path: Path, square_slide: Path, how: Any
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "grey.tiff"
    with tifffile.TiffWriter(path) as tiff:
        for level, factor in enumerate((1, 2)):
            pixels = rng.integers(120, 255, (512 // factor, 640 // factor)).astype(np.uint8)
            tiff.write(
                pixels,
                tile=(256, 256),
                photometric="minisblack",
                subfiletype=level,
                resolution=(20_000 / factor, 20_000 / factor),
                resolutionunit="CENTIMETER",
                **how,
            )
    reader = open_slide(path)
    assert reader.properties.vendor == "generic-tiff"
    assert reader.stain() == "grey"
    with pytest.raises(SlideReadError, match=r"grey\.tiff is a grey slide.*paint"):
        segment_tissue(reader, TissueConfig())
    assert open_slide(square_slide).stain() == "brightfield"


def test_shifts_fill_eight_bits_and_no_more() -> None:
    pixels = np.array([[0, 255, 256, 4095, 65535]], np.uint16)[..., None]
    for column, shift in enumerate((0, 0, 1, 4, 8)):
        one = pixels[:, column : column + 1]
        assert display_shift(one).tolist() == [shift]
        assert rgb_of(one, display_shift(one)).max() <= 255
    assert rgb_of(pixels, np.array([0], np.uint8)).max() == 255  # brighter than what was looked at
    many = np.full((2, 2, 9), 65535, np.uint16)
    assert (mixed(many, display_shift(many)) == 255).all()
