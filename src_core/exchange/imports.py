"""Take embeddings that other programs made into a project."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src_core.embeddings.interchange.files import read_file
from src_core.embeddings.interchange.names import check_dim, differences, known_name
from src_core.embeddings.interchange.place import Placement, check_fits, place
from src_core.embeddings.interchange.qupath import is_outlines
from src_core.embeddings.interchange.records import PatchFile, SlideVector, Tool
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.registry import encoder_card, list_encoders
from src_core.encoders.scale import unlike_card
from src_core.errors import (
    ExchangeError,
    FusecpathError,
    TooFewPatchesError,
    UnknownEncoderError,
)
from src_core.exchange.storing import store_embeddings
from src_core.patches.grid import IMPORTED, PatchGrid, build_lattice
from src_core.patches.lattice import Lattice
from src_core.progress import Report, Stop, check
from src_core.project import Project, SlideFolder
from src_core.slides.base import SlideProperties
from src_core.teacher_imports import import_slide_embedding
from src_core.types import BoolArray

__all__ = [
    "Imported",
    "files_in",
    "import_file",
    "import_vector",
    "imported_encoders",
    "is_called",
    "is_embedded",
    "slide_called",
    "use_imported",
]

_KINDS = (".h5", ".hdf5", ".pt")
_OF_PATIENT = ("it was made from all slides of a patient, not from this one alone",)
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of one file."""

    slide_id: str
    tool: Tool
    encoder: str | None
    """None where the file had patches only."""
    n_patches: int
    """0 for the embedding of a whole slide."""
    displacement_px: float = 0.0
    notes: tuple[str, ...] = field(default_factory=tuple)


def files_in(path: Path) -> list[Path]:
    """Return the files to import of a folder, or the file itself.

    Of a folder that another program filled: its embeddings, or where there are none its patches,
    or else its outlines.

    Raises
    ------
    ExchangeError
        If there is nothing.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ExchangeError(f"{path} does not exist; check the path.")
    found = sorted(
        one
        for one in path.rglob("*")  # is_file: opening a pipe would wait for ever
        if one.suffix.lower() in _KINDS and not one.name.startswith(".") and one.is_file()
    )
    embeddings = [one for one in found if one.parent.name != "patches"]
    whole = {one.stem for one in embeddings if one.parent.name == "h5_files"}
    chosen = [one for one in embeddings if one.suffix.lower() != ".pt" or one.stem not in whole]
    outlines = [one for one in sorted(path.iterdir()) if is_outlines(one) and one.is_file()]
    if not (chosen or found or outlines):
        raise ExchangeError(
            f"{path} holds no .h5, .pt and .geojson files; name the files to import."
        )
    return chosen or found or outlines


def import_file(
    project: Project,
    path: Path,
    *,
    slide_id: str | None = None,
    encoder: str | None = None,
    tool: Tool | None = None,
    report: Report,
    stop: Stop,
) -> Imported:
    """Take one file into a project: its patches, its embeddings, or a whole slide's embedding.

    Parameters
    ----------
    project : Project
    path : Path
        See :func:`src_core.embeddings.interchange.files.read_file`.
    slide_id : str, optional
        The slide that it is of; by default the one of its name.
    encoder : str, optional
        Name of the encoder here; by default what the file or its folder says.
    tool : str, optional
        Refuse the file if another program made it.

    Raises
    ------
    ExchangeError
        If the file is damaged, or does not fit the slide or the encoder; the slide is as it was.
    """
    check(stop)
    found = read_file(path)
    if tool is not None and found.tool != tool:
        raise ExchangeError(f"{path} looks like a file of {found.tool}, not of {tool}.")
    slide = _slide_of(project, found, slide_id)
    if isinstance(found, SlideVector):
        return import_vector(slide, found, encoder)
    name = None if found.embeddings is None else _encoder_of(found, encoder)
    if name is not None:
        check_dim(name, found.dim, where=str(path))
    properties = _properties(slide)
    known, notes = _known_lattices(project, slide, properties)
    placed = place(found, properties, known)
    common = _in_common(slide, placed, besides=name)
    if name is not None:
        store_embeddings(slide, found, placed, name, report=report, stop=stop)
    notes += [*_guessed(found, encoder), *differences(name or "", tool=found.tool)]
    notes += [*placed.notes, *_take_into_use(slide, placed, common)]
    return Imported(
        slide_id=slide.slide_id,
        tool=found.tool,
        encoder=name,
        n_patches=len(placed.cells),
        displacement_px=placed.displacement,
        notes=tuple(notes),
    )


def use_imported(project: Project, encoders: Iterable[str]) -> tuple[Project, list[str]]:
    """Let a project fuse the encoders that it has embeddings by, the imported ones among them.

    Returns
    -------
    project : Project
        With those encoders and no others.
    notes : list of str
        Sentences: which encoders it had are left out, and what could not be read.
    """
    there, notes = set[str](), list[str]()
    for slide in project.slides():
        there.update(_embedded(slide, notes))
    before = project.config.encoders
    names = tuple(dict.fromkeys((*(name for name in before if name in there), *encoders)))
    if not names:
        return project, notes
    left_out = [name for name in before if name not in names]
    if left_out:
        every = " ".join((*names, *left_out))
        have, them = ("has", "it") if len(left_out) == 1 else ("have", "them")
        notes.append(
            f"{' and '.join(left_out)} {have} no embeddings of the patches in use, and the project "
            f"goes on without; to have {them} too, import {them}, or embed by all of {every}."
        )
    return project.reconfigured(project.config.replace(encoders=list(names))), notes


def is_embedded(project: Project, encoder: str) -> bool:
    """Return whether some slide of a project has embeddings by a patch encoder on its lattice."""
    return any(encoder in _embedded(slide, []) for slide in project.slides())


def _embedded(slide: SlideFolder, notes: list[str]) -> set[str]:
    """Return the encoders of a slide's patches in use, or of any if those cannot be read."""
    if slide.record.grid_id is None:
        return set()
    try:
        folders = [slide.embeddings(slide.load_grid().lattice_id)]
    except FusecpathError as error:  # of a slide that this import may not be about
        notes.append(f"Slide {slide.slide_id!r}: {error}")
        folders = sorted((slide.root / "lattices").glob("*/embeddings"))
    return {name for folder in folders for name in EmbeddingStore(folder).encoders()}


