"""A project's encoders over its slides: what is there is skipped, what fails is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from src_core.devices import DeviceName
from src_core.embeddings.extract import Shortfall, embed_patches
from src_core.embeddings.known_pace import remember_paces
from src_core.embeddings.made import is_made
from src_core.embeddings.pace import Pace
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.base import PatchEncoder
from src_core.encoders.registry import create_encoder, encoder_card
from src_core.errors import (
    FusecpathError,
    ProjectError,
    SlideReadError,
    StorageFullError,
    WeightsUnavailableError,
)
from src_core.patches.grid import PatchGrid
from src_core.patches.unreadable import Unreadable
from src_core.progress import Report, Stop, check
from src_core.project import ProjectConfig
from src_core.slide_folder import SlideFolder
from src_core.teachers import Teachers

__all__ = ["Embedder"]


@dataclass(slots=True)
class Embedder:
    """The encoders and teachers of a project, each loaded when the first slide needs it."""

    config: ProjectConfig
    device: DeviceName
    pace: Pace = field(default_factory=Pace)
    """Of the patches of all slides so far."""
    remembers_pace: bool = True
    """What each slide takes is remembered of this machine; not where many run side by side."""
    _encoders: dict[str, PatchEncoder] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    """By slide, what was done that nobody asked for: embeddings made again."""
    _refused: dict[str, FusecpathError] = field(default_factory=dict)
    _teachers: Teachers = field(init=False)

    def __post_init__(self) -> None:
        """Let the teachers use the same patch encoders."""
        self._teachers = Teachers(self.config, self.device, self._encoders, self.notes)

    def lacking(self, slide: SlideFolder) -> list[str]:
        """Return the encoders that some patch of a slide still needs, without opening anything.

        Embeddings by other weights than the encoder has here count as none.

        Raises
        ------
        ProjectError
            If the slide has no grid, or something stored is damaged.
        """
        return self._lacking(slide, _with_unreadable(slide, slide.load_grid()))

    def load(self, names: Iterable[str], *, report: Report, stop: Stop) -> None:
        """Load encoders.

        Raises
        ------
        FusecpathError
            What each said, once, if none of them can be had. What only some say is told for
            every slide that needs them.
        """
        wanted = list(names)
        loaded = self._loaded(wanted, report, stop)
        if wanted and not loaded:
            refusals = [self._refused[name] for name in wanted]
            sentences = dict.fromkeys(str(error) for error in refusals)
            if len(sentences) == 1:
                raise refusals[0]
            raise WeightsUnavailableError(
                f"None of {', '.join(wanted)} can be had: {' '.join(sentences)}"
            )

    def embed_patches(self, slide: SlideFolder, *, report: Report, stop: Stop) -> list[str]:
        """Embed the patches that some encoder lacks, in one read pass.

        Patches that cannot be read leave the slide's grid, which remembers them; the next call
        tries them again.

        Parameters
        ----------
        slide : SlideFolder
            With its grid.
        report, stop : callable
            See :mod:`src_core.progress`.

        Returns
        -------
        list of str
            What could not be done, a sentence each; everything else is stored.

        Raises
        ------
        SlideReadError
            If the slide cannot be opened, is lost on the way, or yields no patch at all.
        StorageFullError
            If the disk is full.
        JobCancelled
            If `stop` says so.
        """
        grid = slide.load_grid()
        whole = _with_unreadable(slide, grid)
        lacking = self._lacking(slide, whole)
        encoders = self._loaded(lacking, report, stop)
        told = [str(self._refused[name]) for name in lacking if name in self._refused]
        if not encoders:
            return told
        reader = slide.open()
        try:
            shortfall = embed_patches(
                reader, whole, encoders, _store(slide, whole), report=report, stop=stop
            )
        finally:
            reader.close()
        self.notes.setdefault(slide.slide_id, []).extend(shortfall.notes)
        self.pace += shortfall.pace
        if self.remembers_pace:
            remember_paces(
                shortfall.seconds_each,
                devices=shortfall.devices,
                patch_px=grid.lattice.patch_px,
            )
        _leave_out(slide, grid, whole, shortfall, encoders)
        return told + shortfall.sentences(grid.lattice)

    def teach(self, slide: SlideFolder, *, report: Report, stop: Stop) -> list[FusecpathError]:
        """Embed a slide by every teacher; one that fails leaves the others at work.

        Returns what could not be done, and raises what `embed_patches` does.
        """
        told: list[FusecpathError] = []
        for name in self.config.teachers:
            check(stop)
            try:
                lost = self._teachers.embed(slide, name, report=report, stop=stop)
                told.extend(SlideReadError(one) for one in lost)
            except StorageFullError:
                raise
            except FusecpathError as error:
                told.append(error)
        return told

    def sentences(self) -> dict[str, str]:
        """Return `notes` as a text for each slide of which there is something to say."""
        return {name: " ".join(told) for name, told in self.notes.items() if told}

    def _lacking(self, slide: SlideFolder, grid: PatchGrid) -> list[str]:
        if len(grid) == 0:
            return list(self.config.encoders)
        store = _store(slide, grid)
        return [
            name
            for name in self.config.encoders
            if not is_made(store, name, grid.cells, self._encoders)
        ]

    def _loaded(self, names: Sequence[str], report: Report, stop: Stop) -> list[PatchEncoder]:
        """Return those encoders that can be had; what could not be is not asked for again."""
        for name in names:
            if name in self._encoders or name in self._refused:
                continue
            try:
                self._encoders[name] = _patch_encoder(name, self.device, report, stop)
            except FusecpathError as error:
                self._refused[name] = error
        return [self._encoders[name] for name in names if name in self._encoders]


def _patch_encoder(name: str, device: DeviceName, report: Report, stop: Stop) -> PatchEncoder:
    if encoder_card(name).kind != "patch":
        raise ProjectError(f"Encoder {name!r} reads whole slides; name it as a teacher.")
    return cast(PatchEncoder, create_encoder(name, device=device, report=report, stop=stop))


def _store(slide: SlideFolder, grid: PatchGrid) -> EmbeddingStore:
    return EmbeddingStore(slide.embeddings(grid.lattice_id))


def _with_unreadable(slide: SlideFolder, grid: PatchGrid) -> PatchGrid:
    """Return the grid with the patches that it lacks because they could not be read."""
    unreadable = Unreadable.load(slide.grid(grid.grid_id), grid)
    return grid if unreadable is None else grid.joined(unreadable.cells)


def _leave_out(
    slide: SlideFolder,
    grid: PatchGrid,
    whole: PatchGrid,
    shortfall: Shortfall,
    encoders: Sequence[PatchEncoder],
) -> None:
    """Take the grid of all patches that can be read into use, unless the slide has another now."""
    cells, reason = shortfall.unreadable, str(shortfall.reason)
    before = Unreadable.load(slide.grid(grid.grid_id), grid)
    if before is not None:  # those that no encoder came to are still unknown
        store = _store(slide, whole)
        missing = [store.missing(encoder.card.name, before.cells) for encoder in encoders]
        still = before.cells[np.all(missing, axis=0)]
        cells = np.unique(np.concatenate([cells, still]), axis=0)
        reason = reason if shortfall.reason is not None else before.reason
    readable = whole.without(cells)
    if len(readable) == 0:
        raise SlideReadError(f"None of the {len(whole)} patches can be read: {reason}")
    folder = slide.grid(readable.grid_id)
    if len(cells):
        readable.save(folder)
        Unreadable(cells, reason).save(folder, readable)
    record = slide.record
    if record.grid_id == grid.grid_id != readable.grid_id:
        slide.remember(grid_id=readable.grid_id, clusters_id=None, joint_id=None)
