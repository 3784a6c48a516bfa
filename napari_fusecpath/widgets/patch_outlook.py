"""How many patches the slide in view will have, counted in a thread before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from napari.layers import Labels, Layer, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, QTimer, Signal  # type: ignore[attr-defined]

from napari_fusecpath.layers.brought import drawn_polygons
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.slide import cache_folder
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.widgets.outlook_texts import about
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError
from src_core.geojson import Polygon, read_polygons
from src_core.patches.expected import Glance, count_patches, glance_at, glanced_tissue
from src_core.patches.grid import GridConfig
from src_core.provenance import stat_sign
from src_core.slides import open_slide
from src_core.tissue.mask import TissueMask
from src_core.tissue.outlines import fill_outlines
from src_core.tissue.segment import TissueConfig
from src_core.types import BoolArray

__all__ = ["Outlook", "OutlookQuestion", "PatchOutlook"]

_SETTLE_MS = 150
"""A stroke of the brush tells of itself at each move of the mouse."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlookQuestion:
    """A slide, and by what its patches would be chosen."""

    path: Path
    caches: tuple[Path, ...]
    """Folders that may hold its coarse levels."""
    mpp: float
    grid: GridConfig
    tissue: TissueConfig
    is_next: bool
    """Count what the main button would give."""
    stored: Path | None = None
    """The mask in use."""
    keeps_own: bool = True
    """The main button keeps a mask by hand; else it finds the tissue anew."""
    painted: NDArray[Any] | None = None
    """Pixels of the layer Tissue, of the mask in use."""
    roi: Path | None = None
    """The region of interest in use."""
    drawn: tuple[Polygon, ...] = ()
    """Another one that is being drawn, in level-0 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How many patches there would be; None where nobody asked, or nobody knows."""

    next: int | None = None
    painted: int | None = None
    """On the tissue as it is painted; None if nothing was painted."""
    drawn: int | None = None
    """In the region as it is drawn; None if that makes no difference."""
    problem: str = ""
    """Why there would be none: patches and slide do not fit."""


