"""Files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src_core.embeddings.interchange.files import read_file
from src_core.embeddings.interchange.records import PatchFile, SlideVector
from src_core.errors import ExchangeError
from tests.core.embeddings.interchange.written import COORDS, FEATURES, numbers, tridents, write


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("lead", [False, True])
def test_trident(tmp_path: Path, kind: Any, lead: bool) -> None:
    about = {
        "patch_size": 256,
        "patch_size_level0": kind(512),
        "level0_magnification": 40,
        "target_magnification": kind(20),
        "overlap": 64,
        "level0_width": 9000,
        "level0_height": 7000,
        "name": "slide-7",
        "savetodir": "None",
    }
    arrays = {"coords": COORDS, "features": FEATURES[None] if lead else FEATURES}
    path = write(
        tmp_path / "features_uni_v2" / "a.h5",
        {"coords": about, "features": {"encoder": "None"}},
        **arrays,
    )
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.slide, found.encoder) == ("trident", "slide-7", "uni_v2")
    assert (found.patch_px, found.patch_l0, found.overlap_l0) == (256, 512.0, 128)
    assert (found.level0_mpp, found.level0_size) == (0.25, (9000, 7000))
    np.testing.assert_array_equal(found.coords, COORDS)
    np.testing.assert_array_equal(numbers(found), FEATURES)


def test_clam(tmp_path: Path) -> None:
    about = {"patch_size": 256, "patch_level": 1, "downsample": (4.0, 4.0), "name": "a"}
    write(tmp_path / "patches" / "a.h5", {"coords": about}, coords=COORDS)
    whole = write(tmp_path / "h5_files" / "a.h5", coords=COORDS, features=FEATURES)
    (tmp_path / "pt_files").mkdir()
    torch.save(torch.tensor(FEATURES), tmp_path / "pt_files" / "a.pt")
    for path in (whole, tmp_path / "pt_files" / "a.pt"):
        found = read_file(path)
        assert isinstance(found, PatchFile)
        assert (found.tool, found.slide, found.encoder) == ("clam", "a", None)
        assert (found.patch_px, found.downsample) == (256, 4.0)
        np.testing.assert_array_equal(numbers(found), FEATURES)
    alone = read_file(tmp_path / "patches" / "a.h5")
    assert isinstance(alone, PatchFile)
    assert alone.embeddings is None


def test_stamp(tmp_path: Path) -> None:
    um = (COORDS / 512 * 256.0).astype(np.float32)
    half = FEATURES.astype(np.float16)
    about = {"extractor": "uni2", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
    path = write(tmp_path / "uni2-0a1b2c3d" / "a.h5", {"/": about}, coords=um, feats=half)
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.unit, found.encoder) == ("stamp", "um", "uni2")
    assert (found.patch_px, found.patch_um, found.stored_as) == (224, 256.0, "float16")
    np.testing.assert_array_equal(numbers(found), half)
    old = write(tmp_path / "old" / "a.h5", {"/": {"tile_size": 256, "unit": "um"}},
                coords=um, feats=half)  # fmt: skip
    historic = write(tmp_path / "older" / "a.h5", coords=COORDS / 512 * 224, feats=half)
    for path in (old, historic):
        found = read_file(path)
        assert isinstance(found, PatchFile)
        assert found.patch_um == 256.0
        np.testing.assert_allclose(found.coords, um)
    pixels = write(tmp_path / "oldest" / "a.h5", {"/": {"tile_size": 224}},
                   coords=COORDS / 512 * 224, feats=half)  # fmt: skip
    found = read_file(pixels)
    assert isinstance(found, PatchFile)
    assert found.patch_um == 256.0, "px of 256 µm tiles, for the file does not say µm"
    np.testing.assert_allclose(found.coords, um)
    vector = write(
        tmp_path / "s" / "a.h5", {"/": {"feat_type": "slide", "encoder": "titan"}}, feats=half[:1]
    )
    whole = read_file(vector)
    assert isinstance(whole, SlideVector)
    assert (whole.encoder, whole.vector.shape) == ("titan", (5,))


def test_a_bare_tensor_comes_in_blocks(tmp_path: Path) -> None:
    write(tmp_path / "h5_files" / "a.h5", coords=np.tile(COORDS, (400, 1)))
    path = tmp_path / "pt_files" / "a.pt"
    path.parent.mkdir()
    tensor = torch.arange(4800 * 2, dtype=torch.bfloat16).reshape(1, 4800, 2)
    torch.save(torch.nn.Parameter(tensor), path)
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert found.stored_as == "float32"
    assert [len(block) for block in found.embeddings()] == [4096, 704]  # type: ignore[misc]
    np.testing.assert_array_equal(numbers(found), tensor[0].float().numpy())


def test_tridents_tensor_has_its_corners_in_patches(tmp_path: Path) -> None:
    about = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "name": "a"}
    write(tmp_path / "patches" / "a_patches.h5", {"coords": about}, coords=COORDS)
    path = tmp_path / "features_uni_v2" / "a.pt"
    path.parent.mkdir()
    torch.save(torch.tensor(FEATURES), path)
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.slide, found.encoder) == ("trident", "a", "uni_v2")
    np.testing.assert_array_equal(numbers(found), FEATURES)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_trident_saves_an_array_of_numpy(tmp_path: Path, dtype: str, old_numpy: bool) -> None:
    batches = [FEATURES[:7].astype(dtype), FEATURES[7:].astype(dtype)]
    joined = np.concatenate(batches, axis=0)
    joined = joined.astype(dtype)  # concatenate turns the bytes around
    path = tridents(tmp_path, joined, old_numpy=old_numpy)
    assert (b"numpy.core." in path.read_bytes()) == old_numpy
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.slide, found.encoder) == ("trident", "a", "uni_v2")
    assert (found.dim, found.stored_as) == (5, "float16" if dtype == "f2" else "float32")
    np.testing.assert_array_equal(numbers(found), FEATURES)
    assert numbers(found).dtype == np.float32


def test_an_array_by_columns_keeps_its_rows(tmp_path: Path) -> None:
    found = read_file(tridents(tmp_path, np.asfortranarray(FEATURES)))
    assert isinstance(found, PatchFile)
    np.testing.assert_array_equal(numbers(found), FEATURES)


def test_a_slide_without_tissue_is_told_so(tmp_path: Path) -> None:
    path = tridents(tmp_path, np.empty((0, 5), np.float32))
    write(tmp_path / "patches" / "a_patches.h5", coords=COORDS[:0])
    with pytest.raises(ExchangeError, match="holds no patches"):
        read_file(path)
