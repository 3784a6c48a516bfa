"""What the user works on in one viewer: paths, ids and choices, never layers or widgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal
from weakref import WeakKeyDictionary

from psygnal import SignalGroupDescriptor

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["AskedPatch", "Workbench", "workbench_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPatch:
    """A patch whose like was asked for; by its middle it is known on a new grid too."""

    project: str
    slide_id: str
    row: int
    x: int
    y: int


@dataclass(kw_only=True)
class Workbench:
    """One viewer's choices; listen to a field by ``workbench.events.<field>.connect``."""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    project: Path | None = None
    """Project folder."""
    slide_path: Path | None = None
    """The slide on the canvas, in the project or not."""
    slide_id: str | None = None
    """Its name in the project."""
    slide_problem: str = ""
    """Why the slide is not on the canvas, as a sentence; empty while it is, or is on its way."""
    slide_mpp: float | Literal["auto"] | None = None
    """Micrometres per level-0 pixel, if the user has typed it; "auto" takes back what was typed."""
    encoders: tuple[str, ...] = ()
    """Patch encoders chosen for the next job."""
    grid_id: str | None = None
    """The patch grid whose rows `selected` and `highlighted` count."""
    clusters_id: str | None = None
    """The clusters that are shown."""
    is_joint: bool = False
    """The clusters that slides have in common are shown, where there are some."""
    run_id: str | None = None
    """The training run whose predictions are shown."""
    class_name: str | None = None
    """The class whose maps are shown."""
    is_by_rank: bool = False
    """Attention and contributions are drawn as percentiles within the slide."""
    selected: tuple[int, ...] = ()
    """Selected patches, as rows of the grid: one selection for every view."""
    lit: tuple[int, ...] = ()
    """What a search has selected last: nobody has chosen these patches one by one."""
    asked: AskedPatch | None = None
    """The patch whose like was looked for last; it can be asked for again."""
    highlighted: int | None = None
    """The one patch that review keys act on."""
    is_blind: bool = False
    """What a model predicts is kept from the reviewer, who is marking patches just now."""

    @property
    def is_by_hand(self) -> bool:
        """Whether the user has had a hand in what is selected, which a search has not alone."""
        return bool(self.selected) and self.selected != self.lit

    def open_slide(self, path: Path | None, *, slide_id: str | None = None) -> None:
        """Turn to another slide; everything that counted patches of the old one is dropped."""
        self.selected, self.highlighted, self.slide_problem = (), None, ""
        self.lit = ()
        self.grid_id = self.clusters_id = self.slide_mpp = None
        self.slide_path, self.slide_id = path, slide_id

    def turn_to_project(self, root: Path) -> None:
        """Turn to a project; what is in view is of no other one any more."""
        if self.project != root and self.slide_id is not None:
            self.open_slide(self.slide_path)
        self.project = root

    def turn_to_grid(self, grid_id: str) -> None:
        """Let `selected` and `highlighted` count the rows of another grid, none of them yet."""
        if grid_id != self.grid_id:
            self.selected, self.lit, self.highlighted = (), (), None
            self.grid_id = grid_id


_workbenches: WeakKeyDictionary[ViewerModel, Workbench] = WeakKeyDictionary()


def workbench_of(viewer: ViewerModel) -> Workbench:
    """Return the workbench of a viewer, made when it is first asked for; it ends with it."""
    return _workbenches.setdefault(viewer, Workbench())
