"""Slide encoders over a project's slides: each on the patches that it was made for.

A teacher that was made for patches of one size and scale is given a grid of its own on the same
tissue, embedded into the store of that grid's lattice; the means read the project's own grid. An
embedding that was imported is kept and never computed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from src_core.devices import DeviceName, pick_device
from src_core.embeddings.extract import (
    embed_patches,
    load_slide_embedding,
    save_slide_embedding,
)
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.base import PatchEncoder, SlideEncoder
from src_core.encoders.cards import EncoderCard
from src_core.encoders.hub import file_sha256
from src_core.encoders.registry import create_encoder, encoder_card
from src_core.encoders.remote_code import agreed_card
from src_core.encoders.slide_cards import most_patches, predicted_bytes
from src_core.encoders.slide_encoders import cells_side_by_side
from src_core.encoders.weights import HUB
from src_core.errors import (
    EncoderScaleError,
    ExchangeError,
    FusecpathError,
    GridMismatchError,
    ProjectError,
    SlideTooLargeError,
    UnknownEncoderError,
)
from src_core.patches.grid import GridConfig, PatchGrid, build_grid
from src_core.patches.lattice import Lattice
from src_core.progress import Progress, Report, Stop, check
from src_core.project import ProjectConfig
from src_core.slide_folder import SlideFolder
from src_core.types import Float32, Int64

__all__ = ["Teachers", "check_lattice", "import_of", "import_slide_embedding", "thinned"]

_log = logging.getLogger(__name__)

_IMPORTED = "imported"

E = TypeVar("E", PatchEncoder, SlideEncoder)


@dataclass(slots=True)
class Teachers:
    """The slide encoders of a project, each loaded when the first slide needs it."""

    config: ProjectConfig
    device: DeviceName
    patch_encoders: dict[str, PatchEncoder] = field(default_factory=dict)
    """Those that are loaded; a teacher's joins them."""
    _slide_encoders: dict[str, SlideEncoder] = field(default_factory=dict)
    _refused: dict[str, FusecpathError] = field(default_factory=dict)

    def embed(self, slide: SlideFolder, name: str, *, report: Report, stop: Stop) -> list[str]:
        """Embed a slide by one teacher, unless that is stored by the same recipe or imported.

        Parameters
        ----------
        slide : SlideFolder
            With its tissue and grid; for a mean its patches are embedded.
        name : str
            The teacher.
        report, stop : callable
            See :mod:`src_core.progress`; `stop` is asked before each step.

        Returns
        -------
        list of str
            What of the teacher's own patches could not be read, and is not in the embedding.

        Raises
        ------
        ProjectError
            If `name` is of a patch encoder.
        SlideTooLargeError
            If there is not enough memory for so many patches.
        EncoderScaleError, SlideScaleError, TooFewPatchesError
            If the slide does not give the patches that the teacher reads.
        WeightsUnavailableError
            If the teacher, or its patch encoder, cannot be had.
        JobCancelled
            If `stop` says so.
        """
        check(stop)
        card = agreed_card(encoder_card(name))
        if card.kind != "slide":
            raise ProjectError(f"Encoder {name!r} reads patches; a teacher reads whole slides.")
        folder = slide.slide_embedding(name)
        stored = _stored_meta(folder)
        if _IMPORTED in stored:
            return []
        grid, of = self._grid(slide, card)
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        thin = {} if of == len(grid) else {"max_patches": self.config.max_patches, "of": of}
        if not store.missing(str(card.patch_encoder), grid.cells).any():
            made = _recipe(card, store, grid, thin)
            if _is_same(stored, made):
                return []
        _check_memory(card, len(grid), self.device)
        encoder = self._loaded(name, self._slide_encoders, report, stop)  # before hours of patches
        grid, told = self._embed_patches(slide, grid, card, report=report, stop=stop)
        made = _recipe(encoder.card, store, grid, thin)
        if stored == made:
            return told
        check(stop)
        shown = Progress(stage="Embedding the slide", done=0, total=1, unit="slides", detail=name)
        report(shown)
        rows = store.view(str(card.patch_encoder), grid.cells).array()  # (n, dim of the patches)
        vector = encoder.encode(rows, grid.coords_xy, patch_l0=grid.lattice.patch_l0)
        save_slide_embedding(folder, vector, made)
        report(replace(shown, done=1))
        return told

    def _grid(self, slide: SlideFolder, card: EncoderCard) -> tuple[PatchGrid, int]:
        """Return the patches that a teacher reads, and how many there are before thinning."""
        grid = slide.load_grid()
        if not card.own_lattice:
            return grid, len(grid)
        if not _fits(card, grid.lattice):
            grid = self._own_grid(slide, card)
        chosen = grid
        if self.config.max_patches is not None:
            chosen = thinned(grid, self.config.max_patches)
        check_lattice(card, chosen)
        if chosen.grid_id != slide.record.grid_id:
            chosen.save(slide.grid(chosen.grid_id))
        return chosen, len(grid)

    def _own_grid(self, slide: SlideFolder, card: EncoderCard) -> PatchGrid:
        config = GridConfig(
            patch_px=card.patch_px,
            mpp=card.mpp or self.config.grid.mpp,
            min_tissue=self.config.grid.min_tissue,
        )
        reader = slide.open()
        try:
            return build_grid(reader, slide.load_tissue(), config)
        finally:
            reader.close()

    def _embed_patches(
        self, slide: SlideFolder, grid: PatchGrid, card: EncoderCard, *, report: Report, stop: Stop
    ) -> tuple[PatchGrid, list[str]]:
        """Embed by its patch encoder; return what could be read, and sentences about the rest."""
        name = str(card.patch_encoder)
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        if not card.own_lattice or not store.missing(name, grid.cells).any():
            return grid, []
        encoder = self._loaded(name, self.patch_encoders, report, stop)
        reader = slide.open()
        try:
            shortfall = embed_patches(reader, grid, [encoder], store, report=report, stop=stop)
        finally:
            reader.close()
        for error in shortfall.failed.values():
            raise error
        if len(shortfall.unreadable) == 0:
            return grid, []
        told = [f"{card.name}: {one}" for one in shortfall.sentences(grid.lattice)]
        grid = grid.without(shortfall.unreadable)
        grid.save(slide.grid(grid.grid_id))
        return grid, told

    def _loaded(self, name: str, loaded: dict[str, E], report: Report, stop: Stop) -> E:
        """Return an encoder, loaded once; what could not be had is not asked for again."""
        if name in self._refused:
            raise self._refused[name]
        if name not in loaded:
            try:
                encoder = create_encoder(name, device=self.device, report=report, stop=stop)
            except FusecpathError as error:
                self._refused[name] = error
                raise
            loaded[name] = encoder  # type: ignore[assignment] # its card says which kind it is
        return loaded[name]


