"""Outlines in and out, in QuPath's way."""

from __future__ import annotations

import gzip
import json
import logging
import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core import json_stream
from src_core.errors import ExchangeError
from src_core.geojson import Line, Polygon, read_polygons, write_polygons

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2.5, 2], [4, 2], [4, 4.25], [2.5, 2]]


def geometry(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(shape: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": shape, "properties": properties}


def stored(folder: Path, content: Any) -> Path:
    path = folder / "a.geojson"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def read(folder: Path, content: Any) -> list[Polygon]:
    return list(read_polygons(stored(folder, content)))


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature(geometry(SQUARE, HOLE))]},
        {"features": [feature(geometry(SQUARE, HOLE))], "type": "FeatureCollection", "crs": {}},
        [feature(geometry(SQUARE, HOLE))],
        feature(geometry(SQUARE, HOLE)),
        geometry(SQUARE, HOLE),
        {"type": "GeometryCollection", "geometries": [geometry(SQUARE, HOLE)]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE]]},
        [feature({"type": "GeometryCollection", "geometries": [geometry(SQUARE, HOLE)]})],
        [feature(geometry([[*p, 7] for p in SQUARE], HOLE))],  # a third axis
        [feature(geometry(SQUARE[:-1], HOLE[:-1]))],  # not closed
    ],
)
def test_every_kind_of_file_gives_the_polygon(tmp_path: Path, content: Any) -> None:
    (polygon,) = read(tmp_path, content)
    np.testing.assert_array_equal(polygon.exterior, SQUARE[:-1])
    np.testing.assert_array_equal(polygon.holes[0], HOLE[:-1])
    assert polygon.object_type == "annotation"


def test_what_qupath_says_of_an_object_is_read(tmp_path: Path) -> None:
    new = feature(
        geometry(SQUARE),
        objectType="detection",
        name="first",
        classification={"name": "Tumor", "color": [200, 0, 1]},
        measurements={"Area": 2.5, "none": "NaN", "text": "x"},
    )
    old = {
        **feature(
            geometry(SQUARE),
            classification={"name": "Stroma", "colorRGB": -3670016},
            measurements=[{"name": "Area", "value": 1}],
        ),
        "id": "PathDetectionObject",
    }
    derived = feature(geometry(SQUARE), classification={"names": ["CD3", "CD8"]}, color=[1, 2, 3])
    first, second, third = read(tmp_path, [new, old, derived])
    assert (first.name, first.classification, first.color) == ("first", "Tumor", (200, 0, 1))
    assert first.object_type == second.object_type == "detection"
    assert first.measurements["Area"] == 2.5
    assert math.isnan(first.measurements["none"])
    assert "text" not in first.measurements
    assert (second.classification, second.color) == ("Stroma", (200, 0, 0))
    assert second.measurements == {"Area": 1.0}
    assert (third.classification, third.color) == ("CD3: CD8", (1, 2, 3))


def test_shapes_without_area_are_left_out_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    point = {"type": "Point", "coordinates": [1, 2]}
    shapes = [point, None, geometry(SQUARE), geometry(SQUARE[:2]), geometry()]
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, [feature(shape) for shape in shapes])) == 1
    assert "4 shapes have no area" in caplog.text


def test_an_outline_that_crosses_itself_is_read_as_it_is(tmp_path: Path) -> None:
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    (polygon,) = read(tmp_path, [feature(geometry(bow))])
    np.testing.assert_array_equal(polygon.exterior, bow[:-1])


