"""How sizes are read, and what of a Shapes layer is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_fusecpath.layers.find import METADATA_KEY
from napari_fusecpath.layers.measures import drawn_measurement, show_measurements, size_text
from napari_fusecpath.layers.slide import set_slide_mpp
from src_core.review.measurements import Measurement


def measured(kind: Any, points: Any) -> Measurement:
    return Measurement(kind=kind, points=np.array(points, np.float64))


@pytest.mark.parametrize(
    ("side", "mpp", "length", "area"),
    [
        (10, 0.25, "2.50 µm", "6.25 µm²\naround 10.0 µm"),
        (500, 0.25, "125 µm", "15,625 µm²\naround 500 µm"),
        (8000, 0.25, "2.00 mm", "4.00 mm²\naround 8.00 mm"),
        (8000, None, "8,000 pixels", "64,000,000 square pixels\naround 32,000 pixels"),
    ],
)
def test_sizes_are_read_in_the_unit_that_suits_them(
    side: float, mpp: float | None, length: str, area: str
) -> None:
    assert size_text(measured("line", [(0, 0), (side, 0)]), mpp) == length
    square = [(0, 0), (side, 0), (side, side), (0, side)]
    assert size_text(measured("polygon", square), mpp) == area


def test_an_outline_that_crosses_itself_has_no_area() -> None:
    text = size_text(measured("polygon", [(0, 0), (40, 40), (40, 0), (0, 40)]), 0.5)
    assert text.startswith("crosses itself: no area\naround ")


def test_shapes_stay_on_the_slide_whatever_its_scale() -> None:
    viewer = ViewerModel()
    notes = {"role": "slide", "mpp": None, "origin_xy": (0.0, 0.0)}
    pixels = np.full((300, 400, 3), 240, np.uint8)
    viewer.add_image(
        pixels, rgb=True, translate=(0.5, 0.5), units=("pixel", "pixel"),
        metadata={METADATA_KEY: notes},
    )  # fmt: skip
    drawn = [
        measured(kind, [(10, 20), (110, 20), (110, 70), (10, 70)])
        for kind in ("rectangle", "ellipse", "polygon")
    ]
    layer = show_measurements(viewer, drawn)
    assert layer.features["id"].tolist() == [one.id for one in drawn]
    assert layer.features["size"].iat[0] == "5,000 square pixels\naround 300 pixels"
    for mpp in (None, 0.5, 0.25):
        if mpp is not None:
            set_slide_mpp(viewer, mpp)
        low, high = layer.extent.world
        assert low.tolist() == pytest.approx([20 * (mpp or 1), 10 * (mpp or 1)])
        assert high.tolist() == pytest.approx([70 * (mpp or 1), 110 * (mpp or 1)])
        for row, one in enumerate(drawn):
            again = drawn_measurement(layer, row, mpp=mpp)
            assert again is not None
            assert again.kind == one.kind
            np.testing.assert_allclose(again.points, one.points, atol=1e-3)
    show_measurements(viewer, drawn[:1])
    assert layer.nshapes == len(layer.features) == 1


def test_outlines_that_cannot_be_drawn_cost_no_other() -> None:
    rng, angle = np.random.default_rng(0), np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    jagged = measured("polygon", circle * rng.uniform(800, 1000, (500, 1)))
    tangle = measured("polygon", rng.uniform(0, 1000, (300, 2)))
    first, last = measured("line", [(0, 0), (9, 9)]), measured("polygon", circle * 500)
    layer = show_measurements(ViewerModel(), [first, jagged, tangle, last])
    names = layer.features["id"].tolist()
    assert [name for name in names if name != jagged.id] == [first.id, last.id]
    assert layer.nshapes == len(names), "whether it draws the jagged one is napari's affair"


def test_no_more_corners_are_drawn_than_a_window_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_fusecpath.layers.measures.MOST_DRAWN", 7)
    drawn = [measured("path", [(0, 0), (9, n), (20, n)]) for n in range(3)]
    layer = show_measurements(ViewerModel(), drawn)
    assert layer.features["id"].tolist() == [one.id for one in drawn[:2]]


def test_an_outline_of_very_many_corners_is_measured_with_fewer() -> None:
    angle = np.linspace(0, 2 * np.pi, 6000, endpoint=False)
    ring = 4000 + 1000 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    layer = show_measurements(ViewerModel(), [])
    layer.add([ring], shape_type="path")
    one = drawn_measurement(layer, 0, mpp=None)
    assert one is not None
    assert 100 < len(one.points) <= 5000
    assert one.size(None).length == pytest.approx(2000 * np.pi, rel=1e-3)