class PatchOutlook(QObject):
    """Counts patches; what was read of the last slide is kept.

    Parameters
    ----------
    session : Session
        Whose slide is in view.
    parent : QObject
        With it the thread ends.

    Signals
    -------
    changed()
        The user has painted tissue or drawn a region: it may be asked again.
    came(OutlookQuestion, Outlook)
        The answer to the latest question.
    """

    changed = Signal()
    came = Signal(object, object)
    _counted = Signal(object, object)
    """From the thread."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._heard: list[tuple[Any, Layer]] = []
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLE_MS)
        self._settled.timeout.connect(self.changed)
        self._kept: dict[str, tuple[object, Any]] = {}
        """The last of each kind of thing that was read or found, and of what."""
        self._thread = SideThread("patch outlook", parent)
        self._counted.connect(self.came, Qt.ConnectionType.QueuedConnection)

    def ask(self, grid: GridConfig, tissue: TissueConfig) -> None:
        """Count by settings; `came` follows, once for many questions while one is answered."""
        question = self._question(grid, tissue)
        if question is not None:
            self._thread.submit_latest(self._work, question)

    def listen(self) -> None:
        """Hear of what is painted and drawn on the layers that are there now."""
        layers = [find_layer(self._session.viewer, role) for role in ("tissue", "roi")]
        emitters = [
            # Also of what is undone, which "paint" does not tell.
            (layer.events.labels_update if isinstance(layer, Labels) else layer.events.data, layer)
            for layer in layers
            if isinstance(layer, (Labels, Shapes))
        ]
        for emitter, layer in emitters:
            if all(layer is not heard for _, heard in self._heard):
                emitter.connect(self._settle)
        self._heard = emitters

    def _settle(self, _event: object = None) -> None:
        self._settled.start()

    def _question(self, grid: GridConfig, tissue: TissueConfig) -> OutlookQuestion | None:
        session, snapshot = self._session, self._session.snapshot
        path, slide, record = snapshot.slide_path, snapshot.slide, snapshot.record
        mpp = scale_in_view(session.viewer, snapshot.mpp)  # as typed: perhaps not stored yet
        if path is None or mpp is None or session.is_opening or session.is_slide_absent:
            return None
        is_as_set = snapshot.is_grid_as_set
        is_changed = (grid, tissue) != (snapshot.config.grid, snapshot.config.tissue)
        is_scaled = record is not None and mpp != record.mpp
        values: dict[str, Any] = {}
        if slide is not None and record is not None:
            layer = find_layer(session.viewer, "tissue")
            if record.tissue_id is not None:
                values["stored"] = slide.tissue(record.tissue_id)
                values["painted"] = layer.data if isinstance(layer, Labels) else None
            values["roi"] = None if record.roi_id is None else slide.roi(record.roi_id)
        region = find_layer(session.viewer, "roi")
        if isinstance(region, Shapes):
            values["drawn"] = tuple(drawn_polygons(region, mpp=mpp))
        return OutlookQuestion(
            path=path,
            caches=(cache_folder(path), *(() if slide is None else (slide.pyramid,))),
            mpp=mpp,
            grid=grid,
            tissue=tissue,
            is_next=snapshot.grid is None or is_changed or is_scaled or not is_as_set,
            keeps_own=snapshot.grid is None,
            **values,
        )

    def _work(self, asked: OutlookQuestion) -> None:
        try:
            answer = self._answer(asked)
        except FusecpathError as error:
            answer = Outlook(problem=str(error))
        if not self._thread.is_closed:
            self._counted.emit(asked, answer)

    def _answer(self, asked: OutlookQuestion) -> Outlook:
        glance = self._glance(asked)
        if glance is None:
            return Outlook()
        stored = None if asked.stored is None else self._stored(asked.stored)

        def count(mask: TissueMask | None, region: BoolArray | None) -> int | None:
            if mask is None:
                return None
            properties = glance.properties
            return count_patches(properties, mask, asked.grid, slide_mpp=asked.mpp, region=region)

        after = self._mask(asked, glance, stored, keeps_own=asked.keeps_own)
        kept = self._mask(asked, glance, stored, keeps_own=True)
        painted = drawn = None
        if stored is not None and asked.painted is not None and _is_other(asked.painted, stored):
            paint = stored.edited(asked.painted)
            painted = count(paint, self._region(asked, paint))
        if kept is not None and asked.drawn:
            inside = fill_outlines(asked.drawn, kept.mask.shape, kept.origin_xy, kept.pixel_xy)
            drawn = count(kept, inside)
            if drawn is not None and about(drawn) == about(
                count(kept, self._region(asked, kept)) or 0
            ):
                drawn = None
        expected = count(after, self._region(asked, after)) if asked.is_next else None
        return Outlook(next=expected, painted=painted, drawn=drawn)

    def _glance(self, asked: OutlookQuestion) -> Glance | None:
        def look() -> Glance | None:
            try:
                reader = open_slide(asked.path)
            except FusecpathError:  # the window says so where it shows the slide
                return None
            try:
                return glance_at(reader, asked.caches)
            except FusecpathError:
                return None
            finally:
                reader.close()

        key = (asked.path, stat_sign(asked.path), asked.caches)
        return self._once("glance", key, look)

    def _stored(self, folder: Path) -> TissueMask | None:
        def load() -> TissueMask | None:
            try:
                return TissueMask.load(folder)
            except FusecpathError:  # it is found anew
                return None

        return self._once("stored", folder, load)

    def _mask(
        self,
        asked: OutlookQuestion,
        glance: Glance,
        stored: TissueMask | None,
        *,
        keeps_own: bool,
    ) -> TissueMask | None:
        """Return the tissue in use if it stays, else roughly what will be found."""
        if stored is not None:
            made_by = (stored.recipe.get("config"), stored.recipe.get("slide_mpp"))
            is_todays = made_by == (asked.tissue.to_dict(), asked.mpp)
            if keeps_own if stored.is_by_hand else is_todays:
                return stored
        key = (glance, asked.tissue, asked.mpp)
        return self._once(
            "found", key, lambda: glanced_tissue(glance, asked.tissue, slide_mpp=asked.mpp)
        )

    def _region(self, asked: OutlookQuestion, mask: TissueMask | None) -> BoolArray | None:
        roi = asked.roi
        if mask is None or roi is None or not roi.is_file():
            return None
        place = (mask.mask.shape, mask.origin_xy, mask.pixel_xy)
        return self._once("region", (roi, place), lambda: fill_outlines(read_polygons(roi), *place))

    def _once(self, kind: str, key: object, make: Callable[[], T]) -> T:
        kept = self._kept.get(kind)
        if kept is None or kept[0] != key or kept[1] is None:  # what was not there may be by now
            kept = self._kept[kind] = (key, make())
        value: T = kept[1]
        return value


def _is_other(painted: NDArray[Any], mask: TissueMask) -> bool:
    """Tell whether pixels are of a mask's raster, and others than the mask's."""
    return painted.shape == mask.mask.shape and not np.array_equal(painted != 0, mask.mask)