def _slide_of(
    project: Project, found: PatchFile | SlideVector, slide_id: str | None
) -> SlideFolder:
    """Return the slide that was named, or the one that the file names."""
    if slide_id is not None:
        slide = project.slide(slide_id)
        _ = slide.record  # raises if it is not in the project
        return slide
    stem = found.path.stem.removesuffix("_patches")
    return slide_called(project, found.path, (found.slide, stem))


def slide_called(project: Project, path: Path, names: Sequence[str]) -> SlideFolder:
    """Return the one slide that another program may call so, in a file of it.

    Raises
    ------
    ExchangeError
        If there are several, or none.
    """
    every = project.slides()
    slides = {one.slide_id: one for one in every if any(is_called(one, name) for name in names)}
    if len(slides) == 1:
        return next(iter(slides.values()))
    if slides:
        raise ExchangeError(
            f"{path} may be of {' or '.join(sorted(slides))}; say which slide it is of."
        )
    known = ", ".join(slide.slide_id for slide in every[:10]) or "none"
    raise ExchangeError(
        f"{path} is of slide {names[0]!r}, which the project does not have "
        f"(it has {known}); say which slide it is of."
    )


def is_called(slide: SlideFolder, name: str) -> bool:
    """Tell whether another program's name of a slide may be that of a slide here."""
    stem = Path(slide.record.path).stem
    return name in (slide.slide_id, stem, Path(slide.record.path).name) or (
        _NOT_IN_NAME.sub("_", name) == slide.slide_id
    )


def _properties(slide: SlideFolder) -> SlideProperties:
    reader = slide.open()
    try:
        return reader.properties
    finally:
        reader.close()


def _encoder_of(found: PatchFile | SlideVector, encoder: str | None) -> str:
    name = encoder or (
        None if found.encoder is None else known_name(found.encoder, tool=found.tool)
    )
    if name is None:
        raise ExchangeError(f"{found.path} does not say which encoder made it; name it.")
    if isinstance(found, PatchFile) and name in list_encoders("slide"):
        raise ExchangeError(
            f"{found.path} holds embeddings of patches, and {name} reads whole slides; "
            "name the patch encoder that made them."
        )
    return name


def _guessed(found: PatchFile | SlideVector, encoder: str | None) -> list[str]:
    if encoder is not None or not found.is_encoder_guessed:
        return []
    called = f"the file names no encoder, so it is called as its folder is, {found.encoder}"
    return [f"{called}; it may be given another name"]


