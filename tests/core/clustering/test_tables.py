from __future__ import annotations

import json
from pathlib import Path

import pytest

from src_core.clustering.tables import (
    ComparisonRow,
    SweepConfig,
    SweepRow,
    best_rows,
    load_rows,
    save_rows,
)
from src_core.errors import ConfigError, ProjectError


def _row(k: int, silhouette: float | None, index: float | None) -> SweepRow:
    return SweepRow(k=k, n_clusters=k, silhouette=silhouette, calinski_harabasz=index, seconds=0.5)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("30:70:10", (30, 40, 50, 60, 70)),
        ("30:70", (30, 35, 40, 45, 50, 55, 60, 65, 70)),
        ("30:70:15", (30, 45, 60, 70)),
        (" 2:4 ", (2, 3, 4)),
        ("50:50", (50,)),
        ("2:1000", (*range(2, 1000, 100), 1000)),
        ("10:20:500", (10, 20)),
    ],
)
def test_a_range_holds_both_its_ends(text: str, counts: tuple[int, ...]) -> None:
    assert SweepConfig.parse(text).counts == counts


@pytest.mark.parametrize(
    "text",
    ["", "50", "70:30", "1:10", "30:70:0", "30:1001", "30:-70", "a:b", "30:70:10:5", "3.5:7"],
)
def test_what_is_no_range_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--sweep is '{text}'; give FROM:TO.*\.$"):
        SweepConfig.parse(text, name="--sweep")


def test_settings_of_a_range_are_checked_as_such() -> None:
    with pytest.raises(ConfigError, match="below first"):
        SweepConfig(first=9, last=8)
    assert SweepConfig.from_dict(SweepConfig(first=3, last=9, step=3).to_dict()).counts == (3, 6, 9)


def test_each_index_prefers_its_highest_and_of_equals_the_fewest_clusters() -> None:
    rows = [_row(10, 0.2, None), _row(20, 0.3, 8.0), _row(30, 0.3, 9.0)]
    best = best_rows(rows)
    assert {index: row.k for index, row in best.items()} == {
        "silhouette": 20,
        "calinski_harabasz": 30,
    }
    assert list(best_rows([_row(10, None, 1.0)])) == ["calinski_harabasz"]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "sweeps" / "one" / "sweep.json"
    rows = (_row(10, 0.2, 100.5), _row(20, None, None))
    save_rows(path, rows, {"grid_id": "g"})
    assert load_rows(path, SweepRow) == (rows, {"grid_id": "g"})
    assert path.stat().st_size < 1000


def test_missing_and_damaged_tables_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    with pytest.raises(ProjectError, match="cannot be read"):
        load_rows(path, SweepRow)
    save_rows(path, [_row(10, 0.2, 1.0)], {})
    with pytest.raises(ProjectError, match="damaged"):
        load_rows(path, ComparisonRow)
    values = json.loads(path.read_text())
    for damage in (
        {**values, "rows": [{**values["rows"][0], "silhouette": 2}]},
        {**values, "rows": [7]},
        {**values, "rows": "none"},
        {"rows": values["rows"]},
    ):
        path.write_text(json.dumps(damage))
        with pytest.raises(ProjectError, match="make it again"):
            load_rows(path, SweepRow)