coordinates = st.one_of(st.integers(0, 200_000), st.floats(0, 2e5, width=64))
corner = st.tuples(coordinates, coordinates)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    rings=st.lists(st.lists(corner, min_size=3, max_size=8, unique=True), min_size=1, max_size=3),
    name=texts,
    measurements=st.dictionaries(texts, st.floats(width=64), max_size=3),
    packed=st.booleans(),
)
def test_what_is_written_is_read_again(
    tmp_path: Path, rings: Any, name: str, measurements: dict[str, float], packed: bool
) -> None:
    exterior, *holes = (np.array(ring, np.float64) for ring in rings)
    polygon = Polygon(
        exterior=exterior,
        holes=tuple(holes),
        name=name,
        classification="Tumor",
        color=(1, 2, 3),
        object_type="detection",
        measurements=measurements,
    )
    path = tmp_path / ("a.geojson.gz" if packed else "a.geojson")
    assert write_polygons(path, [polygon, polygon]) == 2
    _, again = read_polygons(path)
    np.testing.assert_array_equal(again.exterior, exterior)
    for one, other in zip(again.holes, holes, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (again.name, again.classification, again.color) == (name, "Tumor", (1, 2, 3))
    finite = {key: value for key, value in measurements.items() if math.isfinite(value)}
    assert dict(again.measurements) == finite, "what is not measured is not there"


def test_qupath_refuses_nothing_of_it(tmp_path: Path) -> None:
    """Hold a file against what QuPath 0.4 to 0.6 reads: `QuPathTypeAdapters` and `GsonTools`."""
    path, ring = tmp_path / "a.geojson", np.array(SQUARE[:-1], float)
    numbers = {"attention": math.nan, "cluster": 3.0, "odds": -math.inf}
    write_polygons(
        path,
        [
            Polygon(exterior=ring, classification="Tumor", measurements=numbers),
            Polygon(exterior=ring, classification="Stroma", color=(1, 2, 3)),
            Polygon(exterior=ring, color=(1, 2, 3), measurements={"attention": math.nan}),
            Line(points=ring[:2], classification="Tumor"),
        ],
        notes={"use": "research use only"},
    )
    named, colored, plain, line = (
        one["properties"] for one in json.loads(path.read_text())["features"]
    )
    # A class is a name, or a name with a colour; a name alone in an object is an error.
    assert named["classification"] == line["classification"] == "Tumor"
    assert colored["classification"] == {"name": "Stroma", "color": [1, 2, 3]}
    assert plain["color"] == [1, 2, 3]
    # A measurement is a number: a word for one is an error.
    assert named["measurements"] == {"cluster": 3.0}
    assert "measurements" not in plain
    assert [one.classification for one in read_polygons(path)] == ["Tumor", "Stroma", ""]


def test_the_file_is_what_any_reader_takes(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    square = Polygon(exterior=np.array(SQUARE[:-1], float), measurements={"cluster": 3.0})
    write_polygons(path, [square])
    first = path.read_bytes()
    values = json.loads(gzip.decompress(first))
    assert values["type"] == "FeatureCollection"
    assert values["features"][0]["geometry"] == geometry(SQUARE)
    assert values["features"][0]["properties"] == {
        "objectType": "annotation",
        "measurements": {"cluster": 3.0},
    }
    write_polygons(path, [square])
    assert path.read_bytes() == first
    assert write_polygons(path, []) == 0
    assert list(read_polygons(path)) == []


def test_nothing_is_left_of_a_file_whose_polygons_fail(tmp_path: Path) -> None:
    def failing() -> Iterator[Polygon]:
        yield Polygon(exterior=np.array(SQUARE[:-1], float))
        raise ExchangeError("no more")

    with pytest.raises(ExchangeError, match="no more"):
        write_polygons(tmp_path / "a.geojson", failing())
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_polygons(tmp_path: Path) -> None:
    square = Polygon(exterior=np.array(SQUARE[:-1], float), measurements={"cluster": 3.0})
    path = tmp_path / "many.geojson.gz"
    peaks = []
    for count in (1_000, 4_000):
        tracemalloc.start()
        assert write_polygons(path, (square for _ in range(count))) == count
        assert sum(1 for _ in read_polygons(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"7", "neither a list nor an object"),
        (b'[{"type": "Feature"', "not valid JSON"),
        (b"[1]", "not a feature"),
        (b'{"type": "Topology"}', "geometry is 'Topology'"),
        (b'[{"type": "Polygon", "coordinates": [[[NaN, 1]]]}]', "not valid JSON"),
        (b'[{"type": "Polygon", "coordinates": [[[1e999, 1]]]}]', "not valid JSON"),
        (b'[{"type": "Polygon", "coordinates": [[[1e9, 1], [2, 2], [3, 3]]]}]', "beyond any"),
        (b'[{"type": "Polygon", "coordinates": [[[1], [2, 2], [3, 3]]]}]', "lists of numbers"),
        (b'[{"type": "Polygon", "coordinates": [[["a", 1], [2, 2], [3, 3]]]}]', "of numbers"),
        (b'[{"type": "Polygon", "coordinates": [[{"a": 1}]]}]', "lists of numbers"),
        (b'[{"type": "Polygon", "coordinates": {"a": 1}}]', "lists of numbers"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"features": ' + b"[" * 100_000, "nested too deeply"),
        (b'["' + b"x" * 20_000_000 + b'"]', "hold no value"),
        (b"[" + b" " * 20_000_000 + b"]", "hold no value"),
        (b"{" + b",".join(b'"%d": 1' % n for n in range(2000)) + b"}", "head is too large"),
        (b"[] []", "not valid JSON"),
        (b"\x1f\x8bnothing", "cannot be read"),
        (gzip.compress(b"[" + b"1," * 1000, mtime=0)[:-12], "cannot be read|not a feature"),
    ],
)
def test_a_strangers_file_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    with pytest.raises(ExchangeError, match=sentence) as caught:
        read(tmp_path, content)
    assert str(caught.value).endswith("export it again.")


def test_an_outline_too_long_to_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_MAX_VALUES", 1000)
    ring = [[n, n * n] for n in range(2000)]
    with pytest.raises(ExchangeError, match="more than a million corners"):
        read(tmp_path, [feature(geometry(SQUARE)), feature(geometry(ring))])


def test_texts_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_MAX_VALUES", 1000)
    text = b'["' + b"x" * 5000 + b'"' + (b',"' + b"x" * 5000 + b'"') * 20 + b"]"
    content = gzip.compress(b'[{"type": "Feature", "properties": {"a": ' + text + b"}}]")
    with pytest.raises(ExchangeError, match="texts as long"):
        read(tmp_path, content)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExchangeError, match="cannot be read"):
        list(read_polygons(tmp_path / "none.geojson"))
