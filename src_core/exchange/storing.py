"""Store the embeddings of another program beside those made here, and never among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from src_core.embeddings.interchange.place import Placement
from src_core.embeddings.interchange.records import PatchFile
from src_core.embeddings.store import EmbeddingStore
from src_core.embeddings.writer import EmbeddingWriter
from src_core.errors import ExchangeError, ProjectError
from src_core.names import quoted_name
from src_core.progress import Report, Stop, Tracker
from src_core.provenance import file_sha256, read_json, write_json
from src_core.slide_folder import SlideFolder
from src_core.types import BoolArray, Cells

__all__ = ["store_embeddings"]


def store_embeddings(
    slide: SlideFolder,
    found: PatchFile,
    placed: Placement,
    name: str,
    *,
    report: Report,
    stop: Stop,
) -> None:
    """Store a file's embeddings, after all of them were looked at.

    Parameters
    ----------
    slide : SlideFolder
        Of a project.
    found : PatchFile
        With embeddings.
    placed : Placement
        Where its patches are on the slide.
    name : str
        The encoder's name here.

    Raises
    ------
    ExchangeError
        If a number is none, or the slide has other embeddings under this name.
    """
    sha256 = _sha256(found.path)
    largest = _check_numbers(found, report, stop)
    store = EmbeddingStore(
        slide.embeddings(placed.lattice.lattice_id),
        stored_as="float16" if largest <= float(np.finfo(np.float16).max) else "float32",
    )
    recipe = {
        "imported": found.tool,
        "encoder": found.encoder or name,
        "dim": found.dim,
        "precision": found.stored_as,
    }
    origin = store.folder / quoted_name(name, what="an encoder") / "imported.json"
    about = {
        "file": found.path.name,
        "sha256": sha256,
        "tool": found.tool,
        "slide": found.slide,
        "displacement_px": placed.displacement,
        "notes": list(placed.notes),
    }
    cells = np.full((len(found.coords), 2), -1, np.int32)
    cells[placed.rows] = placed.cells
    with store.locked(report=report, stop=stop):
        _check_origin(store, name, origin, sha256)
        write_json(origin, about)  # before any row: a killed import leaves no rows of unknown files
        writer = store.open_writer(name, recipe, found.dim)
        wanted = cells[:, 0] >= 0
        wanted[wanted] = store.missing(name, cells[wanted])
        _append(writer, found, cells, wanted, report=report, stop=stop)


def _append(
    writer: EmbeddingWriter,
    found: PatchFile,
    cells: Cells,
    wanted: BoolArray,
    *,
    report: Report,
    stop: Stop,
) -> None:
    """Write the rows that are wanted, a block at a time."""
    tracker = Tracker(report, stop, stage="Importing embeddings", total=len(wanted), unit="patches")
    start = 0
    for block in _blocks(found):
        rows = slice(start, start + len(block))
        writer.append(cells[rows][wanted[rows]], block[wanted[rows]].astype(np.float32))
        tracker.advance(len(block), detail=found.path.name)
        start += len(block)
    writer.commit()


def _check_origin(store: EmbeddingStore, name: str, origin: Path, sha256: str) -> None:
    """Raise if the slide has, or a killed run began, other embeddings under this name."""
    if not (origin.parent / "meta.json").is_file():
        return
    if "imported" not in store.recipe(name):
        raise ExchangeError(
            f"The slide has embeddings by {name} that were made here; "
            "import these under another name of the encoder."
        )
    if not origin.is_file() or read_json(origin).get("sha256") != sha256:
        raise ExchangeError(
            f"The slide has embeddings by {name} from another file; remove {origin.parent} first."
        )


def _blocks(found: PatchFile) -> Iterator[Any]:
    if found.embeddings is None:
        raise ValueError(f"{found.path} has no embeddings")
    return found.embeddings()


def _check_numbers(found: PatchFile, report: Report, stop: Stop) -> float:
    """Return the largest size of a number, after looking at all of them."""
    largest, start, total = 0.0, 0, len(found.coords)
    tracker = Tracker(report, stop, stage="Checking embeddings", total=total, unit="patches")
    for block in _blocks(found):
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ExchangeError(
                f"{found.path}: the embedding of patch {row} holds NaN or infinity; extract it "
                "again (half precision overflows in some encoders)."
            )
        largest = max(largest, float(np.abs(block).max(initial=0)))
        start += len(block)
        tracker.advance(len(block), detail=found.path.name)
    return largest


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}).") from error
