"""Slide encoders over a project's slides: each on the patches that it was made for.

A teacher that was made for patches of one size and scale is given a grid of its own on the same
tissue, embedded into the store of that grid's lattice; the means read the project's own grid. An
embedding that was imported is kept and never computed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from src_core.devices import DeviceName, pick_device
from src_core.embeddings.extract import (
    embed_patches,
    save_slide_embedding,
)
from src_core.embeddings.lanes import replaced_note
from src_core.embeddings.made import is_made, recipe_here
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.base import PatchEncoder, SlideEncoder
from src_core.encoders.breakdown import as_failure_of, checked
from src_core.encoders.cards import EncoderCard
from src_core.encoders.registry import create_encoder, encoder_card
from src_core.encoders.slide_cards import most_patches, predicted_bytes
from src_core.errors import (
    FusecpathError,
    ProjectError,
    SlideTooLargeError,
)
from src_core.patches.grid import GridConfig, PatchGrid
from src_core.preparing import excluded_patches
from src_core.progress import Progress, Report, Stop, check
from src_core.project import ProjectConfig
from src_core.provenance import recipe_id
from src_core.regions import grid_inside
from src_core.slide_folder import SlideFolder
from src_core.teacher_grids import check_lattice, fits, thinned, uncovered
from src_core.teacher_imports import IMPORTED, stored_meta
from src_core.types import Float32

__all__ = ["Teachers"]

_log = logging.getLogger(__name__)

E = TypeVar("E", PatchEncoder, SlideEncoder)


@dataclass(slots=True)
class Teachers:
    """The slide encoders of a project, each loaded when the first slide needs it."""

    config: ProjectConfig
    device: DeviceName
    patch_encoders: dict[str, PatchEncoder] = field(default_factory=dict)
    """Those that are loaded; a teacher's joins them."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """By slide, what was done that nobody asked for: embeddings made again."""
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
            See :mod:`src_core.progress`.

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
        EncoderFailedError
            If one of them breaks down.
        JobCancelled
            If `stop` says so.
        """
        check(stop)
        card = encoder_card(name)
        if card.kind != "slide":
            raise ProjectError(f"Encoder {name!r} reads patches; a teacher reads whole slides.")
        folder = slide.slide_embedding(name)
        stored = stored_meta(folder)
        if IMPORTED in stored:
            return []
        grid, chosen = self._grid(slide, card)
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        if self._has_patches(store, card, grid):
            known = recipe_here(name, self._slide_encoders)
            if _is_same(stored, _recipe(known, card, store, grid, chosen)):
                return []
        _check_memory(card, len(grid), self._to_load(card, store, grid), self.device)
        encoder = self._loaded(name, self._slide_encoders, report, stop)  # before hours of patches
        grid, told = self._embed_patches(slide, grid, card, report=report, stop=stop)
        made = _recipe(encoder.card.recipe(), card, store, grid, chosen)
        if stored == made:
            return told
        check(stop)
        shown = Progress(stage="Embedding the slide", done=0, total=1, unit="slides", detail=name)
        report(shown)
        vector = _slide_vector(encoder, slide, store, grid)
        save_slide_embedding(folder, vector, made)
        self._tell(slide, replaced_note(name, stored.get("encoder"), made["encoder"]))
        report(replace(shown, done=1))
        return told

    def _tell(self, slide: SlideFolder, *notes: str | None) -> None:
        self.notes.setdefault(slide.slide_id, []).extend(note for note in notes if note)

    def _has_patches(self, store: EmbeddingStore, card: EncoderCard, grid: PatchGrid) -> bool:
        """Tell whether the patches that a teacher reads need no embedding."""
        name = str(card.patch_encoder)
        if not card.own_lattice:  # the project's, which are embedded before
            return not store.missing(name, grid.cells).any()
        return is_made(store, name, grid.cells, self.patch_encoders)

    def _to_load(
        self, card: EncoderCard, store: EmbeddingStore, grid: PatchGrid
    ) -> list[EncoderCard]:
        """Return which networks a teacher needs that are not in memory yet."""
        needed = [] if card.name in self._slide_encoders else [card]
        patches = str(card.patch_encoder)
        is_embedded = not card.own_lattice or self._has_patches(store, card, grid)
        if not is_embedded and patches not in self.patch_encoders:
            needed.append(encoder_card(patches))
        return needed

    def _grid(self, slide: SlideFolder, card: EncoderCard) -> tuple[PatchGrid, dict[str, Any]]:
        """Return the patches that a teacher reads, and for the recipe how they were chosen."""
        grid, chosen = slide.load_grid(), dict[str, Any]()
        if not card.own_lattice:
            return grid, chosen
        if not fits(card, grid.lattice):
            grid, chosen = self._own_grid(slide, card)
        most, of = self.config.max_patches, len(grid)
        if most is not None and most < of:
            grid, chosen = (
                thinned(grid, most),
                {**chosen, "max_patches": {"max_patches": most, "of": of}},
            )
        check_lattice(card, grid)
        if grid.grid_id != slide.record.grid_id:
            grid.save(slide.grid(grid.grid_id))
        return grid, chosen

    def _own_grid(self, slide: SlideFolder, card: EncoderCard) -> tuple[PatchGrid, dict[str, Any]]:
        """Lay a grid where the project has its own: same tissue, same region, same flaws.

        It is kept by its recipe: a slide that has it stays closed, and may be out of reach.
        """
        config = GridConfig(
            patch_px=card.patch_px,
            mpp=card.mpp or self.config.grid.mpp,
            min_tissue=self.config.grid.min_tissue,
        )
        record, excluded = slide.record, excluded_patches(slide, self.config.quality)
        chosen: dict[str, Any] = {} if record.roi_id is None else {"roi_id": record.roi_id}
        if excluded is not None:
            chosen["excluded"] = excluded.grid_id
        made_of = {"tissue_id": record.tissue_id, "slide_mpp": record.mpp, **chosen}
        folder = slide.teacher_grid(recipe_id({"grid": config.to_dict(), **made_of}))
        grid = _kept(folder)
        if grid is None:
            mask, reader = slide.load_tissue(), slide.open()
            try:
                grid = grid_inside(reader, slide, mask, record.roi_id, config)
            finally:
                reader.close()
            grid = grid if excluded is None else uncovered(grid, excluded)
            grid.save(folder)
        return grid, chosen

    def _embed_patches(
        self, slide: SlideFolder, grid: PatchGrid, card: EncoderCard, *, report: Report, stop: Stop
    ) -> tuple[PatchGrid, list[str]]:
        """Embed by its patch encoder; return what could be read, and sentences about the rest."""
        name = str(card.patch_encoder)
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        if not card.own_lattice or self._has_patches(store, card, grid):
            return grid, []
        encoder = self._loaded(name, self.patch_encoders, report, stop)
        reader = slide.open()
        try:
            shortfall = embed_patches(reader, grid, [encoder], store, report=report, stop=stop)
        finally:
            reader.close()
        for error in shortfall.failed.values():
            raise error
        self._tell(slide, *shortfall.notes)
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


def _kept(folder: Path) -> PatchGrid | None:
    """Return the grid in a folder, None if there is none that can be read."""
    if not (folder / "meta.json").is_file():
        return None
    try:
        return PatchGrid.load(folder)
    except FusecpathError as error:
        _log.warning("A teacher's grid is laid again: %s", error)
        return None


def _slide_vector(
    encoder: SlideEncoder, slide: SlideFolder, store: EmbeddingStore, grid: PatchGrid
) -> Float32:
    """Return the slide's embedding, (dim,); a failure names the slide."""
    card = encoder.card
    rows = store.view(str(card.patch_encoder), grid.cells).array()  # (n, dim of the patches)
    corners, patch = grid.coords_xy, grid.lattice.patch_l0
    place = f"Slide {slide.slide_id!r}, its {len(rows)} patches of {grid.lattice.patch_um:.0f} µm"
    with as_failure_of(card.name, where=place):
        return checked(card.name, encoder.encode(rows, corners, patch_l0=patch), (card.dim,))


