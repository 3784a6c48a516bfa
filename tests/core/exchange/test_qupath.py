"""Tissue goes to QuPath and comes back; squares that were made there become patches."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.embeddings.interchange import qupath
from src_core.embeddings.interchange.qupath import read_squares
from src_core.errors import ConfigError, ExchangeError
from src_core.geojson import Polygon, read_polygons, write_polygons
from src_core.patches.grid import IMPORTED
from src_core.project import Project
from tests.core.exchange.helpers import embedded, verb


def square(x: float, y: float, width: float, height: float | None = None) -> Polygon:
    w, h = width, width if height is None else height
    ring = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float64)
    return Polygon(exterior=ring, object_type="tile")


def test_tissue_goes_to_qupath_and_comes_back(
    source: Project, target: Project, tmp_path: Path
) -> None:
    result = verb("export", project=str(source.root), format="tissue", out=str(tmp_path))
    (name,) = result["files"]["a-slide"]
    assert Path(name) == tmp_path / "tissue" / "a-slide.geojson.gz"
    outlines = list(read_polygons(Path(name)))
    assert {(one.classification, one.object_type) for one in outlines} == {("Tissue", "annotation")}
    tissue = source.slides()[0].load_tissue()
    options: dict[str, Any] = {"project": str(target.root), "embed": False}
    assert not verb("prepare", tissue=str(tmp_path / "tissue"), **options)["failures"]
    again = target.slides()[0].load_tissue()
    assert again.is_by_hand
    np.testing.assert_array_equal(again.mask, tissue.mask)
    np.testing.assert_array_equal(target.slides()[0].load_grid().cells, embedded(source)[0].cells)


def test_annotations_become_marks_of_a_reviewer(
    source: Project, target: Project, tmp_path: Path
) -> None:
    verb("export", project=str(source.root), format="tissue", out=str(tmp_path))
    verb("prepare", project=str(target.root), tissue=str(tmp_path / "tissue"), embed=False)
    path = str(tmp_path / "tissue" / "a-slide.geojson.gz")
    options = {"project": str(target.root), "files": [path], "format": "annotations"}
    with pytest.raises(ConfigError, match="reviewer is empty"):
        verb("import", **options)
    (row,) = verb("import", reviewer="ada", **options)["marked"]
    (slide,) = target.slides()
    assert row["counts"] == {"Tissue": len(slide.marks.current())}
    assert row["counts"]["Tissue"] > 0.9 * len(slide.load_grid())
    (failure,) = verb("import", reviewer="ada", **{**options, "files": ["b.geojson"]})["failures"]
    assert "is of slide 'b', which the project does not have" in failure["message"]


def test_our_patches_come_back_from_qupath(
    source: Project, target: Project, tmp_path: Path
) -> None:
    """On the very lattice, those that the user has removed there left out."""
    verb("export", project=str(source.root), format="geojson", out=str(tmp_path))
    path = tmp_path / "a-slide.geojson.gz"
    kept = [one for row, one in enumerate(read_polygons(path)) if row % 3]
    write_polygons(path, kept)
    result = verb("import", project=str(target.root), files=[str(path)])
    assert not result["failures"]
    (row,) = result["imported"]
    assert (row["tool"], row["encoder"], row["n_patches"]) == ("qupath", None, len(kept))
    assert row["displacement_px"] == 0
    mine, grid = target.slides()[0].load_grid(), embedded(source)[0]
    assert (mine.tissue_id, mine.lattice_id) == (IMPORTED, grid.lattice_id)
    np.testing.assert_array_equal(mine.cells, grid.cells[np.arange(len(grid)) % 3 > 0])


@pytest.mark.parametrize("rounded", [False, True])
def test_tiles_of_qupath_become_patches(target: Project, tmp_path: Path, rounded: bool) -> None:
    """Tiles of 100 um, at 0.47 um a pixel, within a rectangle that somebody drew."""
    side = 100 / 0.47
    places = [(31.5 + side * i, 17.25 + side * j) for i in range(5) for j in range(4) if i != j]
    tiles = [square(x, y, side) for x, y in places]
    if rounded:
        tiles = [Polygon(exterior=np.rint(one.exterior)) for one in tiles]
    write_polygons(tmp_path / "tiles.geojson", tiles)
    files = [str(tmp_path / "tiles.geojson")]
    result = verb("import", project=str(target.root), files=files, slide="a-slide")
    assert not result["failures"]
    grid = target.slides()[0].load_grid()
    assert len(grid) == len(places)
    order = sorted(places, key=lambda xy: (xy[1], xy[0]))
    assert np.abs(grid.coords_xy - np.array(order)).max() <= 1
    assert grid.lattice.patch_um == pytest.approx(100, abs=0.3)
    again = verb("prepare", project=str(target.root), encoders=["texture"], device="cpu")
    assert not again["failures"]
    assert len(embedded(target)[0]) == len(places)


def test_one_square_is_a_patch(target: Project, tmp_path: Path) -> None:
    write_polygons(tmp_path / "a-slide.json", [square(300, 400, 256)])
    result = verb("import", project=str(target.root), files=[str(tmp_path)])
    assert not result["failures"]
    np.testing.assert_array_equal(target.slides()[0].load_grid().coords_xy, [(300, 400)])


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([square(0, 0, 256), square(256, 0, 200)], "several sizes"),
        ([square(0, 0, 256, 200)], "shape 1 is no upright square"),
        ([square(0, 0, 9), Polygon(exterior=np.array([(0, 0), (9, 0), (4, 9)]))], "shape 2 is no"),
        ([Polygon(exterior=np.array([(4.0, 0), (8, 4), (4, 8), (0, 4)]))], "no upright square"),
        ([], "is empty"),
        ([square(5000, 0, 256)], "lie beyond"),
        ([square(0, 0, 256), square(0, 0, 256)], "patches twice"),
    ],
)
def test_what_is_no_patch_is_refused(
    target: Project, tmp_path: Path, shapes: list[Polygon], words: str
) -> None:
    path = tmp_path / "a-slide.geojson"
    write_polygons(path, shapes)
    (failure,) = verb("import", project=str(target.root), files=[str(path)])["failures"]
    assert words in failure["message"]
    assert failure["message"].count(". ") == 0, "one sentence"
    assert target.slides()[0].record.grid_id is None


def test_one_square_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rings: list[Any] = []

    def many(_path: Path) -> Iterator[Polygon]:
        for place in range(2000):
            assert sum(ring() is not None for ring in rings[-9:]) <= 2
            one = square(8 * place, 0, 8)
            rings.append(weakref.ref(one.exterior))
            yield one

    monkeypatch.setattr(qupath, "read_polygons", many)
    corners, side = read_squares(Path("many.geojson"))
    assert (len(corners), side) == (2000, 8)


def test_a_file_that_is_no_geojson_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [7]}))
    with pytest.raises(ExchangeError, match="not a feature"):
        read_squares(path)