def check_lattice(card: EncoderCard, grid: PatchGrid) -> None:
    """Raise unless a grid is one that a slide encoder was made for.

    Raises
    ------
    EncoderScaleError
        If its patches are of another size or scale, overlap or lie apart.
    GridMismatchError
        If its corners are not those of its cells.
    """
    lattice = grid.lattice
    if not _fits(card, lattice):
        raise EncoderScaleError(
            f"{card.name} reads patches of {card.patch_px} px at {card.mpp} µm per pixel, side by "
            f"side, and these are of {lattice.patch_px} px at {lattice.mpp:g}, "
            f"{lattice.stride_um:.0f} µm apart; lay its own grid with prepare."
        )
    if len(grid) == 0:
        return
    places = cells_side_by_side(card, grid.coords_xy, lattice.patch_l0)
    if not np.array_equal(places, grid.cells - grid.cells.min(axis=0)):
        raise GridMismatchError(
            f"The corners of the patches for {card.name} are not those of their cells; prepare "
            "the slide again."
        )


def thinned(grid: PatchGrid, most: int) -> PatchGrid:
    """Return a grid of at most `most` of the patches, spread over the tissue.

    Which ones is drawn for each cell by itself: a mask that is painted later changes few of them.
    """
    if len(grid) <= most:
        return grid
    rows = np.sort(np.argsort(_lots(grid), kind="stable")[:most])
    return PatchGrid(grid.lattice, grid.cells[rows], grid.tissue_id)


