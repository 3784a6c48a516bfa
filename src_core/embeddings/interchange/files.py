"""Files of embeddings by other programs, told apart and read into one form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.embeddings.interchange.hdf5 import (
    attributes,
    blocks,
    number,
    opened,
    rows,
    shape_2d,
    table,
)
from src_core.embeddings.interchange.qupath import is_outlines, outlines_name, read_squares
from src_core.embeddings.interchange.records import PatchFile, SlideVector
from src_core.embeddings.interchange.tensors import read_table
from src_core.errors import ExchangeError
from src_core.patches.lattice import MAX_CELLS
from src_core.types import Float64

__all__ = ["read_file"]

_LONGEST = 65_536
"""Numbers of an embedding: more than any encoder gives."""
_STAMP_HISTORIC = (224.0, 256.0)
"""Before STAMP wrote a scale its patches were 224 px of 256 µm, and counted in those px."""


def read_file(path: Path) -> PatchFile | SlideVector:
    """Read a file of another program.

    Parameters
    ----------
    path : Path
        ``.h5`` of TRIDENT, CLAM or STAMP; ``.pt`` of CLAM with its ``.h5`` beside it; ``.npy`` or
        ``.csv`` of one vector; ``.geojson`` of QuPath's squares.

    Raises
    ------
    ExchangeError
        If it is none of these, is damaged, or holds what no such file can.
    """
    path = path.absolute()
    kind = path.suffix.lower()
    if kind in (".h5", ".hdf5"):
        return _checked(_read_hdf5(path))
    if kind == ".pt":
        return _checked(_read_tensor(path))
    if kind in (".npy", ".csv"):
        return _checked(_read_vector(path))
    if is_outlines(path):
        corners, side = read_squares(path)
        slide = outlines_name(path)
        return _checked(
            PatchFile(
                path=path, tool="qupath", slide=slide, encoder=None, coords=corners, patch_l0=side
            )
        )
    raise ExchangeError(
        f"{path} is none of .h5, .pt, .npy, .csv and .geojson; name the files to import."
    )


def _checked(found: PatchFile | SlideVector) -> PatchFile | SlideVector:
    if isinstance(found, SlideVector):
        if found.vector.size == 0:
            raise ExchangeError(
                f"{found.path} is empty: the slide had no patches when it was made."
            )
        if found.vector.size > _LONGEST or not np.isfinite(found.vector).all():
            raise ExchangeError(f"{found.path} holds no embedding of finite numbers.")
        if found.patches is not None:
            _check_patches(found.patches)
        return found
    _check_patches(found)
    return found


def _check_patches(found: PatchFile) -> None:
    if len(found.coords) == 0:
        raise ExchangeError(f"{found.path} is empty: it holds no patches.")
    if not np.isfinite(found.coords).all() or np.abs(found.coords).max() > 1e9:
        raise ExchangeError(f"{found.path} has coordinates that are no finite numbers.")


def _read_hdf5(path: Path) -> PatchFile | SlideVector:
    with opened(path) as file:
        if table(file, "feats", path=path) is not None:
            return _read_stamp(path, file)
        features = table(file, "features", path=path)
        coords = table(file, "coords", path=path)
        if features is not None and (features.ndim == 1 or _is_slides(path, features)):
            return _trident_vector(path, features, coords)
        if coords is None:
            raise ExchangeError(f"{path} has no coords, so nobody knows where its patches lie.")
        images = table(file, "imgs", path=path) if "imgs" in file and features is None else None
        about = attributes(coords) or (attributes(images) if images is not None else {})
        found = _patches(path, coords, features)
        encoder = None if features is None else _text(attributes(features), "encoder")
    if "patch_size_level0" in about or "level0_magnification" in about:
        return _with_trident(found, about, encoder)
    return _with_clam(found, about, encoder)


def _is_slides(path: Path, features: Any) -> bool:
    return path.parent.name.startswith("slide_features_") and features.shape[0] == 1


def _trident_vector(path: Path, features: Any, coords: Any | None) -> SlideVector:
    if features.size > _LONGEST:
        raise ExchangeError(f"{path} holds {features.size} numbers, too many for one slide.")
    about = attributes(features)
    patches = None
    if coords is not None and features.size:  # of a slide without tissue neither holds anything
        patches = _with_trident(_patches(path, coords, None), attributes(coords), None)
    return SlideVector(
        path=path,
        tool="trident",
        slide=_named(about, path),
        encoder=_text(about, "encoder") or _folder_encoder(path, "slide_features_"),
        vector=np.asarray(features[()], np.float32).reshape(-1),
        patches=patches,
    )


def _patches(path: Path, coords: Any, features: Any | None) -> PatchFile:
    """Return the corners and the way to the embeddings, whoever wrote them."""
    corners = _corners(path, coords)
    found = PatchFile(
        path=path,
        tool="clam",
        slide=path.stem.removesuffix("_patches"),
        encoder=None,
        coords=corners,
    )
    if features is None:
        return found
    size = shape_2d(features)
    if size is None or not 0 < size[1] <= _LONGEST or features.dtype.kind != "f":
        raise ExchangeError(
            f"{path}: {features.name} are {features.dtype} of shape {features.shape}, "
            "not numbers of (patches, dimensions)."
        )
    if size[0] != len(corners):
        raise ExchangeError(
            f"{path} has {size[0]} embeddings and {len(corners)} corners of patches; "
            "extract it again."
        )
    name = features.name

    def read() -> Iterator[NDArray[Any]]:
        with opened(path) as file:
            again = table(file, name.lstrip("/"), path=path)
            if again is None or shape_2d(again) != size:
                raise ExchangeError(f"{path} has changed while it was read; import it again.")
            yield from blocks(again, size[0])

    return replace(found, dim=size[1], stored_as=str(features.dtype), embeddings=read)


def _corners(path: Path, coords: Any) -> Float64:
    """Return the corners, (N, 2); of a single patch TRIDENT's slide features hold (2,)."""
    shape = (1, 2) if coords.shape == (2,) else shape_2d(coords)
    if shape is None or shape[1] != 2:
        raise ExchangeError(f"{path}: coords have shape {coords.shape}, not (patches, 2).")
    if shape[0] > MAX_CELLS:
        raise ExchangeError(f"{path}: {shape[0]} patches are more than any slide has.")
    count = 2 if coords.ndim == 1 else shape[0]
    return rows(coords, 0, count).astype(np.float64).reshape(shape)


