"""STAMP's early files of slide embeddings: one file for a cohort, a vector for each entry.

STAMP 2.0 wrote ``<encoder>-slide-<hash>.h5`` (``src/stamp/encoding/encoder/__init__.py`` of
github.com/KatherLab/STAMP before feat_type came): at the top of the file a dataset for each slide,
called as the slide's file of patches is, and the attributes ``encoder``, ``precision`` and
``version``. Encodings of patients look the same, and later had the same file name: there the
entries are called as the patients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from src_core.embeddings.interchange.hdf5 import attributes, opened, table
from src_core.embeddings.interchange.records import SlideVector
from src_core.errors import ExchangeError

__all__ = ["read_stamp_table"]

_SUFFIXES = (".h5", ".hdf5")
_OTHERS = frozenset({"feats", "features", "coords", "imgs"})
"""Of files that are of one slide."""
_MOST_ENTRIES = 20_000
_LONGEST = 65_536


def read_stamp_table(path: Path) -> tuple[SlideVector, ...]:
    """Read STAMP's file of a cohort's slide embeddings; empty if `path` is a file of another kind.

    Raises
    ------
    ExchangeError
        If it is such a file and damaged, or no HDF5.
    """
    path = path.absolute()
    if path.suffix.lower() not in _SUFFIXES:
        return ()
    with opened(path) as file:
        about = attributes(file)
        encoder = about.get("encoder")
        if not isinstance(encoder, str) or "precision" not in about or _OTHERS & set(file):
            return ()
        if len(file) > _MOST_ENTRIES:
            raise ExchangeError(f"{path} has {len(file)} entries, more than a cohort has slides.")
        return tuple(_vector(path, file, name, encoder) for name in file)


def _vector(path: Path, file: Any, name: str, encoder: str) -> SlideVector:
    found = table(file, name, path=path)
    if found is None or found.dtype.kind != "f" or not 0 < found.size <= _LONGEST:
        raise ExchangeError(f"{path}: {name} is no embedding of a slide; encode it again.")
    vector = np.asarray(found[()], np.float32)
    if vector.size != max(vector.shape) or not np.isfinite(vector).all():
        raise ExchangeError(f"{path}: {name} is not one vector of finite numbers; encode it again.")
    return SlideVector(
        path=path,
        tool="stamp",
        slide=name,
        encoder=encoder,
        is_of_patient="-pat-" in path.name,
        vector=vector.reshape(-1),
    )
