"""Slide and rasters drawn in a real window: their edges must meet, at every zoom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from napari_fusecpath.layers.maps import show_prediction
from napari_fusecpath.layers.overlays import show_clusters
from napari_fusecpath.layers.slide import slide_layer
from src_core.patches.grid import Lattice, PatchGrid
from src_core.slides.base import SlideProperties, Stain
from tests.plugin.layers.grids import frame_cells

CELL = (3, 2)
"""(col, row) of the cell that is dark on the slide."""


@dataclass(frozen=True)
class Case:
    """A slide whose dark square is one cell of the lattice."""

    name: str
    mpp: float
    size: tuple[int, int]
    downsamples: tuple[float, ...]
    bounds_xy: tuple[int, int] = (0, 0)
    corner_xy: tuple[float, float] = (0.0, 0.0)
    """Where the lattice begins, from the bounds."""
    patch_l0: float = 512.0
    stride_l0: float = 512.0


CASES = [
    Case("one level", 0.499, (4096, 3072), (1.0,)),
    Case("odd sizes", 0.25, (4099, 3001), (1.0, 4.003, 15.97)),
    Case("offset bounds", 0.2274, (5003, 4001), (1.0, 2.0, 8.01), (2048, 1024), (7.0, 3.0), 400.5),
    Case("gaps between patches", 1.0, (4096, 3072), (1.0, 4.0), patch_l0=300.0, stride_l0=600.0),
    Case("large pixels", 2.5, (4096, 3072), (1.0, 3.99), patch_l0=640.0, stride_l0=640.0),
]


class FakeReader:
    """A slide with one dark square, exact at every level by averaging."""

    def __init__(self, case: Case, square_xywh: tuple[float, float, float, float]) -> None:
        self.case, self.square = case, square_xywh
        width, height = case.size
        self.properties = SlideProperties(
            path=Path("fake.svs"),
            vendor="image",
            level_dimensions=((width + case.bounds_xy[0], height + case.bounds_xy[1]),),
            downsamples=(1.0,),
            mpp=case.mpp,
            mpp_source="user",
            objective_power=None,
            bounds_xywh=(*case.bounds_xy, width, height),
            background_rgb=(255, 255, 255),
        )
        self.pyramid_origin_xy = case.bounds_xy

    def read_region(
        self, xy: tuple[int, int], level: int, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        raise NotImplementedError

    def read_level(
        self, level: int, start_hw: tuple[int, int], end_hw: tuple[int, int]
    ) -> NDArray[np.uint8]:
        raise NotImplementedError

    def stain(self) -> Stain:
        raise NotImplementedError

    def color_profile(self) -> bytes | None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def levels(self, cache: Path | None = None) -> list[Any]:
        return [self._level(d) for d in self.case.downsamples]

    def pyramid(self, cache: Path | None = None) -> list[da.Array]:
        raise NotImplementedError

    def _level(self, downsample: float) -> NDArray[np.uint8]:
        width, height = self.case.size
        x, y, w, h = self.square
        x, y = x - self.case.bounds_xy[0], y - self.case.bounds_xy[1]
        cols = _overlap(math.ceil(width / downsample), width, x, x + w)
        rows = _overlap(math.ceil(height / downsample), height, y, y + h)
        gray = 255 - 215 * np.outer(rows, cols)
        return np.repeat(np.rint(gray).astype(np.uint8)[..., None], 3, axis=-1)


def _overlap(n: int, length: int, start: float, end: float) -> NDArray[np.float64]:
    """Return the share of each of `n` pixels along `length` that lies in [start, end)."""
    edges = np.linspace(0, length, n + 1)
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return np.asarray(np.clip(inside / np.diff(edges), 0, 1))


def _edges(profile: NDArray[np.floating]) -> tuple[float, float]:
    """Return where the one plateau of a profile (0 to 1) begins and ends, below a pixel."""
    above = np.flatnonzero(profile > 0.5)
    first, last = int(above[0]), int(above[-1])
    begin = first - (profile[first] - 0.5) / max(profile[first] - profile[first - 1], 1e-9)
    end = last + (profile[last] - 0.5) / max(profile[last] - profile[last + 1], 1e-9)
    return begin + 0.5, end + 0.5  # a pixel's value stands at its centre


def _square_on_screen(picture: NDArray[np.uint8], *, dark: bool) -> NDArray[np.float64]:
    """Return top, bottom, left and right of the square in the middle of a picture."""
    gray = picture.astype(float).mean(-1)
    inside = (255 - gray) / 215 if dark else gray / 255
    square = _around(inside > 0.5, inside.shape[0] // 2, inside.shape[1] // 2)
    row, col = np.argwhere(square).mean(0).round().astype(int)
    inside = np.where(binary_dilation(square, iterations=2), inside, 0)  # no captions, no canvas
    return np.array([*_edges(inside[:, col]), *_edges(inside[row])])


def _around(inside: NDArray[np.bool_], row: int, col: int) -> NDArray[np.bool_]:
    """Return the connected region of `inside` that holds a pixel."""
    regions = label(inside)[0]
    return np.asarray((regions == regions[row, col]) & inside)


def test_edges_meet_at_three_zooms(
    make_napari_viewer: Any, canvas_of: Callable[..., NDArray[np.uint8]]
) -> None:
    viewer = make_napari_viewer(show=True)
    canvas_of(viewer, wait=500)  # until the window has its size
    for case in CASES:
        viewer.layers.clear()
        edges_meet_at_three_zooms(viewer, case, canvas_of)


def edges_meet_at_three_zooms(
    viewer: Any, case: Case, canvas_of: Callable[..., NDArray[np.uint8]]
) -> None:
    origin = (case.bounds_xy[0] + case.corner_xy[0], case.bounds_xy[1] + case.corner_xy[1])
    lattice = Lattice(
        origin_xy=origin,
        stride_l0=case.stride_l0,
        patch_l0=case.patch_l0,
        shape_hw=(5, 6),
        patch_px=256,
        mpp=0.5,
        slide_mpp=case.mpp,
    )
    # The raster's pixel is one stride wide around the patch's middle: draw the square like that.
    pad = (case.stride_l0 - case.patch_l0) / 2
    x, y = (origin[i] + CELL[i] * case.stride_l0 - pad for i in (0, 1))
    side = case.stride_l0
    grid = PatchGrid(lattice, np.array([CELL], dtype=np.int32), "none")
    slide = viewer.add_layer(slide_layer(FakeReader(case, (x, y, side, side))))
    layers: list[Any] = [
        show_prediction(viewer, grid, [1.0], class_name="dark"),
        show_clusters(viewer, grid, [0], colors=np.ones((1, 3))),
    ]
    for layer in layers:
        layer.opacity = 1
    layers[0].colormap, layers[0].colorbar.visible = "gray", False
    centre = np.array((y + side / 2, x + side / 2)) * case.mpp
    for pixels in (40, 130, 420):  # of the square on the screen
        viewer.camera.center = tuple(centre + 3.3 * case.mpp)
        viewer.camera.zoom = pixels / (side * case.mpp)
        seen = {}
        for shown in (slide, *layers):
            for layer in viewer.layers:
                layer.visible = layer is shown
            picture = canvas_of(viewer)
            seen[shown.name] = _square_on_screen(picture, dark=shown is slide)
        height, width = picture.shape[:2]
        # And where all of them must be, by the camera alone.
        half = pixels / 2
        middle = (centre - np.array(viewer.camera.center[-2:])) * viewer.camera.zoom
        middle = middle + np.array((height, width)) / 2
        true = [middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half]
        for name, edges in seen.items():
            said = f"{case.name}: {name} at {pixels} px"
            np.testing.assert_allclose(edges, true, atol=1.0, err_msg=said)


def test_a_frame_lies_on_its_patch(
    make_napari_viewer: Any, canvas_of: Callable[..., NDArray[np.uint8]]
) -> None:
    lattice = Lattice(
        origin_xy=(10.0, 20.0),
        stride_l0=512.0,
        patch_l0=512.0,
        shape_hw=(5, 6),
        patch_px=256,
        mpp=0.5,
        slide_mpp=0.25,
    )
    grid = PatchGrid(lattice, np.array([CELL], dtype=np.int32), "none")
    viewer = make_napari_viewer(show=True)
    raster = show_prediction(viewer, grid, [1.0], class_name="dark")
    raster.colormap, raster.opacity, raster.colorbar.visible = "gray", 1, False
    frame = frame_cells(viewer, lattice, [CELL], color="white")
    viewer.camera.center = ((20 + 512 * 2.5) * 0.25, (10 + 512 * 3.5) * 0.25)
    for pixels in (60, 200, 420):
        viewer.camera.zoom = pixels / 128
        edges = []
        for shown in (raster, frame):
            for layer in viewer.layers:
                layer.visible = layer is shown
            canvas = canvas_of(viewer)
            if shown is frame:  # what the frame encloses
                inside = canvas.mean(-1) < 100
                rows, cols = (inside.shape[0] // 2, inside.shape[1] // 2)
                canvas = np.where(_around(inside, rows, cols)[..., None], 255, 0).repeat(3, -1)
            edges.append(_square_on_screen(canvas.astype(np.uint8), dark=False))
        np.testing.assert_allclose(edges[1], edges[0], atol=1.5, err_msg=f"{pixels} px")
    viewer.camera.zoom = 6 / 128  # from afar a frame is still a frame
    assert frame.edge_width * viewer.camera.zoom >= 2
    viewer.layers.remove(frame)
    viewer.camera.zoom = 1.0
    assert not frame_cells(viewer, lattice, []).edge_color[:, 3].any()
