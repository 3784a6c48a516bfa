"""What a scatter draws and finds, without a window."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QPointF

from napari_fusecpath.widgets.scatter_lasso import inside_polygon
from napari_fusecpath.widgets.scatter_raster import (
    PlaneView,
    Points,
    density_picture,
    rasterised,
)

SIZE = (400, 200)


@pytest.fixture
def xy() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(3000, 2)).astype(np.float32)


def test_a_view_shows_all_points_and_keeps_what_is_under_the_pointer(
    xy: NDArray[np.float32],
) -> None:
    view = PlaneView.of(xy)
    px = view.to_px(xy, SIZE)
    assert ((px > 0) & (px < SIZE)).all()
    assert px[xy[:, 1].argmax(), 1] == px[:, 1].min(), "upwards"
    at = (310.0, 40.0)
    there = view.to_plane(at, SIZE)
    closer = view.zoomed(4, at, SIZE)
    np.testing.assert_allclose(closer.to_plane(at, SIZE), there, atol=1e-9)
    apart = closer.to_px(xy[:2], SIZE)[1] - closer.to_px(xy[:2], SIZE)[0]
    np.testing.assert_allclose(apart, 4 * (px[1] - px[0]), rtol=1e-3)
    moved = closer.moved((25, -10), SIZE)
    np.testing.assert_allclose(
        moved.to_px(xy, SIZE) - closer.to_px(xy, SIZE), np.tile([25, -10], (len(xy), 1)), atol=1e-2
    )


def test_every_point_in_view_is_counted_once_and_found_again(xy: NDArray[np.float32]) -> None:
    view = PlaneView.of(xy)
    raster = rasterised(Points.of(xy), view, SIZE)
    assert raster.counts.sum() == len(xy)
    assert ((raster.top >= 0) == (raster.counts > 0)).all()
    shown = raster.top[raster.top >= 0]
    px = view.to_px(xy[shown], SIZE)
    cells = np.argwhere(raster.top >= 0)[:, ::-1]
    np.testing.assert_array_equal(px.astype(int) // raster.cell_px, cells)
    for row in shown[:20]:
        (at,) = view.to_px(xy[[row]], SIZE).tolist()
        assert raster.nearest((at[0], at[1])) == row
    lone = rasterised(Points.of(xy[:1]), view, SIZE)
    (at,) = view.to_px(xy[:1], SIZE).tolist()
    assert lone.nearest((at[0] + 5, at[1])) == 0
    assert lone.nearest((at[0] + 50, at[1])) == -1
    assert rasterised(Points.of(xy[:0]), view, SIZE).counts.sum() == 0


def test_points_beside_the_picture_are_left_out(xy: NDArray[np.float32]) -> None:
    view = PlaneView.of(xy).zoomed(3, (200, 100), SIZE)
    px = view.to_px(xy, SIZE)
    inside = ((px >= 0) & (px < SIZE)).all(axis=1)
    assert 0 < inside.sum() < len(xy)
    assert rasterised(Points.of(xy), view, SIZE).counts.sum() == inside.sum()


def test_selected_points_are_seen_and_the_others_dimmed() -> None:
    xy = np.zeros((50, 2), np.float32)
    xy[:10] = 1
    points, view = Points.of(xy), PlaneView.of(xy)
    colors = np.repeat(np.array([[200, 0, 0]], np.uint8), 50, axis=0)
    colors[37] = (0, 0, 200)
    selected = np.zeros(50, np.bool_)
    plain = rasterised(points, view, SIZE)
    whole = density_picture(plain, colors, selected=selected)
    few, many = np.sort(whole[whole[..., 3] > 0][:, 3])
    assert few < many == 255
    selected[37] = True
    raster = plain.showing(selected)
    picture = density_picture(raster, colors, selected=selected)
    drawn = picture[picture[..., 3] > 0]
    assert min(map(tuple, drawn.tolist())) == (0, 0, 200, 255), "on top of the others"
    assert drawn[:, 3].min() < few
    lit = density_picture(raster, colors, selected=selected, highlight=(1, 2, 3))
    assert [1, 2, 3, 255] in lit.reshape(-1, 4).tolist()


def test_a_lasso_holds_what_is_drawn_around(xy: NDArray[np.float32]) -> None:
    px = PlaneView.of(xy).to_px(xy, SIZE)
    corners = [(100, 50), (300, 50), (300, 150), (100, 150)]
    rows = inside_polygon(px, [QPointF(*corner) for corner in corners], SIZE)
    expected = ((px >= (100, 50)) & (px < (300, 150))).all(axis=1)
    np.testing.assert_array_equal(rows, np.flatnonzero(expected))
    triangle = [QPointF(0, 0), QPointF(400, 0), QPointF(0, 200)]
    upper = px[:, 1] < 200 - px[:, 0] / 2
    found = np.zeros(len(xy), np.bool_)
    found[inside_polygon(px, triangle, SIZE)] = True
    clear = np.abs(px[:, 1] - 200 + px[:, 0] / 2) > 2
    np.testing.assert_array_equal(found[clear], upper[clear])
    assert not len(inside_polygon(px + 1000, triangle, SIZE)), "beside the picture"
