"""TRIDENT's embeddings of whole slides: of this slide, and of the patches their encoder reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from src_core.embeddings.extract import load_slide_embedding
from src_core.project import Project
from tests.core.exchange.helpers import verb

SIZE = (2048, 1800)
"""Of the slide, whose pixels are 0.47 µm."""
GEOMETRY: dict[str, Any] = {
    "patch_size": 512,
    "patch_size_level0": 512,
    "level0_magnification": 20,
    "target_magnification": 20.0,
    "overlap": 0,
    "level0_width": SIZE[0],
    "level0_height": SIZE[1],
    "name": "a-slide",
    "savetodir": "None",
}
CORNERS = np.array([(0, 0), (512, 0), (0, 512), (512, 512)], np.int64)


def write(folder: Path, *, encoder: str = "titan", coords: Any = CORNERS, **changes: Any) -> Path:
    """Write what TRIDENT's ``extract_slide_features`` does."""
    path = folder / f"slide_features_{encoder}" / "a-slide.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["features"] = np.linspace(0, 1, 768, dtype=np.float32)
        file["features"].attrs.update({"name": "a-slide", "savetodir": str(path.parent)})
        file["coords"] = coords
        file["coords"].attrs.update({**GEOMETRY, **changes})
    return path


@pytest.mark.parametrize("coords", [CORNERS, CORNERS[0]], ids=["several patches", "one"])
def test_what_fits_comes_in_without_a_note(target: Project, tmp_path: Path, coords: Any) -> None:
    path = write(tmp_path, coords=coords)
    result = verb("import", project=str(target.root), files=[str(path)])
    assert result["failures"] == []
    (row,) = result["imported"]
    assert (row["encoder"], row["tool"], list(row["notes"])) == ("titan", "trident", [])
    assert len(load_slide_embedding(target.slides()[0].slide_embedding("titan"))[0]) == 768


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"level0_width": 90_000, "level0_height": 80_000}, "90000 x 80000 px, and a-slide.tiff"),
        ({"level0_magnification": 40, "patch_size_level0": 1024}, "takes the slide for 40x"),
        ({"coords": CORNERS + 1000}, None),
        ({"coords": CORNERS + 2000}, "4 patches lie beyond a-slide.tiff"),
        ({"coords": np.where(CORNERS == 512, np.nan, 0)}, "no finite numbers"),
        ({"coords": np.zeros((4, 3))}, r"not (patches, 2)"),
        ({"patch_size_level0": 4096}, "has patches of 4096 level-0 px"),
    ],
)
def test_what_is_of_another_slide_is_refused(
    target: Project, tmp_path: Path, changes: dict[str, Any], words: str | None
) -> None:
    path = write(tmp_path, **changes)
    result = verb("import", project=str(target.root), files=[str(path)])
    is_stored = target.slides()[0].slide_embedding("titan").exists()
    if words is None:
        assert is_stored, "within the slide"
        return
    (failure,) = result["failures"]
    assert words in failure["message"]
    assert not is_stored


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_size": 256, "patch_size_level0": 256}, "and these are 256 px at 0.47 (120 µm"),
        ({"patch_size_level0": 128}, "and these are 512 px at 0.1175 (60 µm across)"),
        ({"overlap": 64}, "made for patches side by side, and these overlap"),
    ],
)
def test_patches_that_the_encoder_was_not_made_for_are_named(
    target: Project, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = write(tmp_path, **changes)
    result = verb("import", project=str(target.root), files=[str(path)])
    assert result["failures"] == []
    (note,) = result["imported"][0]["notes"]
    assert note.startswith("titan was made for patches")
    assert words in note


def test_a_mean_and_an_unknown_encoder_read_patches_of_other_sizes(
    target: Project, tmp_path: Path
) -> None:
    for encoder in ("mean-conch_v15", "mine"):
        path = write(tmp_path, encoder=encoder, patch_size=448, patch_size_level0=448)
        (row,) = verb("import", project=str(target.root), files=[str(path)])["imported"]
        assert (row["encoder"], list(row["notes"])) == (encoder, [])