def _recipe(
    encoder: dict[str, Any],
    card: EncoderCard,
    store: EmbeddingStore,
    grid: PatchGrid,
    chosen: Mapping[str, Any],
) -> dict[str, Any]:
    patches = store.recipe(str(card.patch_encoder))
    return {"encoder": encoder, "patches": patches, "grid_id": grid.grid_id, **chosen}


def _is_same(stored: Mapping[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether an embedding was made so; which weights are wanted may not be known unloaded."""
    encoder, known = stored.get("encoder"), wanted["encoder"]
    if isinstance(encoder, dict) and "weights" not in known:
        wanted = {**wanted, "encoder": {**known, "weights": encoder.get("weights")}}
    return dict(stored) == wanted


def _check_memory(
    card: EncoderCard, n_patches: int, to_load: Sequence[EncoderCard], device: DeviceName
) -> None:
    """Raise `SlideTooLargeError` if a slide encoder would need more memory than is free.

    That is for its work, and for the weights of what is still `to_load`.
    """
    weights, free = sum(one.weights_bytes for one in to_load), _free_bytes(device)
    needed = weights + predicted_bytes(card, n_patches)
    if needed <= free:
        return
    # Means read all patches of the project, whatever the setting.
    most = most_patches(card, free - weights) if card.own_lattice else 0
    of_weights = " and ".join(one.name for one in to_load if one.weights_bytes)
    part = f" ({weights / 1e9:.1f} GB of it for the weights of {of_weights})" if weights else ""
    way_out = "close other programs, choose another device"
    if most:
        way_out = f"set max_patches to {most} or less"
    elif card.own_lattice:
        way_out = f"that is too little for a single patch; {way_out}"
    raise SlideTooLargeError(
        f"{card.name} would need about {needed / 1e9:.1f} GB{part} for the {n_patches} patches of "
        f"this slide and {free / 1e9:.1f} GB are free: {way_out}, import its embedding, or take "
        "another teacher.",
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

    # What torch holds and does not use is free for it, though not for others.
    idle = torch.cuda.memory_reserved(target) - torch.cuda.memory_allocated(target)
    return min(free, int(torch.cuda.mem_get_info(target)[0]) + idle)
