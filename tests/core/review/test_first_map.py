"""The first map of a model that is still learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.errors import ProjectError
from src_core.review.first_map import FirstMap


def _stored(folder: Path) -> FirstMap:
    odds = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    one = FirstMap(
        slide_id="s0", grid_id="g", parent="run-0001", classes=("a", "b"), patch_probabilities=odds
    )
    one.save(folder)
    return one


def test_what_is_stored_is_read_back_and_can_be_removed(tmp_path: Path) -> None:
    one = _stored(tmp_path / "map")
    found = FirstMap.load(tmp_path / "map")
    np.testing.assert_array_equal(found.patch_probabilities, one.patch_probabilities)
    assert (found.slide_id, found.grid_id, found.parent) == ("s0", "g", "run-0001")
    FirstMap.remove(tmp_path / "map")
    FirstMap.remove(tmp_path / "map")
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize("change", ["classes", "n_patches", "array"])
def test_a_damaged_map_is_refused(tmp_path: Path, change: str) -> None:
    _stored(tmp_path)
    meta = tmp_path / "meta.json"
    if change == "array":
        np.save(tmp_path / "patch_probabilities.npy", np.zeros((3, 2), np.float32))
    else:
        meta.write_text(meta.read_text().replace(f'"{change}"', '"other"'))
    with pytest.raises(ProjectError):
        FirstMap.load(tmp_path)
