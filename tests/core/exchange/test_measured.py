"""What was measured goes to QuPath and to tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from src_core.geojson import read_polygons
from src_core.project import Project
from src_core.review.measurements import Measurement
from tests.core.exchange.helpers import verb

LINE, BOX = [(10.5, 20), (310.5, 420)], [(100, 100), (100, 300), (200, 300), (200, 100)]


@pytest.fixture
def measured(target: Project) -> Project:
    (slide,) = target.slides()
    line = Measurement(kind="line", points=np.array(LINE, np.float64))
    box = Measurement(kind="rectangle", points=np.array(BOX, np.float64))
    slide.measurements.change([line, box])
    return target


def test_sizes_go_out_as_annotations_and_as_a_table(measured: Project, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = verb("export", project=str(measured.root), format="measurements", out=str(out))
    assert not result["failures"]
    outlines, table = (Path(name) for name in result["files"]["a-slide"])
    line, box = json.loads(outlines.read_text(encoding="utf-8"))["features"]
    assert line["geometry"] == {"type": "LineString", "coordinates": [list(one) for one in LINE]}
    assert line["properties"]["objectType"] == "annotation"
    assert line["properties"]["name"] == "Distance 1"
    assert line["properties"]["measurements"] == {"Measured length µm": pytest.approx(500 * 0.47)}
    ring = [[float(x), float(y)] for x, y in (*BOX, BOX[0])]
    assert box["geometry"] == {"type": "Polygon", "coordinates": [ring]}
    (back,) = read_polygons(outlines)  # a line encloses nothing
    assert back.name == "Area 1"
    assert dict(back.measurements) == {
        "Measured perimeter µm": pytest.approx(600 * 0.47),
        "Measured area µm^2": pytest.approx(20_000 * 0.47**2),
    }
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["Distance 1", "Area 1"]
    assert rows[0]["length_um"] == "235.00"
    assert rows[0]["length_px"] == "500.00"
    assert rows[0]["area_um2"] == ""
    assert (rows[1]["x"], rows[1]["y"]) == ("150.0", "200.0")
    assert rows[1]["area_um2"] == f"{20_000 * 0.47**2:.2f}"


def test_without_a_scale_sizes_are_in_pixels_only(measured: Project, tmp_path: Path) -> None:
    (slide,) = measured.slides()
    slide.remember(mpp=None)
    result = verb("export", project=str(measured.root), format="measurements", out=str(tmp_path))
    assert result["notes"] == ["a-slide: its scale is unknown, so sizes are in pixels only."]
    outlines, table = (Path(name) for name in result["files"]["a-slide"])
    line, _ = json.loads(outlines.read_text(encoding="utf-8"))["features"]
    assert line["properties"]["measurements"] == {"Measured length px": 500}
    with table.open(newline="", encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    assert (row["mpp"], row["length_um"], row["length_px"]) == ("", "", "500.00")


def test_a_slide_without_measurements_is_noted(target: Project, tmp_path: Path) -> None:
    result = verb("export", project=str(target.root), format="measurements", out=str(tmp_path))
    assert result["files"] == {"a-slide": []}
    assert result["notes"] == ["a-slide: nothing has been measured on it."]
