"""Slides opened as napari opens them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from napari.settings import get_settings
from numpy.typing import NDArray

from napari_fusecpath.jobs import runner_for
from napari_fusecpath.layers.canvas import scale_bar_of
from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.slide import set_slide_mpp, turn_on_async_slicing
from napari_fusecpath.readers import slide as reader_module
from napari_fusecpath.readers.slide import (
    PLUGIN,
    get_reader,
    is_our_reader_preferred,
    open_in,
    prefer_our_reader,
    read_slide,
)
from napari_fusecpath.state import workbench_of
from src_core.errors import SlideReadError


@pytest.fixture
def flat_slide(tmp_path: Path) -> Path:
    """A tiled TIFF of one large level."""
    path = tmp_path / "flat.tif"
    row = np.linspace(0, 255, 5000, dtype=np.uint8)
    pixels = np.repeat(np.repeat(row[None, :, None], 4500, axis=0), 3, axis=2)
    tifffile.imwrite(
        path,
        pixels,
        tile=(512, 512),
        compression="deflate",
        photometric="rgb",
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    return path


def test_open_a_real_slide(
    small_slide: Path,
    make_napari_viewer: Any,
    canvas_of: Callable[..., NDArray[np.uint8]],
    qtbot: Any,
) -> None:
    viewer = make_napari_viewer(show=True)
    (layer,) = viewer.open(small_slide, plugin=PLUGIN)
    assert layer.multiscale
    assert layer.rgb
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    np.testing.assert_allclose(layer.scale, 0.499)
    np.testing.assert_allclose(layer.translate, 0.2495)
    np.testing.assert_allclose(
        layer.extent.world[1] - layer.extent.world[0], (1480.5, 1107.8), rtol=1e-3
    )
    assert find_layer(viewer, "slide") is layer
    assert about(layer)["mpp_source"] == "openslide"
    assert workbench_of(viewer).slide_path == small_slide
    qtbot.waitUntil(lambda: scale_bar_of(viewer).visible, timeout=3000)
    assert get_settings().experimental.async_
    picture = canvas_of(viewer, wait=1000).astype(int)
    tissue = picture[(picture.min(-1) < 220) & (picture.max(-1) > 60)]
    assert len(tissue) > 50_000
    red, green, blue = tissue.mean(0)
    assert red > green
    assert blue > green  # eosin and haematoxylin


def test_a_dicom_folder_and_its_files(shared_data: Path) -> None:
    folder = shared_data / "slides" / "dicom-CMU-1-Small-Region"
    files = sorted(str(file) for file in folder.glob("*.dcm"))
    for path in (str(folder), files[0], [str(folder)], files):
        assert get_reader(path) is read_slide
    levels, arguments, kind = read_slide(str(folder))[0]
    assert kind == "image"
    assert arguments["units"] == ("um", "um")
    assert levels[0].shape[2] == 3


def test_what_is_not_for_us(tmp_path: Path, small_slide: Path) -> None:
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.zeros((32, 32), dtype=np.uint8))
    broken = tmp_path / "broken.tiff"
    broken.write_bytes(b"no tiff")
    for path in (str(small), str(broken), str(tmp_path), str(tmp_path / "a.npy")):
        assert get_reader(path) is None
    assert get_reader([str(small_slide), str(small_slide)]) is None
    assert get_reader([]) is None


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "is_ours"),
    [
        ((60, 80, 3), np.uint8, {"photometric": "rgb"}, True),
        ((60, 80, 4), np.uint8, {"photometric": "rgb", "extrasamples": [2]}, True),
        ((60, 80, 3), np.uint8, {"photometric": "rgb", "compression": "jpeg"}, True),
        ((60, 80, 3), np.uint16, {"photometric": "rgb"}, False),
        ((60, 80), np.uint8, {}, False),
        ((60, 80), np.uint16, {}, False),
        ((5, 60, 80, 3), np.uint8, {"photometric": "rgb"}, False),
        ((3, 60, 80), np.uint8, {"photometric": "rgb", "planarconfig": "separate"}, False),
        ((3, 60, 80), np.uint8, {"photometric": "minisblack"}, False),
    ],
)
def test_of_flat_tiffs_one_rgb_picture_of_8_bits_is_ours(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, options: Any, is_ours: bool
) -> None:
    path = tmp_path / "flat.tif"
    resolution: Any = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, np.zeros(shape, dtype), **resolution, **options)
    reader = get_reader(str(path))
    assert (reader is read_slide) == is_ours
    if reader is not None:
        ((levels, arguments, kind),) = reader(str(path))
        assert kind == "image"
        assert arguments["multiscale"]
        assert arguments["units"] == ("um", "um")
        np.testing.assert_allclose(arguments["scale"], 0.5)
        assert levels[0].shape == (60, 80, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_plain_picture_is_a_slide_when_it_is_opened_as_one(
    make_napari_viewer: Any, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"plain{suffix}"
    PIL.Image.fromarray(np.full((300, 400, 3), 200, np.uint8)).save(path)
    assert get_reader(str(path)) is None
    viewer = make_napari_viewer()
    open_in(viewer, path)
    layer = find_layer(viewer, "slide")
    assert layer is not None
    assert list(viewer.layers) == [layer]
    assert layer.multiscale
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
    assert about(layer)["mpp"] is None
    assert workbench_of(viewer).slide_path == path
    set_slide_mpp(viewer, 0.5)
    np.testing.assert_allclose(layer.scale, 0.5)


def test_napari_asks_nobody_whose_a_png_is(tmp_path: Path) -> None:
    from napari.plugins import _npe2

    for name in ("a.png", "a.jpg", "a.jpeg"):
        assert PLUGIN not in _npe2.get_readers(str(tmp_path / name))
    assert PLUGIN in _npe2.get_readers(str(tmp_path / "a.tif"))


def test_tiffs_that_are_slides(flat_slide: Path, shared_data: Path, tmp_path: Path) -> None:
    assert get_reader(str(flat_slide)) is read_slide
    assert get_reader(str(shared_data / "slides/openslide-python/boxes.tiff")) is read_slide
    strips = tmp_path / "strips.tif"  # no slide for OpenSlide, but too large to be read whole
    tifffile.imwrite(strips, np.zeros((5000, 200, 3), dtype=np.uint8), photometric="rgb")
    assert get_reader(str(strips)) is read_slide


def test_a_file_that_is_no_slide_is_one_sentence(shared_data: Path) -> None:
    path = str(shared_data / "slides" / "broken-histolab.svs")
    reader = get_reader(path)
    assert reader is not None
    with pytest.raises(SlideReadError, match="broken-histolab") as caught:
        reader(path)
    assert "\n" not in str(caught.value)


def test_a_flat_slide_is_prepared_in_a_job(
    flat_slide: Path, make_napari_viewer: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    assert viewer.open(flat_slide, plugin=PLUGIN) == []
    runner = runner_for(viewer)
    assert runner.running or runner.queued
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=60_000)
    layer = viewer.layers[0]
    assert len(layer.data) > 1
    assert max(layer.data[-1].shape) <= 2048
    np.testing.assert_allclose(layer.scale, 0.5)
    runner.close()
    # And the next time it opens at once.
    (again,) = viewer.open(flat_slide, plugin=PLUGIN)
    assert len(again.data) == len(layer.data)


def test_a_flat_slide_that_cannot_be_prepared_says_so(
    flat_slide: Path, make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(reader_module, "report_failure", said.append)
    viewer = make_napari_viewer()
    viewer.open(flat_slide, plugin=PLUGIN)
    flat_slide.rename(flat_slide.with_suffix(".moved"))
    qtbot.waitUntil(lambda: bool(said), timeout=60_000)
    assert "flat.tif" in said[0].message
    assert said[0].user
    assert workbench_of(viewer).slide_problem == said[0].message
    runner_for(viewer).close()


def test_scale_typed_by_the_user(make_napari_viewer: Any, tmp_path: Path) -> None:
    path = tmp_path / "unknown.tif"
    tifffile.imwrite(
        path, np.zeros((600, 600, 3), dtype=np.uint8), tile=(256, 256), photometric="rgb"
    )
    viewer = make_napari_viewer()
    (layer,) = viewer.open(path, plugin=PLUGIN)
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
    np.testing.assert_allclose(layer.translate, 0.5)
    set_slide_mpp(viewer, 0.25)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    np.testing.assert_allclose(layer.scale, 0.25)
    np.testing.assert_allclose(layer.translate, 0.125)
    assert about(layer)["mpp_source"] == "user"


def test_async_slicing_is_not_written_to_the_settings_of_the_user(tmp_path: Path) -> None:
    settings = get_settings()
    saved = tmp_path / "settings.yaml"
    turn_on_async_slicing()
    assert settings.experimental.async_
    settings.save(saved)
    assert "async" not in saved.read_text()
    settings.experimental.async_ = False


def test_our_reader_is_preferred_for_slides_and_given_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugins = get_settings().plugins
    monkeypatch.setattr(plugins, "extension2reader", {"*.npy": "napari", "*.tif": "another"})
    assert not is_our_reader_preferred()
    prefer_our_reader(True)
    assert is_our_reader_preferred()
    assert plugins.extension2reader["*.svs"] == plugins.extension2reader["*.tif"] == PLUGIN
    assert plugins.extension2reader["*.npy"] == "napari"
    prefer_our_reader(False)
    assert plugins.extension2reader == {"*.npy": "napari"}


def test_read_slide_without_a_window(small_slide: Path) -> None:
    ((levels, arguments, kind),) = read_slide(str(small_slide))
    assert kind == "image"
    assert all(level.shape[2] == 3 for level in levels)
    assert levels[0][5:9, 7].shape == (4, 3)  # read where it is indexed
    assert arguments["name"] == "CMU-1-Small-Region"
