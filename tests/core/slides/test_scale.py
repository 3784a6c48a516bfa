from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def _written(mpp_x: float, mpp_y: float) -> list[dict[str, str]]:
    """Return one pair of sizes as every kind of file says it."""
    names = 'PhysicalSizeX="{}" PhysicalSizeY="{}"'
    units = 'PhysicalSizeXUnit="{0}" PhysicalSizeYUnit="{0}"'
    ome = [
        {"tiff.ImageDescription": f"<OME {names.format(mpp_x * n, mpp_y * n)} {units.format(unit)}"}
        for unit, n in (("µm", 1), ("nm", 1e3), ("mm", 1e-3))
    ]
    dots = [
        {
            "tiff.ResolutionUnit": unit,
            "tiff.XResolution": str(length / mpp_x),
            "tiff.YResolution": str(length / mpp_y),
        }
        for unit, length in (("inch", 25_400), ("centimeter", 10_000))
    ]
    dicom = {f"{_SPACING}[1]": str(mpp_x / 1e3), f"{_SPACING}[0]": str(mpp_y / 1e3)}
    plain = {"openslide.mpp-x": str(mpp_x), "openslide.mpp-y": str(mpp_y)}
    return [plain, dicom, {"ome.mpp-x": str(mpp_x), "ome.mpp-y": str(mpp_y)}, *ome, *dots]


@settings(max_examples=60)
@given(mpp=st.floats(0.1, 4), aspect=st.floats(0.5, 2))
def test_a_size_is_the_same_in_every_unit_and_a_mean_where_it_is_believed(
    mpp: float, aspect: float
) -> None:
    larger = max(aspect, 1 / aspect)
    for values in _written(mpp, mpp * aspect):
        found, _ = find_mpp(values, slide_mpp=None, name="slide")
        if larger < 1.0999:
            # Half of what the sides differ by is what a length on either may be wrong by.
            assert found is not None
            assert found == pytest.approx(mpp * (1 + aspect) / 2)
            assert abs(found - mpp) <= 0.051 * max(mpp, found)
        elif larger > 1.1001:
            assert found is None


def test_objective_power_is_found_under_any_name() -> None:
    assert objective_power({"hamamatsu.SourceLens": "20"}) == 20
    assert objective_power({"openslide.objective-power": "x", "aperio.AppMag": "40"}) == 40
    assert objective_power({}) is None
