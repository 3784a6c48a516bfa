"""The first step of a script: slides, their tissue, patches and embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from src_core.embeddings.interchange.qupath import ENDINGS
from src_core.exchange.script_records import imports_of, is_by_hand, when
from src_core.exchange.script_state import State, Take, some
from src_core.exchange.script_text import Beside, Call, Inside, Step, Word, given
from src_core.names import is_safe_name
from src_core.preparing import imported_grid, stored_grid
from src_core.project import ProjectConfig, SlideFolder

__all__ = ["take_slides_in"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENDINGS = (".h5", ".hdf5", ".pt", *ENDINGS)
"""By which a file of patches is known for what it is."""


def take_slides_in(state: State, config: ProjectConfig) -> None:
    """Take all slides in, find tissue and patches, and embed them.

    Parameters
    ----------
    state : State
    config : ProjectConfig
        By which settings.
    """
    by_hand = [slide for slide in state.slides if is_by_hand(slide)]
    plain = [slide for slide in state.slides if slide not in by_hand]
    imports = {one.slide_id: found for one in state.slides if (found := imports_of(one))}
    words = state.changes(config, besides=[name for found in imports.values() for name, _ in found])
    state.config = config
    is_all = not by_hand and not imports
    said, acts = [_head(state), *_stale(state)], list[Take]()
    if plain:
        acts.append(state.prepare(state.slides_table("slides.csv", plain), *words, embed=is_all))
        words = []
    for slide in by_hand:
        acts.append(state.prepare(*_brought(state, slide), *words, embed=False))
        words = []
    if by_hand:
        said.append(f"Tissue or region of interest of {some(by_hand)} is by hand: a copy is read.")
    for name, found in imports.items():
        told, calls = _imports(name, found)
        said += told
        acts += calls
    if not is_all:
        acts.append(state.prepare(*(("--encoders", *given(*config.encoders)) if imports else ())))
    state.steps.append(Step(tuple(said), tuple(acts)))


def _head(state: State) -> str:
    made = when(slide.grid(str(slide.record.grid_id)) / "meta.json" for slide in state.slides)
    count = len(state.slides)
    slides = f"{count} slide{'s' * (count > 1)}"
    return f"Prepare {slides}; made {made}, by which version is not on record."


def _brought(state: State, slide: SlideFolder) -> list[Word]:
    """Return a slide with its own tissue and region, as ``prepare`` takes them."""
    name, record = slide.slide_id, slide.record
    words: list[Word] = [state.slides_table(f"{name}/slide.csv", [slide])]
    if record.tissue_id is not None and slide.load_tissue().is_by_hand:
        for file in ("mask.npy", "meta.json"):
            state.beside(f"{name}/tissue/{file}", slide.tissue(record.tissue_id) / file)
        words += ["--tissue", Beside(f"{name}/tissue")]
    if record.roi_id is not None:
        words += ["--roi", state.beside(f"{name}/roi.geojson", slide.roi(record.roi_id))]
    return words


def _imports(
    name: str, found: Iterable[tuple[str | None, Mapping[str, Any]]]
) -> tuple[list[str], list[Take]]:
    said, calls = list[str](), list[Take]()
    for encoder, told in found:
        file, digest = str(told.get("file")), str(told.get("sha256"))
        if "file" not in told or not is_safe_name(file):
            file = name + next((one for one in _ENDINGS if file.lower().endswith(one)), ".geojson")
        what = f"embeddings by {encoder}" if encoder else "patches"
        known = (
            f"{file} of SHA-256 {digest}"
            if _SHA256.fullmatch(digest)
            else "a file that is not on record"
        )
        said.append(
            f"The {what} of {name} were imported from {known}; the project does not keep it: put "
            f"it beside this script, as imported/{name}/{file} in its folder of files."
        )
        words = ("--encoder", *given(encoder)) if encoder else ()
        place = Beside(f"imported/{name}/{file}")
        calls.append(Call(("import", Inside(), place, "--slide", *given(name), *words)))
    return said, calls


def _stale(state: State) -> list[str]:
    """Say which slides' patches are not by the project's settings of today."""
    stale = [
        slide
        for slide in state.slides
        if imported_grid(slide) is None and stored_grid(state.project, slide) is None
    ]
    if not stale:
        return []
    return [f"Patches of {some(stale)} were laid by other settings than those repeated here."]
