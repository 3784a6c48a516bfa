"""OME-Zarr pictures (0.4 and 0.5) in a folder, chunk by chunk, through the optional `zarr`.

What the folder says is checked before zarr sees it: the paths stay inside, the codecs are those
that only unpack bytes, and no chunk is large.
"""

from __future__ import annotations

import math
import re
import stat
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from src_core.errors import ProjectError, SlideReadError
from src_core.provenance import read_json
from src_core.slides.channels import MAX_CHANNELS, display_shift, mixed, rgb_of
from src_core.slides.claims import check_chunk, check_side
from src_core.types import Rgb

__all__ = ["OmeZarr", "is_zarr"]

MAX_CHUNK_BYTES: Final = 64 * 2**20
_MAX_LEVELS: Final = 32
_SLACK_BYTES: Final = 2**20
"""Headers, indices and what compressing noise adds to a chunk."""

_CODECS: Final = frozenset(
    ["bytes", "blosc", "zstd", "gzip", "zlib", "lz4", "crc32c", "transpose", "sharding_indexed"]
)
"""Of a chunk; others may be any Python object (pickle) or plugin."""

_COMPRESSORS: Final = frozenset(["blosc", "zstd", "gzip", "zlib", "lz4"])
_METADATA: Final = (".zarray", ".zattrs", ".zgroup", "zarr.json")

_DTYPES: Final = {"|u1": "uint8", "<u2": "uint16", ">u2": "uint16", "uint8": "uint8"}
_DTYPES_V3: Final = {"uint8": "uint8", "uint16": "uint16"}
_MICROMETRES: Final = {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3}
_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9_. -]{1,64}")


def is_zarr(folder: Path) -> bool:
    """Tell whether a folder is the root of a Zarr group."""
    return any((folder / name).is_file() for name in (".zattrs", "zarr.json"))


class OmeZarr:
    """The first multiscale picture of an OME-Zarr folder.

    Parameters
    ----------
    path : Path
        The folder.

    Raises
    ------
    SlideReadError
        If zarr is not installed, or the folder holds no such picture.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            group, self._format = _attributes(path)
            picture = group["multiscales"][0]
            self._axes = [str(axis["name"]).lower() for axis in picture["axes"]]
            datasets = picture["datasets"][:_MAX_LEVELS]
            names = [_checked_path(path, str(one["path"])) for one in datasets]
            arrays = [_array_of(path, name, self._format) for name in names]
            self.values = _scale_of(picture)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, SlideReadError):
                raise
            raise SlideReadError(
                f"{path} holds no OME-Zarr picture of version 0.4 or 0.5 ({error}); "
                "convert it to one, or to a pyramidal TIFF."
            ) from error
        self._describe([one[0] for one in arrays], [one[1] for one in arrays])
        self._levels = [
            _opened(path, name, self._format, nbytes, codec)
            for name, (*_, nbytes, codec) in zip(names, arrays, strict=True)
        ]
        width, height = (min(side, 2048) for side in self.sizes[-1])
        last = self._values(len(names) - 1, 0, 0, height, width)
        self._shift = display_shift(last)

    def read(self, level: int, top: int, left: int, bottom: int, right: int) -> Rgb:
        """Read the pixels from (top, left) to (bottom, right) of a level."""
        pixels = self._values(level, top, left, bottom, right)
        return mixed(pixels, self._shift) if self.has_channels else rgb_of(pixels, self._shift)

    def close(self) -> None:
        """Nothing is kept open."""

    def _describe(self, shapes: list[tuple[int, ...]], chunks: list[tuple[int, ...]]) -> None:
        sizes = dict(zip(self._axes, shapes[0], strict=True))
        others = {name: n for name, n in sizes.items() if name not in "cyx" and n > 1}
        if self._axes[-2:] != ["y", "x"] or others or sizes.get("c", 1) > MAX_CHANNELS:
            raise SlideReadError(
                f"{self._path} is not one flat picture (its axes are {sizes}); "
                "export one plane of it."
            )
        self.sizes = tuple((shape[-1], shape[-2]) for shape in shapes)
        for sides in self.sizes:
            check_side(self._path.name, sides)
        self.tiles = tuple((chunk[-1], chunk[-2]) for chunk in chunks)
        self.is_grey = sizes.get("c", 1) == 1
        self.has_channels = sizes.get("c", 1) not in (1, 3)

    def _values(self, level: int, top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
        """Return (height, width, channels)."""
        index = [slice(None) if name == "c" else 0 for name in self._axes[:-2]]
        pixels = np.asarray(self._levels[level][(*index, slice(top, bottom), slice(left, right))])
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels[..., None]


def _attributes(path: Path) -> tuple[dict[str, Any], int]:
    try:
        if (path / "zarr.json").is_file():
            return read_json(path / "zarr.json")["attributes"]["ome"], 3
        return read_json(path / ".zattrs"), 2
    except ProjectError as error:
        raise SlideReadError(str(error)) from error


def _checked_path(root: Path, name: str) -> str:
    """Return the path of an array inside its group; refuse any that could lead out of it."""
    if not all(_NAME.fullmatch(part) for part in name.split("/")):
        raise SlideReadError(f"{root} names an array {name!r}, which may lie outside; mend it.")
    return name


def _array_of(
    root: Path, name: str, zarr_format: int
) -> tuple[tuple[int, ...], tuple[int, ...], int, str]:
    """Return shape, chunk, bytes of a chunk's file and its compressor, all of it checked."""
    try:
        if zarr_format == 3:
            values = read_json(root / name / "zarr.json")
            chunk = stored = values["chunk_grid"]["configuration"]["chunk_shape"]
            codecs, dtype = list(values["codecs"]), _DTYPES_V3.get(values["data_type"])
            if codecs and codecs[0]["name"] == "sharding_indexed":
                inner = codecs[0]["configuration"]
                chunk = inner["chunk_shape"]
                codecs += [*inner["codecs"], *inner["index_codecs"]]
            codecs = [codec["name"] for codec in codecs]
        else:
            values = read_json(root / name / ".zarray")
            chunk = stored = values["chunks"]
            compressor = values.get("compressor")
            codecs = [] if compressor is None else [compressor["id"]]
            codecs += [one["id"] for one in values.get("filters") or []]
            dtype = _DTYPES.get(values["dtype"])
    except ProjectError as error:
        raise SlideReadError(str(error)) from error
    shape = tuple(int(side) for side in values["shape"])
    if dtype is None or not _CODECS.issuperset(codecs):
        raise ValueError(f"{name} holds {values.get('dtype', values.get('data_type'))}, {codecs}")
    chunk, stored = (tuple(int(side) for side in one) for one in (chunk, stored))
    itemsize = np.dtype(dtype).itemsize
    if min(*shape, *chunk) < 1 or len(shape) != len(chunk):
        raise ValueError(f"{name} has shape {shape} in chunks of {chunk}")
    if math.prod(chunk) * itemsize > MAX_CHUNK_BYTES:
        raise SlideReadError(
            f"{root} is stored in chunks of {chunk}, more than {MAX_CHUNK_BYTES // 2**20} MB each; "
            "convert it to smaller ones."
        )
    return shape, chunk, math.prod(stored) * itemsize, _compressor_of(codecs)


