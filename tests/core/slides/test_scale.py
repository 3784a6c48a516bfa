from __future__ import annotations

import pytest

from src_core.errors import SlideScaleError
from src_core.slides.scale import find_mpp, objective_power

_SPACING = "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing"


@pytest.mark.parametrize(
    ("values", "mpp", "source"),
    [
        ({"openslide.mpp-x": "0.24", "openslide.mpp-y": "0.26"}, 0.25, "openslide"),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, None, "unknown"),  # no squares
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5", "aperio.MPP": "0.5"}, 0.5, "vendor"),
        ({"ome.mpp-x": "0.5", "ome.mpp-y": "0.5"}, 0.5, "vendor"),
        ({"openslide.mpp-x": "0.5", "aperio.MPP": "0.25"}, 0.5, "openslide"),
        ({"openslide.mpp-x": "352.8", "aperio.MPP": "0.25"}, 0.25, "vendor"),
        ({"aperio.MPP": "0.4990"}, 0.499, "vendor"),
        ({f"{_SPACING}[0]": "0.00025", f"{_SPACING}[1]": "0.00025"}, 0.25, "vendor"),
        ({"mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X": "0.2325"}, 0.2325, "vendor"),
        (
            {"tiff.ImageDescription": '<OME PhysicalSizeX="250" PhysicalSizeXUnit="nm"/>'},
            0.25,
            "vendor",
        ),
        (
            {"tiff.ImageDescription": '<OME PhysicalSizeX="1" PhysicalSizeXUnit="pc"/>'},
            None,
            "unknown",
        ),
        ({"tiff.XResolution": "40000", "tiff.ResolutionUnit": "centimeter"}, 0.25, "tiff"),
        ({"tiff.XResolution": "50800", "tiff.ResolutionUnit": "inch"}, 0.5, "tiff"),
        ({"tiff.XResolution": "40000", "tiff.ResolutionUnit": "none"}, None, "unknown"),
        ({"tiff.XResolution": "72", "tiff.ResolutionUnit": "inch"}, None, "unknown"),
        ({"openslide.objective-power": "40"}, 0.25, "objective"),
        ({"aperio.AppMag": "20", "openslide.mpp-x": "nan"}, 0.5, "objective"),
        ({"openslide.objective-power": "0"}, None, "unknown"),
        ({"openslide.mpp-x": "", "aperio.MPP": "about a half"}, None, "unknown"),
        ({}, None, "unknown"),
    ],
)
def test_the_most_trusted_plausible_source_wins(
    values: dict[str, str], mpp: float | None, source: str
) -> None:
    found = find_mpp(values, slide_mpp=None, name="slide")
    assert found == (None if mpp is None else pytest.approx(mpp), source)


def test_the_user_goes_before_the_file() -> None:
    assert find_mpp({"openslide.mpp-x": "0.5"}, slide_mpp=0.25, name="slide") == (0.25, "user")
    assert find_mpp({}, slide_mpp=0.05, name="slide") == (0.05, "user")
    with pytest.raises(SlideScaleError, match=r"slide\.svs.*0\.05 to 5"):
        find_mpp({}, slide_mpp=5.01, name="slide.svs")


def test_objective_power_is_found_under_any_name() -> None:
    assert objective_power({"hamamatsu.SourceLens": "20"}) == 20
    assert objective_power({"openslide.objective-power": "x", "aperio.AppMag": "40"}) == 40
    assert objective_power({}) is None
