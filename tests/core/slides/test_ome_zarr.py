from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.errors import SlideReadError
from src_core.slides import open_slide
from src_core.types import Rgb

zarr = pytest.importorskip("zarr", minversion="3.0")


def write_ome_zarr(
    root: Path, pixels: Any, *, version: str = "0.5", axes: str = "cyx", **how: Any
) -> Path:
    """Write levels 1 and 1/2 of (..., y, x), 0.25 µm a pixel."""
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.open_group(root, mode="w", zarr_format=zarr_format)
    chunks = (*pixels.shape[:-2], 100, 128)
    for k in (0, 1):
        part = pixels[..., :: 2**k, :: 2**k]
        group.create_array(str(k), data=part, chunks=chunks, **how)
    units = {name: {"type": "space", "unit": "nanometer"} for name in "yx"}
    scale = [250.0 if name in "yx" else 1.0 for name in axes]
    picture = {
        "version": version,
        "axes": [{"name": name, **units.get(name, {})} for name in axes],
        "datasets": [
            {
                "path": str(k),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [s * (2**k if s > 1 else 1) for s in scale]}
                ],
            }
            for k in (0, 1)
        ],
    }
    group.attrs.update(
        {"ome": {"version": version, "multiscales": [picture]}}
        if zarr_format == 3
        else {"multiscales": [picture]}
    )
    return root


@pytest.fixture
def planes(noise: Rgb) -> Any:
    """Colours as (3, 500, 700)."""
    return np.ascontiguousarray(np.moveaxis(noise[:500, :700], 2, 0))


@pytest.mark.parametrize(
    ("version", "axes", "how"),
    [
        ("0.4", "cyx", {}),
        ("0.5", "cyx", {}),
        ("0.4", "tczyx", {}),
        ("0.5", "cyx", {"shards": (3, 200, 256)}),
    ],
)
def test_a_brightfield_picture_is_read_lazily(
    tmp_path: Path, planes: Any, noise: Rgb, version: str, axes: str, how: dict[str, Any]
) -> None:
    pixels = planes[None, :, None] if axes == "tczyx" else planes
    path = write_ome_zarr(tmp_path / "a.ome.zarr", pixels, version=version, axes=axes, **how)
    reader = open_slide(path)
    found = reader.properties
    assert (found.level_dimensions, reader.stain()) == (((700, 500), (350, 250)), "brightfield")
    assert (found.mpp, found.mpp_source) == (0.25, "vendor")
    region = reader.read_region((101, 50), 0, (300, 200))
    np.testing.assert_array_equal(region, noise[50:250, 101:401])
    np.testing.assert_array_equal(reader.levels()[1][:], noise[:500:2, :700:2])


def test_grey_and_many_channels_open_as_such(tmp_path: Path, planes: Any) -> None:
    grey = open_slide(write_ome_zarr(tmp_path / "grey.zarr", planes[0], axes="yx"))
    assert grey.stain() == "grey"
    four = np.concatenate([planes, planes[:1]]).astype(np.uint16) * 16
    channels = open_slide(write_ome_zarr(tmp_path / "four.zarr", four))
    assert channels.stain() == "fluorescence"
    assert channels.read_region((0, 0), 0, (50, 50)).max() > 100


def _edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _name_outside(root: Path, name: str) -> None:
    file = root / "zarr.json"
    values = json.loads(file.read_text())
    values["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = name
    file.write_text(json.dumps(values))


@pytest.mark.parametrize("name", ["../other/0", "/etc", "0/../../x", "C:\\x", "..", "", "0//1"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, planes: Any, name: str) -> None:
    write_ome_zarr(tmp_path / "other", planes)
    path = write_ome_zarr(tmp_path / "a.zarr", planes)
    _name_outside(path, name)
    with pytest.raises(SlideReadError, match=r"a\.zarr names an array"):
        open_slide(path)


def test_no_code_is_run_and_no_large_chunk_allocated(tmp_path: Path, planes: Any) -> None:
    for changes, said in (
        ({"filters": [{"id": "pickle"}]}, "pickle"),
        ({"dtype": "|O"}, r"\|O"),
        ({"compressor": {"id": "my_plugin"}}, "my_plugin"),
        ({"chunks": [3, 100_000, 100_000], "shape": [3, 100_000, 100_000]}, "64 MB"),
        ({"chunks": [0, 0, 0]}, "chunks of"),
        ({"shape": "abc"}, "no OME-Zarr picture"),
    ):
        path = write_ome_zarr(tmp_path / "a.zarr", planes, version="0.4")
        _edit(path / "0" / ".zarray", **changes)
        with pytest.raises(SlideReadError, match=said):
            open_slide(path)


@pytest.mark.parametrize("codec", ["gzip", "zlib", "zstd"])
def test_a_chunk_that_would_fill_the_memory_is_not_unpacked(
    tmp_path: Path, planes: Any, codec: str
) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", planes, version="0.4")
    _edit(path / "0" / ".zarray", compressor={"id": codec, "level": 1})
    packed = zlib.compressobj(1, wbits=31 if codec == "gzip" else 15)
    bomb = b"".join(packed.compress(bytes(2**20)) for _ in range(70)) + packed.flush()
    if codec == "zstd":  # that says it holds 10^12 bytes
        bomb = b"\x28\xb5\x2f\xfd\xc0\0" + (10**12).to_bytes(8, "little") + bytes(20)
    chunk = path / "0" / "0.0.0"
    assert chunk.is_file()
    chunk.write_bytes(bomb)
    reader = open_slide(path)
    with pytest.raises(SlideReadError, match=r"claims to hold more than 65 MB"):
        reader.read_region((0, 0), 0, (50, 50))


def test_a_chunk_packed_twice_hides_its_size_and_is_refused(tmp_path: Path, planes: Any) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", planes, version="0.4")
    twice = {"compressor": {"id": "zstd"}, "filters": [{"id": "gzip"}]}
    _edit(path / "0" / ".zarray", **twice)
    with pytest.raises(SlideReadError, match="packed more than once"):
        open_slide(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links and devices as files")
@pytest.mark.parametrize("trap", ["link", "pipe", "huge"])
def test_a_chunk_that_is_no_plain_file_is_not_read(tmp_path: Path, planes: Any, trap: str) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", planes)
    chunk = path / "0" / "c" / "0" / "0" / "0"
    chunk.unlink()
    if trap == "link":
        chunk.symlink_to("/dev/zero")
    elif trap == "pipe":
        os.mkfifo(chunk)
    else:
        with chunk.open("wb") as stream:
            stream.truncate(2**40)
    reader = open_slide(path)
    with pytest.raises(SlideReadError, match=r"a\.zarr cannot be read"):
        reader.read_region((0, 0), 0, (50, 50))
    assert reader.read_region((200, 200), 0, (50, 50)).shape == (50, 50, 3)


def test_without_zarr_one_sentence_says_what_to_install(
    tmp_path: Path, planes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", planes)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(SlideReadError, match="install zarr"):
        open_slide(path)


def test_another_zarr_folder_is_refused_with_a_sentence(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_array("x", data=np.zeros(3))
    with pytest.raises(SlideReadError, match="no OME-Zarr picture"):
        open_slide(tmp_path / "a.zarr")