def _known_lattices(
    project: Project, slide: SlideFolder, properties: SlideProperties
) -> tuple[list[Lattice], list[str]]:
    """Return the lattice in use, the project's own, any other that the slide has, and notes.

    A grid that cannot be read is passed over: the patches that come are put into use anyway.
    """
    known, notes = list[Lattice](), list[str]()
    with suppress(FusecpathError):  # the project's own patches may not suit this slide
        known.append(build_lattice(properties, project.config.grid))
    in_use = slide.record.grid_id
    for path in sorted((slide.root / "grids").glob("*/meta.json")):
        try:
            lattice = PatchGrid.load(path.parent).lattice
        except FusecpathError as error:
            notes.append(f"older patches were passed over: {str(error).rstrip('.')}")
        else:
            known.insert(0 if path.parent.name == in_use else len(known), lattice)
    return known, notes


def _in_common(slide: SlideFolder, placed: Placement, *, besides: str | None) -> BoolArray:
    """Return which cells the lattice's other encoders have embedded too, shape (n,).

    Raises
    ------
    TooFewPatchesError
        If there is none: encoders fuse on equal patches.
    """
    store = EmbeddingStore(slide.embeddings(placed.lattice.lattice_id))
    others = [name for name in store.encoders() if name != besides]
    common: BoolArray = np.ones(len(placed.cells), np.bool_)
    for name in others:
        common &= ~store.missing(name, placed.cells)
    if not common.any():
        raise TooFewPatchesError(
            f"Slide {slide.slide_id!r}: none of these patches has an embedding by "
            f"{', '.join(others)}; import files of the same patches."
        )
    return common


def _take_into_use(slide: SlideFolder, placed: Placement, common: BoolArray) -> list[str]:
    """Make a grid of the cells that every encoder of the lattice has, and use it."""
    grid = PatchGrid(placed.lattice, placed.cells[common], IMPORTED)
    if not _is_whole(slide.grid(grid.grid_id)):
        grid.save(slide.grid(grid.grid_id))
    if slide.record.grid_id != grid.grid_id:
        slide.remember(grid_id=grid.grid_id, candidates_id=None, clusters_id=None, joint_id=None)
    left = int((~common).sum())
    return [f"{left} patches lack an embedding by another encoder"] if left else []


def _is_whole(folder: Path) -> bool:
    try:
        PatchGrid.load(folder)
    except FusecpathError:
        return False
    return True


def import_vector(slide: SlideFolder, found: SlideVector, encoder: str | None) -> Imported:
    """Take one embedding of a whole slide; see `import_file`."""
    name = _encoder_of(found, encoder)
    if f"{name}-slide" in list_encoders("slide"):  # elsewhere both parts of it have one name
        name = f"{name}-slide"
    check_dim(name, len(found.vector), where=str(found.path))
    notes = [] if found.patches is None else _patches_of(slide, found.patches, name)
    import_slide_embedding(slide, name, found.vector, found.path, tool=found.tool)
    return Imported(
        slide_id=slide.slide_id,
        tool=found.tool,
        encoder=name,
        n_patches=0,
        notes=(*_guessed(found, encoder), *(_OF_PATIENT if found.is_of_patient else ()), *notes),
    )


def _patches_of(slide: SlideFolder, patches: PatchFile, encoder: str) -> list[str]:
    """Check the patches that a slide's embedding was made from; say what is odd about them.

    Raises
    ------
    ExchangeError
        If they cannot be of this slide.
    """
    properties = _properties(slide)
    check_fits(patches, properties)
    try:
        card = encoder_card(encoder)
    except UnknownEncoderError:
        return []
    if card.varies:
        return []
    mpp, side, px = properties.mpp or patches.level0_mpp, patches.patch_l0, patches.patch_px
    notes = []
    if mpp is not None and side is not None and px is not None:
        unlike = unlike_card(card, mpp=mpp * side / px, patch_px=px)
        notes = [] if unlike is None else [unlike]
    if patches.overlap_l0 and card.own_lattice:
        notes.append(f"{card.name} was made for patches side by side, and these overlap")
    return notes


def imported_encoders(results: Sequence[Imported]) -> tuple[str, ...]:
    """Return the patch encoders of some imports, each once."""
    names = [one.encoder for one in results if one.encoder is not None and one.n_patches]
    return tuple(dict.fromkeys(names))
