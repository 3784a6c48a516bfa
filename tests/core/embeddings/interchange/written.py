"""Files as other programs write them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from src_core.embeddings.interchange.records import PatchFile

__all__ = ["COORDS", "FEATURES", "numbers", "rewritten", "tridents", "write"]

COORDS = np.argwhere(np.ones((3, 4))) * 512
FEATURES = np.arange(12 * 5, dtype=np.float32).reshape(12, 5)


def write(path: Path, about: Any = None, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        for owner, values in (about or {}).items():
            (file if owner == "/" else file[owner]).attrs.update(values)
    return path


def numbers(found: PatchFile) -> Any:
    assert found.embeddings is not None
    return np.concatenate(list(found.embeddings()))


def tridents(folder: Path, values: Any, *, old_numpy: bool = False) -> Path:
    """Write features as TRIDENT's ``extract_patch_features(saveas="pt")`` does."""
    about = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "name": "a"}
    if not (folder / "patches").exists():
        write(folder / "patches" / "a_patches.h5", {"coords": about}, coords=COORDS)
    path = folder / "features_uni_v2" / "a.pt"
    path.parent.mkdir(exist_ok=True)
    torch.save(values, path)
    if old_numpy:
        rewritten(path, lambda pickled: pickled.replace(b"numpy._core.", b"numpy.core."))
    return path


def rewritten(path: Path, change: Any) -> None:
    """Change what is pickled in a file of ``torch.save``."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)