def _with_trident(found: PatchFile, about: dict[str, Any], encoder: str | None) -> PatchFile:
    patch, patch_l0 = number(about, "patch_size"), number(about, "patch_size_level0")
    magnification = number(about, "level0_magnification")
    size = number(about, "level0_width"), number(about, "level0_height")
    if patch_l0 is None and patch is not None and magnification is not None:
        target = number(about, "target_magnification")
        patch_l0 = None if target is None else float(patch * magnification // target)
    scale = patch_l0 / patch if patch and patch_l0 else 1.0
    return replace(
        found,
        tool="trident",
        slide=_named(about, found.path),
        encoder=encoder or _folder_encoder(found.path, "features_"),
        patch_px=None if patch is None else round(patch),
        patch_l0=patch_l0,
        overlap_l0=round((number(about, "overlap") or 0.0) * scale),
        level0_mpp=None if magnification is None else 10.0 / magnification,
        level0_size=None if size[0] is None or size[1] is None else (int(size[0]), int(size[1])),
    )


def _with_clam(found: PatchFile, about: dict[str, Any], encoder: str | None) -> PatchFile:
    if not about and found.path.parent.name == "h5_files":
        beside = found.path.parent.parent / "patches" / found.path.name
        about = _beside(beside) or _beside(
            found.path.parent.parent.parent / "patches" / found.path.name
        )
    patch, level = number(about, "patch_size"), about.get("patch_level")
    size = about.get("level_dim") if level == 0 else None
    return replace(
        found,
        slide=_named(about, found.path),
        encoder=encoder or _folder_encoder(found.path, "features_"),
        patch_px=None if patch is None else round(patch),
        patch_level=level if isinstance(level, int) else None,
        downsample=_times(number(about, "downsample"), number(about, "custom_downsample")),
        level0_size=_size(size),
    )


def _size(value: Any) -> tuple[int, int] | None:
    whole = isinstance(value, list) and all(isinstance(side, int) for side in value)
    return (value[0], value[1]) if whole and len(value) == 2 else None


def _times(one: float | None, other: float | None) -> float | None:
    return one if other is None or one is None else one * other


def _beside(path: Path) -> dict[str, Any]:
    """Return what CLAM says of its patches, in the file of the step before."""
    if not path.is_file():
        return {}
    with opened(path) as file:
        coords = table(file, "coords", path=path)
        return {} if coords is None else attributes(coords)


def _read_stamp(path: Path, file: Any) -> PatchFile | SlideVector:
    about = attributes(file)
    feats = table(file, "feats", path=path)
    coords = table(file, "coords", path=path)
    name = _text(about, "extractor", "encoder")
    encoder = name or path.parent.name
    if feats is None:
        raise ExchangeError(f"{path} has no feats.")
    if about.get("feat_type") in ("slide", "patient") or coords is None:
        if feats.size > _LONGEST or (feats.ndim > 1 and feats.shape[0] != 1):
            raise ExchangeError(f"{path} has no coords and is not one vector of a slide.")
        return SlideVector(
            path=path,
            tool="stamp",
            slide=path.stem,
            encoder=_text(about, "encoder") or encoder,
            is_encoder_guessed=name is None,
            is_of_patient=about.get("feat_type") == "patient",
            vector=np.asarray(feats[()], np.float32).reshape(-1),
        )
    found = _patches(path, coords, feats)
    in_um = about.get("unit") == "um"
    tile_px, tile_um = number(about, "tile_size_px"), number(about, "tile_size_um")
    told = number(about, "tile_size")  # of µm only where the file says that it counts in them
    tile_um = told if tile_um is None and in_um else tile_um
    if tile_um is None and not in_um:
        px, um = _STAMP_HISTORIC
        steps = np.diff(np.unique(found.coords)) if told is None else np.array([told])
        if len(steps) == 0 or abs(float(np.median(steps)) - px) > 1:
            raise ExchangeError(f"{path} does not say how large its patches are, in µm.")
        found, tile_px, tile_um = replace(found, coords=found.coords * (um / px)), px, um
    return replace(
        found,
        tool="stamp",
        unit="um",
        encoder=encoder,
        is_encoder_guessed=name is None,
        patch_px=None if tile_px is None else round(tile_px),
        patch_um=tile_um,
    )


def _read_tensor(path: Path) -> PatchFile:
    """Read a bare table of CLAM or TRIDENT, whose corners are in a file beside it."""
    above = path.parent.parent
    folders = [above / "h5_files", above / "patches", above.parent / "patches"]
    near = [one / f"{path.stem}{end}.h5" for one in folders for end in ("", "_patches")]
    beside = next((one for one in near if one.is_file()), None)
    if beside is None:
        raise ExchangeError(
            f"{path} holds no corners of patches, and there is no h5_files/{path.stem}.h5 or "
            f"patches/{path.stem}.h5 near it; import that file too."
        )
    found = _checked(_read_hdf5(beside))
    features = read_table(path)
    if isinstance(found, SlideVector) or len(found.coords) != len(features):
        raise ExchangeError(f"{path} and {beside} are not of the same patches.")
    encoder = found.encoder or _folder_encoder(path, "features_")
    encoder = encoder or _folder_encoder(path.parent, "features_")
    return replace(
        found,
        path=path,
        encoder=encoder,
        dim=features.dim,
        stored_as=features.stored_as,
        embeddings=features.blocks,
    )


def _read_vector(path: Path) -> SlideVector:
    if path.stat().st_size > 16 * _LONGEST:
        raise ExchangeError(f"{path} is too long for one vector of a slide.")
    try:
        if path.suffix.lower() == ".npy":
            vector = np.load(path, allow_pickle=False)
        else:
            vector = np.loadtxt(path, delimiter=",", dtype=np.float64)
        vector = np.asarray(vector, np.float32).reshape(-1)
    except (OSError, ValueError, TypeError) as error:
        raise ExchangeError(f"{path} is not one row of numbers; export it again.") from error
    return SlideVector(path=path, tool="array", slide=path.stem, encoder=None, vector=vector)


def _named(about: dict[str, Any], path: Path) -> str:
    return _text(about, "name", "wsi_name") or path.stem.removesuffix("_patches")


def _text(about: dict[str, Any], *names: str) -> str | None:
    """Return the first of the named values that is a text; a stranger's file holds anything."""
    values = (about.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


def _folder_encoder(path: Path, prefix: str) -> str | None:
    found = re.fullmatch(rf"{prefix}(.+)", path.parent.name)
    return found[1] if found else None