def _compressor_of(codecs: list[str]) -> str:
    """Return the one codec that unpacks more bytes than it is given: two would hide the size."""
    compressors = [name for name in codecs if name in _COMPRESSORS]
    if len(compressors) > 1 or codecs.count("sharding_indexed") > 1:
        raise ValueError(f"it is packed more than once, {codecs}")
    return compressors[0] if compressors else ""


def _opened(root: Path, name: str, zarr_format: int, chunk_bytes: int, codec: str) -> Any:
    try:
        import zarr
        from zarr.storage import LocalStore
    except ImportError as error:
        raise SlideReadError(f"{root} is an OME-Zarr picture; install zarr to read it.") from error

    class Store(LocalStore):
        """A folder whose files are plain and no larger than what they should hold."""

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            file = self.root / key
            if file.exists():
                found = file.lstat()
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(f"{file} is a link or no file")
                if found.st_size > chunk_bytes + _SLACK_BYTES:
                    raise OSError(f"{file} is too large for what it should hold")
            data = await super().get(key, prototype, byte_range)
            if data is not None and not key.endswith(_METADATA):
                check_chunk(data.to_bytes(), codec, MAX_CHUNK_BYTES + _SLACK_BYTES)
            return data

    store = Store(root, read_only=True)
    return zarr.open_array(store=store, path=name, mode="r", zarr_format=zarr_format)  # type: ignore[arg-type]


def _scale_of(picture: dict[str, Any]) -> dict[str, str]:
    """Return the size of a level-0 pixel under names that `find_mpp` knows."""
    steps = [
        *picture["datasets"][0].get("coordinateTransformations", []),
        *picture.get("coordinateTransformations", []),
    ]
    values = {}
    for place, axis in enumerate(picture["axes"]):
        unit = _MICROMETRES.get(axis.get("unit"))
        if axis["name"] in ("x", "y") and unit is not None:
            scales = [float(step["scale"][place]) for step in steps if step.get("type") == "scale"]
            values[f"ome.mpp-{axis['name']}"] = str(unit * math.prod(scales))
    return values