def _lots(grid: PatchGrid) -> Int64:
    """Return a number for each cell, as good as drawn: the mixing steps of SplitMix64."""
    cells = grid.cells.astype(np.uint64)
    lots = cells[:, 1] << np.uint64(32) | cells[:, 0]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        lots = (lots ^ (lots >> np.uint64(shift))) * np.uint64(factor)
    return (lots ^ (lots >> np.uint64(31))).view(np.int64)


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
        long its embeddings are is not checked.
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
        meta = {"encoder": {"encoder": encoder}, _IMPORTED: origin}
        save_slide_embedding(folder, row.astype(np.float32), meta)
    return folder


def _is_stored(folder: Path, encoder: str, sha256: str) -> bool:
    """Tell whether the embedding of a file is stored; raise if another one is."""
    if not (folder / "meta.json").is_file():
        return False
    try:
        origin = load_slide_embedding(folder)[1].get(_IMPORTED)
    except ProjectError as error:
        _log.warning("A damaged embedding is replaced: %s", error)
        return False
    if not isinstance(origin, dict):
        raise ExchangeError(
            f"The slide has an embedding by {encoder} that was made here; remove {folder} first, "
            "or import this one under another name with --encoder."
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
    origin = _stored_meta(slide.slide_embedding(encoder)).get(_IMPORTED)
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
    return card.dim


def _recipe(
    card: EncoderCard, store: EmbeddingStore, grid: PatchGrid, thin: Mapping[str, Any]
) -> dict[str, Any]:
    patches = store.recipe(str(card.patch_encoder))
    recipe = {"encoder": card.recipe(), "patches": patches, "grid_id": grid.grid_id}
    return {**recipe, "max_patches": dict(thin)} if thin else recipe


def _stored_meta(folder: Path) -> dict[str, Any]:
    return load_slide_embedding(folder)[1] if (folder / "meta.json").is_file() else {}


def _is_same(stored: Mapping[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether an embedding was made so; a card may not know the weights until they are loaded.

    Of a model that brings its code it does know the commit, once the user has agreed to one.
    """
    encoder, weights = stored.get("encoder"), str(wanted["encoder"]["weights"])
    if isinstance(encoder, dict) and weights.startswith(HUB) and "@" not in weights:
        wanted = {
            **wanted, "encoder": {**wanted["encoder"], "weights": encoder.get("weights")}
        }  # fmt: skip
    return dict(stored) == wanted


def _fits(card: EncoderCard, lattice: Lattice) -> bool:
    same = (lattice.patch_px, lattice.mpp) == (card.patch_px, card.mpp)
    return same and lattice.stride_l0 == lattice.patch_l0


def _check_memory(card: EncoderCard, n_patches: int, device: DeviceName) -> None:
    """Raise `SlideTooLargeError` if a slide encoder would need more memory than is free."""
    needed, free = predicted_bytes(card, n_patches), _free_bytes(device)
    if needed <= free:
        return
    most = most_patches(card, free)
    raise SlideTooLargeError(
        f"{card.name} would need about {needed / 1e9:.1f} GB for the {n_patches} patches of this "
        f"slide and {free / 1e9:.1f} GB are free: set max_patches to {most} "
        "or less, import its embedding, or take another teacher.",
        encoder=card.name,
        most=most,
    )


def _free_bytes(device: DeviceName) -> int:
    import psutil

    free = int(psutil.virtual_memory().available)
    target = pick_device(device)
    if target.type != "cuda":
        return free
    import torch

    return min(free, int(torch.cuda.mem_get_info(target)[0]))
