"""Slides' embeddings that other programs computed: taken in once, kept, never computed here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from src_core.embeddings.extract import load_slide_embedding, save_slide_embedding
from src_core.encoders.registry import encoder_card
from src_core.errors import ExchangeError, ProjectError, UnknownEncoderError
from src_core.provenance import file_sha256
from src_core.slide_folder import SlideFolder
from src_core.types import Float32

__all__ = ["IMPORTED", "import_of", "import_slide_embedding", "stored_meta"]

IMPORTED = "imported"
"""What the description of such an embedding says, beside of which file it is."""

_log = logging.getLogger(__name__)


def import_slide_embedding(
    slide: SlideFolder,
    encoder: str,
    vector: Float32,
    source: Path,
    *,
    tool: str | None = None,
) -> Path:
    """Take a slide's embedding that was computed elsewhere; the same file again changes nothing.

    Parameters
    ----------
    slide : SlideFolder
        A slide of a project.
    encoder : str
        The slide encoder that made it. One that is not known here can be no teacher, and how
        long its embeddings are is not checked; nor is it where that varies.
    vector : ndarray, shape (dim,)
        The embedding; a leading axis of length 1 is dropped.
    source : Path
        The file that it was read from.
    tool : str, optional
        The program that wrote it.

    Returns
    -------
    Path
        The folder of the embedding.

    Raises
    ------
    ProjectError
        If it is no slide encoder, the vector is not one of its embeddings, or `source` cannot be
        read.
    ExchangeError
        If the slide has another embedding by this encoder.
    """
    row = np.asarray(vector)
    row = row[0] if row.ndim == 2 and len(row) == 1 else row
    dim = _dim_of(encoder, len(row) if row.ndim else 0)
    numbers = np.issubdtype(row.dtype, np.floating)
    largest = np.finfo(np.float32).max
    if row.shape != (dim,) or not dim or not numbers or not (np.abs(row) <= largest).all():
        raise ProjectError(
            f"{source} holds {row.dtype} of shape {np.shape(vector)}, not the {dim} finite "
            f"numbers of an embedding by {encoder}; give the file of this encoder."
        )
    try:
        origin = {"file": source.name, "sha256": file_sha256(source), "tool": tool}
    except OSError as error:
        raise ProjectError(f"{source} cannot be read ({error.strerror}).") from error
    folder = slide.slide_embedding(encoder)
    if not _is_stored(folder, encoder, str(origin["sha256"])):
        meta = {"encoder": {"encoder": encoder}, IMPORTED: origin}
        save_slide_embedding(folder, row.astype(np.float32), meta)
    return folder


def _is_stored(folder: Path, encoder: str, sha256: str) -> bool:
    """Tell whether the embedding of a file is stored; raise if another one is."""
    if not (folder / "meta.json").is_file():
        return False
    try:
        origin = load_slide_embedding(folder)[1].get(IMPORTED)
    except ProjectError as error:
        _log.warning("A damaged embedding is replaced: %s", error)
        return False
    if not isinstance(origin, dict):
        raise ExchangeError(
            f"The slide has an embedding by {encoder} that was made here; remove {folder} first, "
            "or import this one under another name of the encoder."
        )
    if origin.get("sha256") != sha256:
        raise ExchangeError(
            f"The slide has an embedding by {encoder} from another file; remove {folder} first."
        )
    return True


def import_of(slide: SlideFolder, encoder: str) -> str | None:
    """Return the program that a slide's embedding came from, ``"file"`` if nobody knows which.

    None if it was made here, or there is none.

    Raises
    ------
    ProjectError
        If it is damaged.
    """
    origin = stored_meta(slide.slide_embedding(encoder)).get(IMPORTED)
    if origin is None:
        return None
    tool = origin.get("tool") if isinstance(origin, dict) else None
    return tool if isinstance(tool, str) else "file"


def _dim_of(encoder: str, otherwise: int) -> int:
    try:
        card = encoder_card(encoder)
    except UnknownEncoderError:
        return otherwise
    if card.kind != "slide":
        raise ProjectError(f"Encoder {encoder!r} reads patches; name the slide encoder.")
    return otherwise if card.varies else card.dim


def stored_meta(folder: Path) -> dict[str, Any]:
    """Return how the embedding in a folder was made; empty if there is none."""
    return load_slide_embedding(folder)[1] if (folder / "meta.json").is_file() else {}
